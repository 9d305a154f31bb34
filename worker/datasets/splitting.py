"""Dividing pictures into splits: by a seed, the same share of each class, and never a group in two."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np


def split(
    groups: Sequence[Sequence[int]], classes: Sequence[Hashable], shares: Mapping[str, float], seed: int
) -> dict[int, str]:
    """The split of each member of `groups`, whose members are indices into `classes`.

    A group counts to the class of its first member. Within a class groups are shuffled and each goes where most is
    missing; what a small class rounds away is made good by the next, so that the whole comes out as asked.
    """
    by_class: dict[Hashable, list[Sequence[int]]] = {}
    for group in groups:
        by_class.setdefault(classes[group[0]], []).append(group)
    owed = dict.fromkeys(shares, 0.0)
    found: dict[int, str] = {}
    for place, name in enumerate(sorted(by_class, key=str)):
        members = by_class[name]
        count = sum(len(group) for group in members)
        owed = {part: missing + count * shares[part] for part, missing in owed.items()}
        order = np.random.default_rng([seed, place]).permutation(len(members))
        # Large groups first: a small one fits in anywhere.
        for index in sorted(order.tolist(), key=lambda at: -len(members[at])):
            best = max(owed, key=lambda part: owed[part])
            owed[best] -= len(members[index])
            found |= dict.fromkeys(members[index], best)
    return found
