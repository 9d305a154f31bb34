"""Interpolate: prompts through their embeddings, seeds through their noise, pictures through their latents."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from models.params import Fit
from models.params.latents import Path
from worker.pipelines.base import Context, File, Item, generator_for
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.diffusers.codec import Codec
from worker.pipelines.diffusers.fitting import fit_picture
from worker.pipelines.diffusers.watching import Watch
from worker.pipelines.failures import guarded
from worker.pipelines.walks import PORTION_FRAMES, animation, between, walk_all, walk_of

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels
    from worker.pipelines.diffusers.denoiser import Denoiser
    from worker.pipelines.walks import Frames

_CONDITIONS = {
    2: ("prompt_embeds", "negative_prompt_embeds"),
    3: ("prompt_embeds", "pooled_prompt_embeds"),
    4: ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
}
"""What `encode_prompt` gives, by how much it is: SD; Flux, whose third says where the words stand; SDXL and SD3."""


def interpolate(denoiser: "Denoiser", items: Sequence[Item], context: Context) -> Iterator[File]:
    """Item by item; each one's frames in portions."""
    denoiser.prompts.check(items)
    for item in items:
        if walk_of(item).images:
            yield from walk_all([item], context, lambda item: _through_latents(denoiser, item), _portion(denoiser))
        elif not context.stopped(item.job_id):
            yield from _through_noise(denoiser, item, context)


def _through_latents(denoiser: "Denoiser", item: Item) -> "Frames":
    """Between the means of the pictures' latents; nothing is denoised."""
    params, codec = walk_of(item), Codec(denoiser.pipe)
    width, height = _size(denoiser)
    pictures = [item.picture(f"images/{place}") for place in range(len(params.images))]
    stops = [codec.encode([fit_picture(picture, width, height, Fit.COVER)], [None]) for picture in pictures]
    latents = between(torch.cat(stops), params.frames, params.path)
    denoiser.ladder.begins(_portion(denoiser), width * height)
    return lambda frames: codec.decode(latents[frames])


def _through_noise(denoiser: "Denoiser", item: Item, context: Context) -> Iterator[File]:
    """Each frame is a picture of text to image, whose words and noise lie between those of two stops."""
    params, size = walk_of(item), _size(denoiser)
    way = guarded(lambda: _Way.of(denoiser, item))
    starts = range(0, params.frames, _portion(denoiser))
    made: list[Pixels] = []
    for number, start in enumerate(starts):
        context.raise_if_all_stopped()
        if context.stopped(item.job_id):
            return
        frames = slice(start, min(start + starts.step, params.frames))
        watch = Watch(
            [Row(item, place) for place in range(frames.stop - start)],
            context,
            denoiser.previewer,
            steps=params.num_inference_steps or 1,
            size=size,
            call_number=number,
            calls=len(starts),
        )
        made.append(denoiser.call(denoiser.sisters.main, way.keywords(denoiser, frames), watch, size))
    yield animation(item, np.concatenate(made))


@dataclass(frozen=True)
class _Way:
    """What leads each frame of one walk, and the noise that it begins with."""

    item: Item
    conditions: dict[str, Tensor]
    noise: Tensor
    """`(F, C, h, w)`, as the class itself would draw it."""

    @classmethod
    def of(cls, denoiser: "Denoiser", item: Item) -> "_Way":
        """Every stop is encoded and drawn once."""
        params = walk_of(item)
        shape = _noise_shape(denoiser)
        drawn = [torch.randn(shape, generator=generator_for(seed, 0)) for seed in params.seeds or (item.seed,)]
        noise = between(torch.stack(_two(drawn)), params.frames, params.path)
        encoded = _encode(denoiser.pipe, _two(list(params.prompts)), guided=(params.guidance_scale or 0) > 1)
        conditions = {name: between(stops, params.frames, Path.LINEAR) for name, stops in encoded.items()}
        return cls(item, conditions, noise)

    def keywords(self, denoiser: "Denoiser", frames: slice) -> dict[str, Any]:
        """The call for some frames."""
        params, style = walk_of(self.item), denoiser.sisters.main.style
        width, height = _size(denoiser)
        pipe, noise = denoiser.pipe, self.noise[frames]
        if hasattr(pipe, "_pack_latents"):
            noise = pipe._pack_latents(noise, *noise.shape)  # noqa: SLF001  # Flux' tokens of 2 × 2 latents
        first = next(iter(self.conditions.values()))
        keywords: dict[str, Any] = {name: stops[frames] for name, stops in self.conditions.items()} | {
            "latents": noise.to(first.device, first.dtype),
            "generator": [self._stream() for _ in range(len(noise))],
            "width": width,
            "height": height,
            "num_inference_steps": params.num_inference_steps,
            style.guidance_argument: params.guidance_scale,
            "output_type": "pt",
            "return_dict": False,
        }
        return {name: value for name, value in keywords.items() if name in style.arguments}

    def _stream(self) -> Generator:
        """For samplers that go on drawing: the same for all frames, as it stands behind the first noise."""
        seeds = walk_of(self.item).seeds
        stream = generator_for(seeds[0] if seeds else self.item.seed, 0)
        torch.randn(self.noise.shape[1:], generator=stream)
        return stream


def _encode(pipe: Any, prompts: list[str], *, guided: bool) -> dict[str, Tensor]:
    """The conditions of each prompt, `(S, …)` by the name that the class takes them under."""
    settings: dict[str, Any] = {
        "prompt": prompts,
        "prompt_2": None,
        "prompt_3": None,
        "device": pipe._execution_device,  # noqa: SLF001  # where its parts run, also when they are offloaded
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": guided,
    }
    known = inspect.signature(pipe.encode_prompt).parameters
    with torch.inference_mode():
        encoded = pipe.encode_prompt(**{name: value for name, value in settings.items() if name in known})
    named = zip(_CONDITIONS[len(encoded)], encoded, strict=False)  # Flux gives the places of the words, too
    return {name: stops for name, stops in named if stops is not None}


def _noise_shape(denoiser: "Denoiser") -> tuple[int, ...]:
    """`(C, h, w)` of one picture's latents."""
    pipe = denoiser.pipe
    width, height = _size(denoiser)
    net = getattr(pipe, "unet", None) or pipe.transformer
    packed = 4 if hasattr(pipe, "_pack_latents") else 1
    return net.config.in_channels // packed, height // pipe.vae_scale_factor, width // pipe.vae_scale_factor


def _two(stops: list[Any]) -> list[Any]:
    """One stop is a walk that stands still."""
    return stops if len(stops) > 1 else stops * 2


def _portion(denoiser: "Denoiser") -> int:
    width, height = _size(denoiser)
    return min(PORTION_FRAMES, denoiser.ladder.max_rows(width * height))


def _size(denoiser: "Denoiser") -> tuple[int, int]:
    return denoiser.profile.default_width, denoiser.profile.default_height
