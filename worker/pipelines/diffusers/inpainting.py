"""Inpainting and outpainting: what the mask covers is made anew, what it does not cover stays to the byte.

A net for inpainting sees mask and masked picture; any other net has what lies outside of the mask laid back in between
the steps (blended latent diffusion, Avrahami et al. 2023). Either way the decoder changes all pixels a little, so the
picture itself is laid over the result in the end.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InvalidInputError
from models.params import InpaintParams, OutpaintParams
from models.params.diffusion import Fit
from models.params.edits import Automatic
from worker.media.masks import draw_mask, finish_mask
from worker.media.morphology import feather, grow
from worker.media.seams import match_tone
from worker.pipelines.base import Item
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.diffusers.fitting import Mask, contained, fit_mask, fit_picture, on_canvas, to_tensor
from worker.pipelines.diffusers.starts import FromPicture

if TYPE_CHECKING:
    from uuid import UUID

    from worker.packaged.foreground import ForegroundFinder
    from worker.pipelines.base import Pixels
    from worker.pipelines.diffusers.sisters import Sister

HALF = 128
OUTPAINT_STRENGTH = 0.95
"""Where a net starts from the picture: a little of the continued edges is left to begin with."""
GRAIN = 24.0
"""Standard deviation, of 255, of the noise on the continued edges: streaks would be taken for what is there."""


class Inpaint(FromPicture):
    """A picture, and a mask over it."""

    def __init__(self, items: Sequence[Item], sister: "Sister") -> None:
        self._masks: dict[UUID, Mask] = {}
        super().__init__(items, sister)

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:
        """White is made anew."""
        return super().keywords(rows) | {"mask_image": self._coarse(rows)}

    def between(self, rows: Sequence[Row]) -> "Blend | None":
        """Only where the class knows of no mask."""
        if self._class_masks:
            return None
        return Blend(F.max_pool2d(self._coarse(rows), self._latent_pixels))

    def finish(self, row: Row, pixels: "Pixels") -> "Pixels":
        """The picture over it, as far as the mask says."""
        return laid_over(self._picture(row), pixels, self._masks[row.item.job_id])

    @property
    def _class_masks(self) -> bool:
        return "mask_image" in self._sister.style.arguments

    @property
    def _latent_pixels(self) -> int:
        return int(self._sister.pipe.vae_scale_factor)

    def _coarse(self, rows: Sequence[Row]) -> Tensor:
        """`(B, 1, H, W)`, 0 or 1: every latent that the mask touches at all is made anew, as a whole.

        Left to itself diffusers takes one pixel for all of a latent; thin masks would miss it.
        """
        masks = np.stack([self._masks[row.item.job_id] for row in rows])
        touched = torch.from_numpy(masks > 0).unsqueeze(1).to(torch.float32)
        blocks = F.max_pool2d(touched, self._latent_pixels)
        return F.interpolate(blocks, scale_factor=float(self._latent_pixels), mode="nearest")

    def _prepared(self, item: Item) -> "Pixels":
        params = item.params
        assert isinstance(params, InpaintParams)  # noqa: S101  # the claim matched task and checkpoint
        full = item.picture("image")
        width, height = params.width or 0, params.height or 0
        mask = fit_mask(full_mask(item, full), width, height, params.fit)
        mask = finish_mask(mask, grow_share=params.mask_grow, feather_share=params.mask_feather)
        if not mask.any():
            raise _unusable(item, "The mask covers nothing of the picture.")
        self._masks[item.job_id] = mask
        return fit_picture(full, width, height, params.fit)


class Outpaint(Inpaint):
    """A picture in a larger canvas; all round it is mask, and what is there to begin with is its edges, with grain."""

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Each picture has grain of its own."""
        return super().keywords(rows) | {"image": to_tensor([self._with_grain(row) for row in rows])}

    def finish(self, row: Row, pixels: "Pixels") -> "Pixels":
        """In the picture's tone: a shade of difference all round it would show as a frame."""
        return super().finish(row, match_tone(self._picture(row), pixels, self._masks[row.item.job_id]))

    @property
    def _strength(self) -> float:
        """A net that sees the mask needs no beginning."""
        steps = self._params.num_inference_steps or 1
        return 1.0 if _sees_masks(self._sister.pipe) or steps * OUTPAINT_STRENGTH < 1 else OUTPAINT_STRENGTH

    def _with_grain(self, row: Row) -> "Pixels":
        canvas = self._picture(row)
        grain = np.random.default_rng([row.item.seed, row.index]).normal(0.0, GRAIN, canvas.shape)
        outside = self._masks[row.item.job_id] == 255  # noqa: PLR2004  # white
        noisy = np.where(outside[..., None], canvas + grain, canvas)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)

    def _prepared(self, item: Item) -> "Pixels":
        params = item.params
        assert isinstance(params, OutpaintParams)  # noqa: S101  # the same
        full = item.picture("image")
        width, height = params.width or 0, params.height or 0
        box = max(1, round(width * params.zoom)), max(1, round(height * params.zoom))
        if params.fit is Fit.CONTAIN:
            box = contained(full.shape[1], full.shape[0], *box)
        left, top = round((width - box[0]) * params.x), round((height - box[1]) * params.y)
        mask = np.full((height, width), 255, np.uint8)
        mask[top : top + box[1], left : left + box[0]] = 0
        fade = params.feather * max(width, height)
        # Grown by half of what it fades over: it must be white up to the picture's very edge.
        inside = feather(grow(mask, round(fade / 2)), fade)
        self._masks[item.job_id] = np.maximum(mask, inside)
        return on_canvas(fit_picture(full, *box, params.fit), width, height, left, top)


