"""Claims: what a text names, which pictures it fits, and that held-out combinations are never described."""

import numpy as np
import pytest
import torch

from worker.training.backgrounds import BACKGROUNDS
from worker.training.claims import (
    AXES,
    UNNAMED,
    Claim,
    background_text,
    describe,
    fits,
    named,
    near_miss,
    noun_text,
    shown_in,
    style_text,
    vocabulary,
)
from worker.training.composites import Combination, combinations, is_held_out
from worker.training.nouns import nouns
from worker.training.sprites import STYLES


def test_a_claim_fits_where_all_that_it_names_is_shown() -> None:
    shown = shown_in([Combination(1, 2, 3), Combination(1, 0, 3)])
    claims = [Claim("", noun=1), Claim("", style=2), Claim("", noun=1, style=0, background=3), Claim(""), Claim("", 4)]
    wanted = [[True, True, False, True, False], [True, False, True, True, False]]
    assert fits(shown, named(claims)).tolist() == wanted


def test_no_text_of_a_batch_describes_a_held_out_combination() -> None:
    rng = np.random.default_rng(0)
    every = combinations(held_out=False)
    for index in rng.integers(0, len(every), 2000):
        item = every[index]
        for about in (item, near_miss(item, rng)):
            claim = describe(about, rng)
            if UNNAMED not in (claim.noun, claim.style, claim.background):
                assert not is_held_out(Combination(claim.noun, claim.style, claim.background))


def test_a_near_miss_differs_in_one_thing() -> None:
    rng = np.random.default_rng(0)
    differing = set()
    for item in combinations(held_out=False)[:300]:
        missed = near_miss(item, rng)
        changed = [axis for axis in AXES if getattr(item, axis) != getattr(missed, axis)]
        assert len(changed) == 1
        differing.update(changed)
    assert differing == set(AXES)


def test_a_description_says_what_it_claims() -> None:
    rng = np.random.default_rng(1)
    blue, rocket = 7, next(index for index, noun in enumerate(nouns()) if noun.english == "rocket")
    for _ in range(200):
        claim = describe(Combination(rocket, 2, blue), rng)
        assert "rocket" in claim.text or "火箭" in claim.text
        assert (claim.style == 2) == any(word in claim.text for word in ("3d", "立体"))
        assert (claim.background == blue) == any(word in claim.text for word in ("blue", "蓝色"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_alone_name_one_thing(language: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        assert not any(
            word in noun_text(4, language, rng) for word in (*STYLES, "扁平", "卡通", "立体", "background", "背景")
        )
        assert "cat" not in style_text(1, language, rng).replace("cartoon", "")
        place = background_text(10, language, rng)
        assert "grass" in place or "meadow" in place or "草地" in place
        assert place == place.strip("，的 ")  # noqa: RUF001 - a full-width comma


def test_the_vocabulary_has_each_entry_once() -> None:
    rng = np.random.default_rng(3)
    for axis, size in zip(AXES, (len(nouns()), len(STYLES), len(BACKGROUNDS)), strict=True):
        claims = vocabulary(axis, rng)
        assert [getattr(claim, axis) for claim in claims] == list(range(size))
        told = named(claims)
        assert torch.equal((told != UNNAMED).sum(dim=1), torch.ones(size, dtype=torch.long))
