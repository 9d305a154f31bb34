"""Composites, their backgrounds, and the split."""

import numpy as np

from worker.training.backgrounds import BACKGROUNDS, SIDE, draw, recognise
from worker.training.composites import Combination, combinations, compose, is_held_out
from worker.training.nouns import nouns
from worker.training.sprites import STYLES, Sprites


def test_the_table_names_three_hundred_nouns_once_each() -> None:
    assert len(nouns()) >= 300
    for names in ([noun.english for noun in nouns()], [noun.chinese for noun in nouns()]):
        assert len(names) == len(set(names))


def test_every_combination_is_on_exactly_one_side_of_the_split() -> None:
    learnt, kept = set(combinations(held_out=False)), set(combinations(held_out=True))
    assert not learnt & kept
    assert len(learnt) + len(kept) == len(nouns()) * len(STYLES) * len(BACKGROUNDS)
    assert len(kept) >= 500
    assert all(map(is_held_out, kept))


def test_every_noun_is_learnt_in_every_style_on_many_backgrounds() -> None:
    seen: dict[tuple[int, int], set[int]] = {}
    for item in combinations(held_out=False):
        seen.setdefault((item.noun, item.style), set()).add(item.background)
    assert len(seen) == len(nouns()) * len(STYLES)
    assert min(map(len, seen.values())) >= 7


def test_a_composite_keeps_its_background_around_a_visible_sprite(sprites: Sprites) -> None:
    rng = np.random.default_rng(1)
    for index in range(len(BACKGROUNDS)):
        picture = compose(sprites, Combination(0, 0, index), rng)
        assert picture.shape == (SIDE, SIDE, 3)
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert recognise(picture[None])[0] == index
        assert np.abs(picture - draw(index, rng))[20:44, 20:44].max() > 0.05


def test_the_same_stream_draws_the_same_composite(sprites: Sprites) -> None:
    item = Combination(3, 1, 10)
    first, second = (compose(sprites, item, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
