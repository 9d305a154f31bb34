"""The autoencoder by itself: pictures to latents and back (Kingma & Welling 2014; Rombach et al. 2022)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from worker.pipelines.diffusers.fitting import on_canvas, to_tensor
from worker.pipelines.failures import guarded
from worker.pipelines.pixels import to_pixels

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


class Codec:
    """An `AutoencoderKL` of a loaded pipeline."""

    def __init__(self, pipe: Any) -> None:
        """On whichever device the pipeline runs."""
        self._pipe = pipe
        self.multiple = int(pipe.vae_scale_factor)
        """Pixels of a latent: sides must be multiples of it."""

    def encode(self, pictures: "Sequence[Pixels]", generators: Sequence[Generator | None]) -> Tensor:
        """`(B, C, h, w)` float32 on the CPU: each drawn from its own generator, or the mean where there is none."""
        return guarded(lambda: self._encode(to_tensor(pictures) * 2 - 1, generators))

    def decode(self, latents: Tensor) -> "Pixels":
        """`(B, H, W, 3)` uint8."""
        return guarded(lambda: self._decode(latents))

    def padded(self, picture: "Pixels") -> "Pixels":
        """Continued to the right and below until the sides are multiples."""
        height, width = (-(-side // self.multiple) * self.multiple for side in picture.shape[:2])
        return on_canvas(picture, width, height, 0, 0)

    def _encode(self, values: Tensor, generators: Sequence[Generator | None]) -> Tensor:
        with torch.inference_mode(), self._precise() as vae:
            spread = vae.encode(values.to(self._pipe._execution_device, vae.dtype)).latent_dist  # noqa: SLF001
            rows = [
                spread.mean[place] if generator is None else self._drawn(spread, place, generator)
                for place, generator in enumerate(generators)
            ]
            self._pipe.maybe_free_model_hooks()
            return torch.stack(rows).float().cpu()

    def _drawn(self, spread: Any, place: int, generator: Generator) -> Tensor:
        mean, deviation = spread.mean[place], spread.std[place]
        noise = torch.randn(mean.shape, generator=generator).to(mean.device, mean.dtype)
        drawn: Tensor = mean + deviation * noise
        return drawn

    def _decode(self, latents: Tensor) -> "Pixels":
        with torch.inference_mode(), self._precise() as vae:
            decoded = vae.decode(latents.to(self._pipe._execution_device, vae.dtype), return_dict=False)[0]  # noqa: SLF001
            self._pipe.maybe_free_model_hooks()
            return to_pixels(decoded / 2 + 0.5)

    @contextmanager
    def _precise(self) -> Iterator[Any]:
        """SDXL's autoencoder overflows in half precision, and says so."""
        vae = self._pipe.vae
        upcast = vae.dtype == torch.float16 and bool(vae.config.force_upcast)
        if upcast:
            vae.to(torch.float32)
        try:
            yield vae
        finally:
            if upcast:
                vae.to(torch.float16)
