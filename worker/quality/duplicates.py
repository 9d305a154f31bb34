"""Groups of near-duplicates among very many hashes, without comparing each with each."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from worker.quality.components import Indices, connected
from worker.quality.perceptual_hash import HASH_BITS, NEAR_DUPLICATE_BITS

Hashes = npt.NDArray[np.uint64]

_BLOCK_ROWS = 512
"""Rows of one comparison, so that a crowded bucket stays within some megabytes."""
_PAIRS_HELD = 1 << 20
"""Found pairs beyond which they are folded into the groups they make."""


def near_duplicates(hashes: Sequence[int], within_bits: int = NEAR_DUPLICATE_BITS) -> list[tuple[int, ...]]:
    """The groups of two and more, each as ascending positions in `hashes`, in the order of their first members.

    Two positions are in one group when a chain of pictures, each at most `within_bits` from the next, leads from one to
    the other. Exact: no pair is missed. By the pigeonhole principle hashes that differ in at most k of 64 bits agree
    in one of k + 1 bands (Manku, Jain & Sarma, "Detecting Near-Duplicates for Web Crawling", 2007), so only hashes
    that share a band are compared. Equal hashes count once, so a set of one picture is no worse than any other.

    Raises:
        ValueError: `within_bits` is not in [0, 63].
    """
    if not 0 <= within_bits < HASH_BITS:
        raise ValueError(f"two hashes of {HASH_BITS} bits cannot be told apart by {within_bits}")
    if not hashes:
        return []
    distinct, places = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    labels = _labels(distinct, within_bits)[places]
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    groups = [tuple(group.tolist()) for group in np.split(order, starts[1:]) if len(group) > 1]
    return sorted(groups)


def _labels(distinct: Hashes, within_bits: int) -> Indices:
    count = len(distinct)
    first, second = np.empty(0, np.int64), np.empty(0, np.int64)
    for one, other in _pairs(distinct, within_bits):
        first, second = np.concatenate([first, one]), np.concatenate([second, other])
        if len(first) > _PAIRS_HELD:
            first, second = np.arange(count), connected(count, first, second)
    return connected(count, first, second)


def _pairs(distinct: Hashes, within_bits: int) -> Iterator[tuple[Indices, Indices]]:
    """Every pair at most so far apart, as positions in `distinct`, at least once; a batch for each crowded bucket."""
    edges = np.linspace(0, HASH_BITS, within_bits + 2).round().astype(int)
    for low, high in itertools.pairwise(edges.tolist()):
        band = (distinct >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, starts):
            for row in range(0, len(bucket) - 1, _BLOCK_ROWS):
                block, rest = bucket[row : row + _BLOCK_ROWS], bucket[row:]
                differing = np.bitwise_count(distinct[block, None] ^ distinct[None, rest])
                one, other = np.nonzero(np.triu(differing <= within_bits, 1))
                if len(one):
                    yield block[one], rest[other]
