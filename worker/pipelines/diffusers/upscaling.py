"""Upscale by diffusion: the small picture leads the net in every step (Stable Diffusion ×4, and ×2 in latents)."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from models.errors import InvalidInputError
from models.params import UpscaleParams
from models.params.pictures import NOISE_LEVEL
from worker.pipelines.base import Context, Item, Picture
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.diffusers.fitting import on_canvas, to_tensor
from worker.pipelines.diffusers.watching import Watch

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels
    from worker.pipelines.diffusers.denoiser import Denoiser

LATENT_SCALE = 2


def upscale(denoiser: "Denoiser", items: Sequence[Item], context: Context) -> Iterator[Picture]:
    """Pictures of one size, once brought to what the net can halve, share a call."""
    denoiser.prompts.check(items)
    scale, multiple = scale_of(denoiser.pipe), _multiple(denoiser.pipe)
    takes_noise = "noise_level" in denoiser.sisters.main.style.arguments
    for item in items:
        _check(item, scale, takes_noise=takes_noise)
    pictures = {item.job_id: _fetched(item, denoiser.profile.max_input_pixels) for item in items}
    padded = {job_id: _padded(picture, multiple) for job_id, picture in pictures.items()}
    calls = [
        call
        for _, group in groupby(
            sorted(items, key=lambda item: padded[item.job_id].shape), key=lambda item: padded[item.job_id].shape
        )
        for call in _portions(denoiser, list(group), padded, scale)
    ]
    for number, call in enumerate(calls):
        context.raise_if_all_stopped()
        rows = [Row(item, 0) for item in call]
        height, width = (side * scale for side in padded[call[0].job_id].shape[:2])
        watch = Watch(
            rows,
            context,
            denoiser.previewer,
            steps=call[0].params.steps(),
            size=(width, height),
            call_number=number,
            calls=len(calls),
        )
        sister = denoiser.sisters.main
        keywords = _keywords(rows, padded)
        keywords = {name: value for name, value in keywords.items() if name in sister.style.arguments}
        pixels = denoiser.call(sister, keywords, watch, (width, height))
        for row, picture in zip(watch.kept, pixels, strict=True):
            sides = [side * scale for side in pictures[row.item.job_id].shape[:2]]
            yield Picture(row.item.job_id, 0, picture[: sides[0], : sides[1]].copy(), row.item.seed)


def scale_of(pipe: Any) -> int:
    """How many times as large: what the decoder makes of a latent, where each stands for a pixel of the input."""
    return LATENT_SCALE if "Latent" in type(pipe).__name__ else int(pipe.vae_scale_factor)


def _multiple(pipe: Any) -> int:
    """Pixels of the input that the net halves to one, level by level."""
    halvings: int = 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    return halvings * (int(pipe.vae_scale_factor) if "Latent" in type(pipe).__name__ else 1)


def _portions(denoiser: "Denoiser", alike: list[Item], padded: "dict[Any, Pixels]", scale: int) -> list[list[Item]]:
    height, width = padded[alike[0].job_id].shape[:2]
    at_once = denoiser.ladder.max_rows(height * width * scale * scale)
    return [alike[start : start + at_once] for start in range(0, len(alike), at_once)]


def _keywords(rows: Sequence[Row], padded: "dict[Any, Pixels]") -> dict[str, Any]:
    asked = [_params(row.item) for row in rows]
    first = asked[0]
    keywords = {
        "prompt": [params.prompt for params in asked],
        "image": to_tensor([padded[row.item.job_id] for row in rows]),
        "num_inference_steps": first.num_inference_steps,
        "guidance_scale": first.guidance_scale,
        "noise_level": first.noise_level,
        "generator": [row.generator() for row in rows],
        "output_type": "pt",
        "return_dict": False,
    }
    if (first.guidance_scale or 0) > 1 and any(params.negative_prompt for params in asked):
        keywords["negative_prompt"] = [params.negative_prompt for params in asked]
    return keywords


def _check(item: Item, scale: int, *, takes_noise: bool) -> None:
    """Refuse what the class would ignore."""
    params = _params(item)
    if params.scale not in {None, scale}:
        raise _refused(item, "scale", f"This checkpoint makes pictures {scale} times as large.")
    if not takes_noise and params.noise_level != NOISE_LEVEL:
        raise _refused(item, "noise_level", "This checkpoint enlarges latents and adds no noise to them; leave it out.")


def _fetched(item: Item, max_pixels: int) -> "Pixels":
    picture = item.picture("image")
    if picture.shape[0] * picture.shape[1] > max_pixels:
        raise _refused(item, "image", f"This checkpoint takes pictures of at most {max_pixels} pixels.")
    return picture


def _refused(item: Item, field: str, text: str) -> InvalidInputError:
    return InvalidInputError(text, job_id=str(item.job_id), field=f"/params/{field}")


def _padded(picture: "Pixels", multiple: int) -> "Pixels":
    height, width = (-(-side // multiple) * multiple for side in picture.shape[:2])
    return on_canvas(picture, width, height, 0, 0)


def _params(item: Item) -> UpscaleParams:
    assert isinstance(item.params, UpscaleParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params
