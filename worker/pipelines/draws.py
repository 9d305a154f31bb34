"""From (seed, index) to noise, and from a class as the client names it to one that the net has.

What the families share that make pictures of nothing but noise, and perhaps a class: GANs, VAEs, diffusion of pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.errors import CheckpointUnavailableError, InvalidInputError
from worker.pipelines.base import CheckpointFiles, Context, Item, Picture, generator_for

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


@dataclass(frozen=True)
class Draw:
    """One picture to make."""

    item: Item
    index: int

    def stream(self) -> torch.Generator:
        """Its own generator, at its beginning."""
        return generator_for(self.item.seed, self.index)


def draws_of(items: Iterable[Item]) -> list[Draw]:
    """Every picture of every item, item by item."""
    return [Draw(item, index) for item in items for index in range(item.params.rows())]


def noise(streams: Iterable[torch.Generator], *shape: int) -> Tensor:
    """`(B, *shape)` standard normal on the CPU, each row from its own stream."""
    return torch.stack([torch.randn(shape, generator=stream) for stream in streams])


def wanted(draws: Sequence[Draw], pixels: "Iterable[Pixels]", context: Context) -> Iterator[Picture]:
    """The pictures of a batch, but those of items that were stopped meanwhile."""
    for draw, picture in zip(draws, pixels, strict=True):
        if not context.stopped(draw.item.job_id):
            yield Picture(draw.item.job_id, draw.index, picture, draw.item.seed)


def label_of(item: Item, names: Sequence[str]) -> int:
    """The item's class as an index that the net has.

    Raises:
        InvalidInputError: it has no such class.
    """
    label = getattr(item.params, "class_label", None)
    if isinstance(label, str):
        label = names.index(label) if label in names else -1
    if label is None or not 0 <= label < len(names):
        text = f"This checkpoint has no class {getattr(item.params, 'class_label', None)!r}."
        raise InvalidInputError(text, job_id=str(item.job_id), field="/params/class_label")
    return int(label)


def check_names(files: CheckpointFiles, names: Sequence[str]) -> None:
    """The profile's class names, where it has any, must be the net's: clients count by them.

    Raises:
        CheckpointUnavailableError: they are others.
    """
    told = files.profile.class_names
    if told and told != tuple(names):
        text = f"{files.name}: the profile's {len(told)} class names are not those of its config.json."
        raise CheckpointUnavailableError(text)


def bytes_of(*modules: nn.Module) -> int:
    """What the parameters and buffers of nets hold."""
    return sum(tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers()))


def truncations(draws: Sequence[Draw]) -> Tensor:
    """`(B,)`: each item's."""
    return torch.tensor([float(getattr(draw.item.params, "truncation", 1.0)) for draw in draws])
