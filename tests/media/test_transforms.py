"""Crops, sizes, turns and colours: what stays, what moves, and what a picture looks like afterwards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from models.params.data_sets import Colour, Crop, Resize
from worker.media.colours import auto_contrast, greyscale, recolour, standardise, turn_hue
from worker.media.transforms import crop, flip, mirror, resize, rotate
from worker.quality.luma import luma

Picture = NDArray[np.uint8]
pictures = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda size: arrays(np.uint8, (*size, 3)))
sides = st.integers(1, 20)


@given(pictures, sides, sides)
def test_a_crop_is_a_part_of_that_shape_and_as_large_as_can_be(picture: Picture, width: int, height: int) -> None:
    for how in (Crop.SQUARE, Crop.SMART):
        part = crop(picture, width, height, how)
        assert part.shape[0] == picture.shape[0] or part.shape[1] == picture.shape[1]
        assert min(part.shape) >= 1
        ideal = picture.shape[0] * width / height
        assert abs(part.shape[1] - min(ideal, picture.shape[1])) <= 0.5 or part.shape[1] == 1
        windows = np.lib.stride_tricks.sliding_window_view(picture, part.shape[:2], axis=(0, 1))
        assert (windows.transpose(0, 1, 3, 4, 2) == part).all(axis=(2, 3, 4)).any()


def test_the_middle_is_the_middle() -> None:
    picture = np.zeros((4, 10, 3), np.uint8)
    picture[:, 3:7] = 255
    assert (crop(picture, 1, 1) == 255).all()
    assert crop(picture, 1, 1, Crop.NONE) is picture


@pytest.mark.parametrize("turns", range(4))
def test_a_smart_crop_goes_where_something_is(turns: int) -> None:
    """Given detail at one end of a long wall, then the square holds all of it, whichever end that is."""
    wall = np.full((20, 60, 3), 120, np.uint8)
    wall[5:15, 45:55] = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    turned = np.rot90(wall, turns)

    def held(part: Picture) -> int:
        return int((part != 120).any(axis=2).sum())

    assert held(crop(turned, 1, 1, Crop.SMART)) == held(wall) > 90
    assert held(crop(turned, 1, 1, Crop.SQUARE)) == 0


def test_a_smart_crop_of_an_even_picture_is_the_middle() -> None:
    even = np.full((20, 61, 3), 9, np.uint8)
    even[:, 30] = 200
    assert np.array_equal(crop(even, 1, 1, Crop.SMART), crop(even, 1, 1, Crop.SQUARE))
    texture = np.tile(np.indices((4, 4)).sum(0)[..., None] * 20, (5, 15, 3)).astype(np.uint8)
    assert np.array_equal(crop(texture, 1, 1, Crop.SMART), texture[:, 20:40])


@given(pictures, sides, sides, st.sampled_from(Resize))
def test_every_picture_comes_to_every_size(picture: Picture, width: int, height: int, how: Resize) -> None:
    made = resize(picture, width, height, how)
    assert made.shape == (height, width, 3)
    same = resize(picture, picture.shape[1], picture.shape[0], how)
    assert np.array_equal(same, picture)
    assert not np.shares_memory(same, picture)


def test_cover_fills_contain_pads_stretch_distorts() -> None:
    """Given a red strip between black ones, wider than high, when it is made square."""
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = (200, 0, 0)
    assert (resize(picture, 20, 20, Resize.COVER) == (200, 0, 0)).all()
    stretched = resize(picture, 60, 60, Resize.STRETCH)
    assert (stretched[:, 25:35] == (200, 0, 0)).all()
    assert not stretched[:, :10].any()
    contained = resize(picture, 60, 60, Resize.CONTAIN, (0, 0, 99))
    assert (contained[:20] == (0, 0, 99)).all()
    assert (contained[40:] == (0, 0, 99)).all()
    assert np.array_equal(contained[20:40], picture)


def test_shrinking_averages() -> None:
    """Given stripes of one pixel, when they are made small, then they are grey and not black or white."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, 8, 8, Resize.STRETCH).astype(int) - 128).max() < 24


