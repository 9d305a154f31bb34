"""Masks: shapes cover what they should, and growing, shrinking and fading do as they say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.params.edits import Shape
from worker.media.masks import draw_mask, finish_mask
from worker.media.morphology import feather, grow

Mask = NDArray[np.uint8]
_SHAPES: TypeAdapter[tuple[Shape, ...]] = TypeAdapter(tuple[Shape, ...])
share = st.floats(0, 1)


def shapes(*given: dict[str, Any]) -> tuple[Shape, ...]:
    return _SHAPES.validate_python(given)


def rectangle(left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    return {"shape": "rectangle", "left": left, "top": top, "right": right, "bottom": bottom}


def covered(mask: Mask) -> float:
    return float(mask.mean()) / 255


def test_a_rectangle_covers_its_share_exactly() -> None:
    mask = draw_mask(shapes(rectangle(0.25, 0.5, 0.75, 1)), 40, 20)
    assert mask.shape == (20, 40)
    assert (mask[10:, 10:30] == 255).all()
    assert covered(mask) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("shape", "share_covered"),
    [
        ({"shape": "ellipse", "left": 0, "top": 0, "right": 1, "bottom": 1}, np.pi / 4),
        ({"shape": "polygon", "points": [(0, 0), (1, 0), (0, 1)]}, 1 / 2),
        ({"shape": "polygon", "points": [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]}, 1 / 2),
        ({"shape": "stroke", "points": [(0, 0.5), (1, 0.5)], "width": 0.2}, 0.2),
        ({"shape": "stroke", "points": [(0.5, 0.5)], "width": 0.5}, np.pi / 16),
    ],
)
def test_the_others_cover_their_area(shape: dict[str, Any], share_covered: float) -> None:
    """Given a square of 200 pixels, then they cover what geometry says, and round edges are grey."""
    mask = draw_mask(shapes(shape), 200, 200)
    assert covered(mask) == pytest.approx(share_covered, abs=0.008)
    if shape["shape"] == "ellipse":
        assert ((mask > 0) & (mask < 255)).any()


def test_a_stroke_has_round_joints_and_ends() -> None:
    """Given a sharp bend, then its outer corner is filled, and the end reaches half a width beyond the last point."""
    mask = draw_mask(
        shapes({"shape": "stroke", "points": [(0.2, 0.8), (0.5, 0.2), (0.8, 0.8)], "width": 0.2}), 100, 100
    )
    assert mask[12, 50] == 255
    assert mask[88, 80] > 0
    assert mask[80, 50] == 0


def test_a_strokes_width_is_a_share_of_the_longer_side() -> None:
    line = shapes({"shape": "stroke", "points": [(0, 0.5), (1, 0.5)], "width": 0.1})
    assert (draw_mask(line, 200, 50)[:, 100] == 255).sum() == 20
    assert (draw_mask(line, 50, 200)[:, 25] == 255).sum() == 20


def test_shapes_are_joined_not_overlaid() -> None:
    left, right = rectangle(0, 0, 0.6, 1), rectangle(0.4, 0, 1, 1)
    assert (draw_mask(shapes(left, right), 30, 30) == 255).all()


@given(share, share, share, share, st.integers(1, 70), st.integers(1, 70))
def test_no_box_fails_whatever_its_size(a: float, b: float, c: float, d: float, width: int, height: int) -> None:
    """Given boxes down to nothing, then there is a mask of the picture's size, and a large box covers a lot of it."""
    left, right, top, bottom = min(a, b), max(a, b), min(c, d), max(c, d)
    if left == right or top == bottom:
        return
    mask = draw_mask(shapes(rectangle(left, top, right, bottom)), width, height)
    assert mask.shape == (height, width)
    wide, high = ((right - left) * width, (bottom - top) * height)
    assert abs(float(mask.sum()) / 255 - wide * high) <= (wide + high + 1) / 2


def test_a_very_large_mask_is_drawn_without_a_finer_canvas() -> None:
    """Given a picture whose finer canvas would be too large, then the mask is the same but for its edges."""
    ellipse = shapes({"shape": "ellipse", "left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.9})
    large, small = draw_mask(ellipse, 2048, 1024), draw_mask(ellipse, 512, 256)
    assert set(np.unique(large)) == {0, 255}
    assert covered(large) == pytest.approx(covered(small), abs=0.005)


# --- growing and fading ------------------------------------------------------------------------------------------


def dot(side: int = 41) -> Mask:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 2, side // 2] = 255
    return mask


@pytest.mark.parametrize("radius", [1, 2, 5, 13, 100])
def test_a_dot_grows_into_a_disc(radius: int) -> None:
    y, x = np.mgrid[-20:21, -20:21]
    assert np.array_equal(grow(dot(), radius) == 255, x**2 + y**2 <= radius**2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_growing_is_the_maximum_over_a_disc(seed: int, radius: int, width: int, height: int) -> None:
    """Given any grey mask, when it is grown pixel by pixel, then that is what the quick way gives."""
    mask = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    slow = [[mask[(x - i) ** 2 + (y - j) ** 2 <= radius**2].max() for i in range(width)] for j in range(height)]
    assert np.array_equal(grow(mask, radius), slow)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_growing_then_shrinking_covers_at_least_as_much(seed: int, radius: int) -> None:
    mask = (np.random.default_rng(seed).random((16, 18)) < 0.1).astype(np.uint8) * 255
    assert (grow(grow(mask, radius), -radius) >= mask).all()
    assert (grow(grow(mask, -radius), radius) <= mask).all()


def test_a_mask_at_the_edge_does_not_shrink_away_from_it() -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[:, :12] = 255
    shrunk = grow(mask, -4)
    assert (shrunk[:, :8] == 255).all()
    assert not shrunk[:, 8:].any()


def test_a_faded_edge_is_half_where_it_was_and_about_as_wide_as_asked() -> None:
    mask = np.zeros((20, 100), np.uint8)
    mask[:, 50:] = 255
    faded = feather(mask, 24)[10].astype(int)
    assert (np.diff(faded) >= 0).all()
    assert faded[49] + faded[50] == pytest.approx(255, abs=4)
    assert faded[36] < 16
    assert faded[63] > 239
    assert faded[42] > 16
    assert np.array_equal(feather(mask, 0), mask)


def test_shares_are_of_the_longer_side() -> None:
    finished = finish_mask(np.pad(dot(), ((0, 0), (0, 59))), grow_share=0.1)
    assert int((finished[20] == 255).sum()) == 21
    assert covered(finish_mask(finished, grow_share=-0.05)) < covered(finished)
