"""What is made round a picture takes over its tone: by shades, not by what it shows."""

from typing import Any

import numpy as np
import pytest

from worker.media.seams import match_tone


def scene(height: int, width: int) -> Any:
    """A sky that changes from side to side."""
    across = np.linspace(60, 140, width)[None, :, None]
    down = np.linspace(0, 40, height)[:, None, None]
    return np.round(across + down + np.array([0.0, 20.0, 40.0])).astype(np.uint8)


def frame(height: int, width: int, share: float = 0.25) -> Any:
    """A mask that is white all round."""
    mask = np.full((height, width), 255, np.uint8)
    mask[round(height * share) : round(height * (1 - share)), round(width * share) : round(width * (1 - share))] = 0
    return mask


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (400, 600)])
def test_a_shade_of_difference_is_gone_everywhere(height: int, width: int) -> None:
    picture, mask = scene(height, width), frame(height, width)
    made = (picture + np.array([9, 0, 17])).astype(np.uint8)
    matched = match_tone(picture, made, mask)
    assert np.abs(matched.astype(int) - picture).max() <= 1


def test_a_shade_that_changes_along_the_edge_is_followed() -> None:
    picture, mask = scene(96, 96), frame(96, 96)
    slope = np.linspace(-20, 20, 96)[None, :, None]
    made = np.round(picture + slope).astype(np.uint8)
    matched = match_tone(picture, made, mask).astype(int)
    beside_it = (slice(30, 66), 22)  # two pixels out of the left edge
    before, after = (np.abs(one[beside_it].astype(int) - picture[beside_it]).mean() for one in (made, matched))
    assert before > 10
    assert after < 2


def test_what_shows_something_else_is_no_question_of_tone() -> None:
    picture, mask = scene(64, 64), frame(64, 64)
    made = picture.copy()
    made[14:22, 28:36] = 255  # something stands across the upper edge
    assert np.array_equal(match_tone(picture, made, mask), made)


def test_without_anything_in_common_it_stays_as_it_was_made() -> None:
    picture, mask = scene(32, 32), frame(32, 32)
    for made, covered in ((255 - picture, mask), (picture + 5, np.full_like(mask, 255))):
        assert match_tone(picture, made, covered) is made