class Blend:
    """Lays what must stay back into the latents after each step, with the noise that the next one expects.

    Picture and noise are those that the class itself drew: they are caught where it lays one over the other.
    """

    def __init__(self, mask: Tensor) -> None:
        """`(B, 1, h, w)`, 1 where the net may draw."""
        self._mask = mask
        self._sampler: Any = None
        self._laid: tuple[Tensor, Tensor] | None = None

    def begins(self, sampler: Any) -> None:
        """Wraps `sampler.add_noise` until `ends`."""
        self._sampler = sampler
        add_noise = sampler.add_noise

        def watched(clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
            if self._laid is None:
                self._laid = clean, noise
            noisy: Tensor = add_noise(clean, noise, timesteps)
            return noisy

        sampler.add_noise = watched

    def __call__(self, left: int, latents: Tensor) -> Tensor:
        """What stays, as noisy as the step that comes next; clean when none does."""
        if self._laid is None:
            return latents
        known, noise = self._laid
        if left:
            known = self._sampler.add_noise(known, noise, self._sampler.timesteps[-left].reshape(1))
        mask = self._mask.to(latents.device, latents.dtype)
        return (1 - mask) * known + mask * latents

    def ends(self) -> None:
        """Break the circle that the wrapped method makes."""
        if self._sampler is not None:
            del self._sampler.add_noise
        self._sampler = self._laid = None


def laid_over(picture: "Pixels", made: "Pixels", mask: Mask) -> "Pixels":
    """`made` where the mask is white, `picture` where it is black, both exactly; in between a blend."""
    share = mask[..., None].astype(np.uint16)
    return ((picture * (255 - share) + made * share + 127) // 255).astype(np.uint8)


def full_mask(item: Item, picture: "Pixels") -> Mask:
    """The mask at the size of the uploaded picture: uploaded, drawn, or found.

    Raises:
        InvalidInputError: it has another size, or nothing stands out.
    """
    params = item.params
    assert isinstance(params, InpaintParams)  # noqa: S101  # the claim matched task and checkpoint
    height, width = picture.shape[:2]
    if params.mask_shapes is not None:
        return draw_mask(params.mask_shapes, width, height)
    if params.mask_automatic is not None:
        found = _finder().mask(picture) > 0.5  # noqa: PLR2004
        if not found.any() or found.all():
            raise _unusable(item, "Nothing stands out from this picture's background; draw a mask.")
        chosen = ~found if params.mask_automatic is Automatic.BACKGROUND else found
        return np.where(chosen, np.uint8(255), np.uint8(0))
    mask: Mask = item.picture("mask").max(axis=2)
    for problem in params.check_sizes({"image": (width, height), "mask": (mask.shape[1], mask.shape[0])}):
        raise _unusable(item, problem.message)
    return mask


@lru_cache(maxsize=1)
def _finder() -> "ForegroundFinder":
    from worker.packaged.foreground import ForegroundFinder

    return ForegroundFinder()


def _sees_masks(pipe: Any) -> bool:
    """Whether the net has channels for the mask, beside those of the latents."""
    net = getattr(pipe, "unet", None) or pipe.transformer
    channels = getattr(pipe.vae.config, "latent_channels", 4)
    packed = 4 if hasattr(pipe, "_pack_latents") else 1
    return bool(net.config.in_channels > channels * packed)


def _unusable(item: Item, text: str) -> InvalidInputError:
    given = next((name for name in ("mask_shapes", "mask_automatic") if getattr(item.params, name, None)), "mask")
    return InvalidInputError(text, job_id=str(item.job_id), field=f"/params/{given}")
