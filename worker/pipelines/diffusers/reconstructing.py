"""Reconstruct: a picture through the autoencoder and back, and what that lost."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from models.errors import InvalidInputError
from models.params import ReconstructParams
from worker.pipelines.base import Context, Facts, Item, Output, Picture, generator_for
from worker.pipelines.diffusers.codec import Codec
from worker.pipelines.fidelity import fidelity

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels
    from worker.pipelines.diffusers.denoiser import Denoiser

PIXELS_AT_ONCE = 1 << 20


def reconstruct(denoiser: "Denoiser", items: Sequence[Item], context: Context) -> Iterator[Output]:
    """Pictures of one size together, as far as they fit."""
    codec = Codec(denoiser.pipe)
    pictures = {item.job_id: _picture(item, denoiser.profile.max_input_pixels) for item in items}
    done = 0
    for _, group in groupby(
        sorted(items, key=lambda item: pictures[item.job_id].shape), key=lambda item: pictures[item.job_id].shape
    ):
        alike = list(group)
        pixels = math.prod(pictures[alike[0].job_id].shape[:2])
        at_once = max(1, min(PIXELS_AT_ONCE // pixels, denoiser.ladder.max_rows(pixels)))
        for start in range(0, len(alike), at_once):
            context.raise_if_all_stopped()
            portion = alike[start : start + at_once]
            denoiser.ladder.begins(len(portion), pixels)
            yield from _through(codec, portion, [pictures[item.job_id] for item in portion])
            done += len(portion)
            context.step(done, len(items))


def _through(codec: Codec, items: Sequence[Item], pictures: "Sequence[Pixels]") -> Iterator[Output]:
    height, width = pictures[0].shape[:2]
    generators = [generator_for(item.seed, 0) if _params(item).sample else None for item in items]
    latents = codec.encode([codec.padded(picture) for picture in pictures], generators)
    for item, before, whole in zip(items, pictures, codec.decode(latents), strict=True):
        after = whole[:height, :width].copy()
        yield Picture(item.job_id, 0, after, item.seed)
        yield Facts(item.job_id, fidelity(before, after) | {"latent_shape": list(latents.shape[1:])})


def _picture(item: Item, max_pixels: int) -> "Pixels":
    picture = item.picture("image")
    if picture.shape[0] * picture.shape[1] > max_pixels:
        text = f"This checkpoint takes pictures of at most {max_pixels} pixels."
        raise InvalidInputError(text, job_id=str(item.job_id), field="/params/image")
    return picture


def _params(item: Item) -> ReconstructParams:
    assert isinstance(item.params, ReconstructParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params
