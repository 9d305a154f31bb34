"""Walks from one latent to the next, in portions of what fits a batch, to one animation.

What is walked through is the family's business: noise, styles, embeddings, the latents of pictures. Frames are
distinct pictures; `there_and_back` plays them a second time, backwards, and costs no net anything.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.errors import InvalidInputError
from models.params import InterpolateParams
from models.params.latents import Path
from worker.media.animation import animate
from worker.pipelines.base import Context, File, Item

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels

    Frames = Callable[[slice], Pixels]
    """Makes some frames of a walk: `(n, H, W, 3)` uint8."""

PORTION_FRAMES = 8
"""Made at once where the family knows no better number."""


def between(stops: Tensor, frames: int, path: Path) -> Tensor:
    """`(S, ...)` stops, on the CPU, to `(F, ...)`: its first and last frame are the first and the last stop, exactly.

    Each leg takes equally many frames. Along the sphere, each latent as one vector, lengths are blended evenly.
    """
    from worker.nets.vae import interpolated

    places = torch.linspace(0, len(stops) - 1, frames, dtype=torch.float64)
    legs = places.floor().long().clamp(max=len(stops) - 2)
    shares = (places - legs).to(stops.dtype)
    walked = []
    for leg in range(len(stops) - 1):
        start, end, share = stops[leg].flatten(), stops[leg + 1].flatten(), shares[legs == leg]
        if path is Path.LINEAR:
            walked.append(torch.lerp(start, end, share[:, None]))
        else:
            walked.append(interpolated(start, end, share))
    frames_of_all = torch.cat(walked).reshape(frames, *stops.shape[1:])
    frames_of_all[0], frames_of_all[-1] = stops[0], stops[-1]
    return frames_of_all


def walk_all(
    items: Sequence[Item], context: Context, begin: "Callable[[Item], Frames]", portion: int = PORTION_FRAMES
) -> Iterator[File]:
    """The animation of every item, one after the other. `begin(item)` gives what makes the frames of a slice.

    Progress and stops between portions; an item that was stopped is left where it is.
    """
    total, done = sum(walk_of(item).frames for item in items), 0
    for item in items:
        end = done + walk_of(item).frames
        if not context.stopped(item.job_id):
            make, made = begin(item), []
            for start in range(0, end - done, portion):
                context.raise_if_all_stopped()
                if context.stopped(item.job_id):
                    break
                made.append(make(slice(start, min(start + portion, end - done))))
                context.step(done + min(start + portion, end - done), total)
            else:
                yield animation(item, np.concatenate(made))
        done = end


def animation(item: Item, frames: "Pixels") -> File:
    """The item's one output, of `(F, H, W, 3)` uint8 frames in the format that it asks for."""
    params = walk_of(item)
    made = animate(frames, params.animation_format, params.frames_per_second, there_and_back=params.there_and_back)
    name = f"walk.{params.animation_format.value}"
    return File(item.job_id, 0, name, made.body, made.media_type, (made.width, made.height))


def walk_of(item: Item) -> InterpolateParams:
    """The item's params, as what they are."""
    assert isinstance(item.params, InterpolateParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params


def seeds_of(item: Item) -> tuple[int, ...]:
    """The seeds to walk through, of a checkpoint that reads neither prompts nor pictures.

    Raises:
        InvalidInputError: the walk goes through pictures.
    """
    if len(seeds := walk_of(item).seeds) > 1:
        return seeds
    text = "This checkpoint cannot read pictures: walk through seeds."
    raise InvalidInputError(text, job_id=str(item.job_id), field="/params/images")