@given(pictures)
def test_turns_and_mirrors_undo_themselves(picture: Picture) -> None:
    assert np.array_equal(mirror(mirror(picture)), picture)
    assert np.array_equal(flip(flip(picture)), picture)
    assert np.array_equal(mirror(flip(picture)), rotate(picture, 180))
    assert np.array_equal(rotate(rotate(picture, 90), -90), picture)
    assert np.array_equal(mirror(picture)[:, 0], picture[:, -1])
    assert np.array_equal(rotate(picture, 90)[-1], picture[:, 0])


def test_another_angle_turns_the_same_way_and_fills_the_corners(scene: Picture) -> None:
    square = scene[:, :48]
    turned = rotate(square, 45, (255, 0, 255))
    assert turned.shape == square.shape
    assert (turned[0, 0] == (255, 0, 255)).all()
    nearly = rotate(square, 89.9)
    assert np.abs(nearly[4:-4, 4:-4].astype(int) - rotate(square, 90)[4:-4, 4:-4]).mean() < 6


# --- colours -----------------------------------------------------------------------------------------------------


@given(pictures)
def test_factors_of_one_change_nothing(picture: Picture) -> None:
    same = recolour(picture, Colour())
    assert np.array_equal(same, picture)
    assert not np.shares_memory(same, picture)
    assert np.array_equal(turn_hue(picture, 360), picture)


def test_each_factor_does_what_it_says(scene: Picture) -> None:
    grey = luma(scene)
    assert luma(recolour(scene, Colour(brightness=1.5))).mean() > 1.2 * grey.mean()
    assert luma(recolour(scene, Colour(contrast=0.5))).std() == pytest.approx(grey.std() / 2, rel=0.05)
    assert np.ptp(recolour(scene, Colour(saturation=0)), axis=2).max() == 0
    assert np.ptp(recolour(scene, Colour(saturation=2)), axis=2).mean() > np.ptp(scene, axis=2).mean()
    assert np.array_equal(recolour(scene, Colour(greyscale=True)), greyscale(scene))


@given(pictures, st.floats(-180, 180))
def test_greys_have_no_hue_to_turn(picture: Picture, degrees: float) -> None:
    grey = greyscale(picture)
    assert np.abs(turn_hue(grey, degrees).astype(int) - grey).max() <= 1


def test_a_hue_goes_round_and_keeps_its_luma() -> None:
    """Given a muted red, when it is turned by thirds, then green and blue lead in turn, at the same luma."""
    red = np.full((1, 1, 3), (160, 110, 110), np.uint8)
    leading = [int(turn_hue(red, degrees)[0, 0].argmax()) for degrees in (0, 120, 240)]
    assert leading == [0, 1, 2]
    for degrees in range(0, 360, 30):
        assert luma(turn_hue(red, degrees))[0, 0] == pytest.approx(luma(red)[0, 0], abs=1.5)
    back = turn_hue(turn_hue(red, 70), -70)
    assert np.abs(back.astype(int) - red).max() <= 2


def test_auto_contrast_uses_the_whole_range_and_is_done_after_once(scene: Picture) -> None:
    dull = (scene // 4 + 90).astype(np.uint8)
    stretched = auto_contrast(dull)
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert np.array_equal(auto_contrast(stretched), stretched)
    flat = np.full((5, 5, 3), 7, np.uint8)
    assert np.array_equal(auto_contrast(flat), flat)


def test_one_bright_pixel_does_not_hold_up_the_rest() -> None:
    picture = np.linspace(100, 120, 3000).astype(np.uint8).reshape(20, 50, 3)
    picture[0, 0] = 255
    assert np.ptp(auto_contrast(picture)[1:]) > 200


def test_standardised_channels_have_one_mean_and_spread(scene: Picture) -> None:
    """Given a scene in red light, then its channels come to the same mean and spread; a flat one becomes grey."""
    lit = (scene * np.array([1, 0.5, 0.3])).astype(np.uint8)
    made = standardise(lit, spread=40).astype(float)
    assert np.allclose(made.mean(axis=(0, 1)), 127.5, atol=2)
    assert np.allclose(made.std(axis=(0, 1)), 40, atol=2)
    assert set(np.unique(standardise(np.full((3, 3, 3), 9, np.uint8)))) <= {127, 128}
