"""The first look at a data set: which of its pictures are kept, and why the others are not. Nothing is changed yet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.data_sets import Member
from worker.datasets.decoding import Pixels
from worker.datasets.reading import DataSet, Unusable
from worker.quality.duplicates import near_duplicates
from worker.quality.perceptual_hash import perceptual_hash
from worker.quality.pixels_hash import pixels_hash
from worker.quality.sharpness import sharpness

FLAT_BELOW = 1.0
"""Of sharpness: a picture without any edge has no perceptual hash worth the name."""


@dataclass(frozen=True)
class Rules:
    """What a picture must be to be kept. Sides in pixels, sharpness as the variance of the Laplacian."""

    min_side: int = 1
    sharper_than: float | None = None
    drop_duplicates: bool = True
    duplicate_distance: int = 4


@dataclass(frozen=True)
class Look:
    """What is remembered of a picture that was looked at."""

    member: Member
    width: int
    height: int
    likeness: int | str
    """Pictures that look alike have perceptual hashes that are near; a flat picture has the hash of its pixels."""


@dataclass(frozen=True)
class Drop:
    """A picture that is left out: a word for why, and a detail for people."""

    member: Member
    reason: str
    detail: str


@dataclass
class Survey:
    """What is kept, by name, the groups that look alike among it, and what is not kept."""

    kept: list[Look] = field(default_factory=list)
    groups: list[tuple[int, ...]] = field(default_factory=list)
    """Of places in `kept`; every place is in one, most of them alone."""
    drops: list[Drop] = field(default_factory=list)


def survey(data_set: DataSet, rules: Rules, looked: Callable[[int], None] = lambda _count: None) -> Survey:
    """Look at every picture once, one at a time. `looked` hears how many were seen, and may raise to end it."""
    found = Survey()
    for count, sample in enumerate(data_set.samples(), 1):
        if isinstance(sample, Unusable):
            found.drops.append(Drop(sample.member, sample.reason, sample.detail))
        elif drop := _unfit(sample.member, sample.pixels, rules):
            found.drops.append(drop)
        else:
            height, width = sample.pixels.shape[:2]
            found.kept.append(Look(sample.member, width, height, _likeness(sample.pixels)))
        looked(count)
    groups = list(_alike(found.kept, rules.duplicate_distance))
    if rules.drop_duplicates:
        groups = _largest_of_each(found, groups)
    found.groups = groups
    return found


def straddling(groups: Sequence[Sequence[int]], splits: Mapping[int, str]) -> int:
    """How many groups have members in more than one split."""
    return sum(len({splits[place] for place in group}) > 1 for group in groups)


def _unfit(member: Member, pixels: Pixels, rules: Rules) -> Drop | None:
    height, width = pixels.shape[:2]
    if min(height, width) < rules.min_side:
        return Drop(member, "too_small", f"{width} × {height} pixels")
    if rules.sharper_than is not None:
        found = sharpness(pixels, rules.sharper_than)
        if found.blurred:
            return Drop(member, "blurred", f"sharpness {found.score:.1f}")
    return None


def _likeness(pixels: Pixels) -> int | str:
    return pixels_hash(pixels) if sharpness(pixels).score < FLAT_BELOW else perceptual_hash(pixels)


def _alike(kept: Sequence[Look], distance: int) -> Iterator[tuple[int, ...]]:
    """All places of `kept` in groups, in the order of their first members."""
    hashed = [place for place, look in enumerate(kept) if isinstance(look.likeness, int)]
    hashes = [look.likeness for look in kept if isinstance(look.likeness, int)]
    by_first = {hashed[group[0]]: tuple(hashed[at] for at in group) for group in near_duplicates(hashes, distance)}
    flat: dict[str, list[int]] = {}
    for place, look in enumerate(kept):
        if isinstance(look.likeness, str):
            flat.setdefault(look.likeness, []).append(place)
    by_first |= {places[0]: tuple(places) for places in flat.values()}
    taken = {place for group in by_first.values() for place in group}
    for place in range(len(kept)):
        if place in by_first:
            yield by_first[place]
        elif place not in taken:
            yield (place,)


def _largest_of_each(found: Survey, groups: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Keep one of each group; the others become drops."""
    stays: list[Look] = []
    for group in groups:
        best = max(group, key=lambda place: (found.kept[place].width * found.kept[place].height, -place))
        for place in group:
            if place != best:
                drop = Drop(found.kept[place].member, "near_duplicate", f"of {found.kept[best].member.name}")
                found.drops.append(drop)
        stays.append(found.kept[best])
    found.kept = sorted(stays, key=lambda look: look.member.name)
    return [(place,) for place in range(len(found.kept))]
