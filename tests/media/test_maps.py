"""The maps that lead a ControlNet: edges where edges are, and a depth that is only a guess."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from worker.media.edges import canny
from worker.media.pseudo_depth import pseudo_depth
from worker.media.smoothing import box, gaussian, guided

Picture = NDArray[np.uint8]


def half(side: int = 40) -> Picture:
    picture = np.full((side, side, 3), 30, np.uint8)
    picture[:, side // 2 :] = 200
    return picture


def lines(edges: Picture) -> NDArray[np.bool_]:
    assert set(np.unique(edges)) <= {0, 255}
    assert np.array_equal(edges[..., 0], edges[..., 1])
    return edges[..., 0] == 255


@pytest.mark.parametrize("turns", range(4))
def test_a_straight_edge_is_one_thin_line(turns: int) -> None:
    found = np.rot90(lines(canny(np.rot90(half(), turns))), -turns)
    assert (found.sum(axis=1) == 1).all()
    assert set(np.flatnonzero(found.any(axis=0))) <= {19, 20}


def test_the_outline_of_a_disc_is_closed_and_nothing_else(scene: Picture) -> None:
    """Then every edge lies on the circle, and every direction from its centre meets one."""
    y, x = np.nonzero(lines(canny(scene)))
    radius = np.hypot(x - 20, y - 24)
    assert (np.abs(radius - 12) < 2).all()
    directions = np.degrees(np.arctan2(y - 24, x - 20)) % 360 // 15
    assert len(set(directions)) == 24


def test_colours_of_one_brightness_are_told_apart() -> None:
    picture = np.full((20, 20, 3), (0, 130, 0), np.uint8)
    picture[:, 10:] = (255, 0, 0)
    assert lines(canny(picture)).any(axis=1).all()


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_weak_edge_counts_only_where_it_hangs_on_a_strong_one(upside_down: bool) -> None:
    """Given an edge that fades to a faint one, and one that is faint from end to end, then only the first is kept."""
    picture = np.full((90, 40, 3), 100, np.uint8)
    picture[:50, 20:] = np.linspace(220, 120, 50).astype(np.uint8)[:, None, None]
    picture[60:80, 20:] += 20
    given = picture[::-1] if upside_down else picture
    found = lines(canny(given, low_threshold=0.05, high_threshold=0.6))[:: -1 if upside_down else 1]
    assert found[2:48, 18:22].any(axis=1).all()
    assert not found[55:].any()
    assert lines(canny(picture, low_threshold=0.05, high_threshold=0.05))[62:78, 18:22].any(axis=1).all()


def test_higher_thresholds_find_less(scene: Picture) -> None:
    rng = np.random.default_rng(3)
    noisy = np.clip(scene + rng.normal(0, 25, scene.shape), 0, 255).astype(np.uint8)
    counts = [int(lines(canny(noisy, high / 2, high)).sum()) for high in (0.1, 0.3, 0.6, 0.9)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] > 0


def test_faint_noise_on_a_wall_is_no_edge() -> None:
    wall = np.random.default_rng(1).integers(126, 130, (50, 50, 3), dtype=np.uint8)
    assert not canny(wall).any()


pictures = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda size: arrays(np.uint8, (*size, 3)))


@given(pictures)
def test_any_picture_has_both_maps(picture: Picture) -> None:
    for made in (canny(picture), pseudo_depth(picture)):
        assert made.shape == picture.shape
        assert made.dtype == np.uint8
    lines(canny(picture, 0, 0))


def test_lower_is_nearer_and_the_odd_one_out_is_nearer_than_its_surroundings(scene: Picture) -> None:
    depth = pseudo_depth(scene)[..., 0].astype(int)
    assert depth[:6].mean() < depth[-6:].mean()
    assert depth[20:28, 14:26].mean() > depth[20:28, 44:56].mean() + 40
    assert (depth.min(), depth.max()) == (0, 255)


def test_a_flat_picture_falls_from_the_bottom_to_the_top() -> None:
    depth = pseudo_depth(np.full((30, 20, 3), 90, np.uint8))[..., 0].astype(int)
    assert (np.diff(depth.mean(axis=1)) >= 0).all()
    assert np.ptp(depth, axis=1).max() == 0


# --- the filters -------------------------------------------------------------------------------------------------


def test_the_mean_filter_is_the_mean() -> None:
    plane = np.random.default_rng(0).random((9, 13)).astype(np.float32)
    padded = np.pad(plane, 2, mode="edge")
    slow = [[padded[y : y + 5, x : x + 5].mean() for x in range(13)] for y in range(9)]
    assert np.allclose(box(plane, 2), slow, atol=1e-6)


def test_the_gaussian_keeps_what_is_flat_and_has_its_width() -> None:
    assert np.allclose(gaussian(np.full((5, 7), 3, np.float32), 2), 3)
    spike = np.zeros((41, 41), np.float32)
    spike[20, 20] = 1
    spread = gaussian(spike, 3)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((spread.sum(axis=0) * (np.arange(41) - 20) ** 2).sum()) == pytest.approx(3, rel=0.03)


def test_the_guided_filter_smooths_but_keeps_the_guides_edge() -> None:
    guide = (half()[..., 0] / np.float32(255)).astype(np.float32)
    noise = np.random.default_rng(2).normal(0, 0.1, guide.shape).astype(np.float32)
    smoothed = guided(guide, guide + noise, 6, 1e-3)
    assert np.abs(smoothed - guide).mean() < np.abs(noise).mean() / 3
    assert smoothed[:, 20].mean() - smoothed[:, 19].mean() > 0.6
