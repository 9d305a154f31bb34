"""From a data set to what a training takes: pictures of one size as a tensor, with their classes or captions."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from models.data_sets import Member
from models.errors import InvalidInputError
from models.params import TrainParams
from models.params.data_sets import CLASSES_NEEDED
from worker.datasets.reading import DataSet, Unusable
from worker.media.transforms import resize

MAX_BYTES: Final = 1 << 30
"""Of the pictures as half-precision tensors."""
BYTES_PER_SAMPLE: Final = 2
MAX_CLASSES: Final = 64
"""Of each, some samples are drawn at once for a sheet."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Material:
    """`pictures` are `(N, 3, H, W)` float16 in [-1, 1]; `labels` are `(N,)`, places in `class_names`."""

    pictures: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    captions: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    """For the report and the card: how many there were, how many are used, and of which classes."""


def read_material(
    data_set: DataSet, params: TrainParams, size: Size, looked: Callable[[], None] = lambda: None
) -> Material:
    """Decode, cut to the middle and resize what the params ask for. `looked` is called for each, and may raise.

    Raises:
        InvalidInputError: no such split, no classes where the method needs them, or no picture that can be used.
    """
    members = _wanted(data_set.members, params)
    if params.method in CLASSES_NEEDED:
        members = _with_classes(members)
    chosen = _as_many_as_fit(members, size, params.seed or 0)
    width, height = size
    pictures = torch.empty(len(chosen), 3, height, width, dtype=torch.float16)
    used: list[Member] = []
    unusable: Counter[str] = Counter()
    for sample in data_set.samples(chosen):
        if isinstance(sample, Unusable):
            unusable[sample.reason] += 1
        else:
            pixels = torch.from_numpy(np.array(resize(sample.pixels, width, height)))
            pictures[len(used)] = pixels.permute(2, 0, 1).float() / 127.5 - 1
            used.append(sample.member)
        looked()
    if not used:
        raise _unfit("data_set", f"None of its {len(chosen)} pictures can be read.")
    names = tuple(sorted({member.class_name for member in used if member.class_name})) if labelled(params) else ()
    labels = torch.tensor([names.index(member.class_name or "") for member in used]) if names else None
    captions = tuple(member.caption or params.caption or member.class_name or "" for member in used)
    classes = dict(sorted(Counter(member.class_name for member in used if member.class_name).items()))
    facts: dict[str, Any] = {"pictures": len(data_set.members), "of_split": len(members), "used": len(used)}
    facts |= {"unusable": dict(unusable), "classes": classes, "size": [width, height]}
    return Material(pictures[: len(used)], labels, names, captions, facts)


def labelled(params: TrainParams) -> bool:
    """Whether the method learns classes."""
    return params.method in CLASSES_NEEDED


def _wanted(members: Sequence[Member], params: TrainParams) -> Sequence[Member]:
    splits = sorted({member.split for member in members if member.split})
    if not splits:
        return members
    found = [member for member in members if member.split == params.split]
    if not found:
        raise _unfit("split", f"This data set has no split {params.split!r}; it has: {', '.join(splits)}.")
    return found


def _with_classes(members: Sequence[Member]) -> Sequence[Member]:
    found = [member for member in members if member.class_name]
    classes = {member.class_name for member in found}
    if not found:
        raise _unfit("data_set", "It has no classes: give each class a folder, or `label` in metadata.jsonl.")
    if len(classes) > MAX_CLASSES:
        raise _unfit("data_set", f"It has {len(classes)} classes; at most {MAX_CLASSES} are trained.")
    return found


def _as_many_as_fit(members: Sequence[Member], size: Size, seed: int) -> Sequence[Member]:
    """All, or a random choice by the seed where they would take too much memory."""
    most = max(1, MAX_BYTES // (3 * size[0] * size[1] * BYTES_PER_SAMPLE))
    if len(members) <= most:
        return members
    chosen = np.random.default_rng(seed).choice(len(members), most, replace=False)
    return [members[place] for place in sorted(chosen.tolist())]


def _unfit(name: str, text: str) -> InvalidInputError:
    return InvalidInputError(text, field=f"/params/{name}")
