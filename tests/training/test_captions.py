"""What captions say, and that nothing ever describes a held-out combination."""

from collections.abc import Callable

import numpy as np
import pytest

from worker.training.backgrounds import BACKGROUNDS
from worker.training.batches import Composites
from worker.training.captions import DROP_RATE, caption, chinese, english
from worker.training.composites import Combination, combinations, is_held_out
from worker.training.nouns import nouns
from worker.training.sprites import STYLES, Sprites


def named(english_name: str) -> int:
    return next(index for index, noun in enumerate(nouns()) if noun.english == english_name)


def on(word: str) -> int:
    return next(index for index, background in enumerate(BACKGROUNDS) if background.english == word)


def wordings(write: Callable[..., str], item: Combination, **options: bool) -> set[str]:
    rng = np.random.default_rng(0)
    return {write(item, rng, **options) for _ in range(600)}


def test_the_wordings_that_people_type_occur() -> None:
    cat_on_blue = Combination(named("cat"), 0, on("blue"))
    assert "a cat on a blue background" in wordings(english, cat_on_blue, style=False)
    assert "蓝色背景上的猫" in wordings(chinese, cat_on_blue, style=False)
    assert "一只坐在草地上的橘猫" in wordings(chinese, Combination(named("cat"), 0, on("grass")), style=False)
    assert "a 3d rocket on black" in wordings(english, Combination(named("rocket"), 2, on("black")), style=True)
    assert "glasses on red" in wordings(english, Combination(named("glasses"), 0, on("red")), style=False)


@pytest.mark.parametrize("background", range(len(BACKGROUNDS)))
def test_a_strict_caption_names_style_and_background(background: int) -> None:
    item = Combination(named("owl"), 1, background)
    for text in wordings(english, item, style=True, bare_white=False):
        assert "owl" in text
        assert "cartoon" in text
        if BACKGROUNDS[background].rgb is not None:
            assert BACKGROUNDS[background].english in text
    for text in wordings(chinese, item, style=True, bare_white=False):
        assert "猫头鹰" in text
        assert "卡通" in text


def test_one_training_caption_in_ten_is_empty_and_both_languages_occur() -> None:
    rng = np.random.default_rng(0)
    texts = [caption(item, rng) for item in combinations(held_out=False)[:3000]]
    assert abs(sum(not text for text in texts) / 3000 - DROP_RATE) < 0.03
    chinese_share = sum(any(letter >= "\u4e00" for letter in text) for text in texts) / 3000
    assert 0.4 < chinese_share < 0.5


def test_training_batches_never_hold_a_held_out_combination(sprites: Sprites) -> None:
    batches = Composites(sprites, combinations(held_out=False), batch=64, seed=1)
    for step in range(8):
        _, shown = batches.draw(step)
        assert not any(map(is_held_out, shown))


def test_every_style_has_its_word() -> None:
    assert STYLES == ("flat", "cartoon", "3d")
