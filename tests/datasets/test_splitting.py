"""Splits: everybody is in one, groups stay whole, each class has its share, and the seed decides alone."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.datasets.splitting import split

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def alone(count: int) -> list[tuple[int, ...]]:
    return [(place,) for place in range(count)]


def test_each_class_is_divided_alike() -> None:
    classes = ["cat"] * 100 + ["dog"] * 50
    found = split(alone(150), classes, SHARES, seed=1)
    counts = Counter((classes[place], name) for place, name in found.items())
    assert counts == {
        ("cat", "train"): 80, ("cat", "val"): 10, ("cat", "test"): 10,
        ("dog", "train"): 40, ("dog", "val"): 5, ("dog", "test"): 5,
    }  # fmt: skip


def test_many_small_classes_come_out_as_asked_for_together() -> None:
    """Given a hundred classes of three pictures, when a tenth goes aside, then it does, though no class has a tenth."""
    found = split(alone(300), [place // 3 for place in range(300)], SHARES, seed=1)
    assert Counter(found.values()) == {"train": 240, "val": 30, "test": 30}


def test_the_seed_decides() -> None:
    classes = ["cat"] * 40
    first = split(alone(40), classes, SHARES, seed=1)
    assert split(alone(40), classes, SHARES, seed=1) == first
    assert split(alone(40), classes, SHARES, seed=2) != first


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    kinds=st.lists(st.sampled_from(["cat", "dog", None]), min_size=1, max_size=40),
    seed=st.integers(0, 2**53 - 1),
)
def test_groups_are_never_torn(sizes: list[int], kinds: list[str | None], seed: int) -> None:
    groups, classes = [], []
    for number, size in enumerate(sizes):
        groups.append(tuple(range(len(classes), len(classes) + size)))
        classes += [kinds[number % len(kinds)]] * size
    found = split(groups, classes, SHARES, seed)
    assert set(found) == set(range(len(classes)))
    assert set(found.values()) <= set(SHARES)
    for group in groups:
        assert len({found[place] for place in group}) == 1
    # No split has more than its share by more than the largest group.
    for name, share in SHARES.items():
        assert sum(part == name for part in found.values()) <= share * len(classes) + max(sizes)
