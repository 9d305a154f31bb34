"""Pictures and masks brought to a size."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.params import CheckpointProfile, Fit
from tests.pipelines.diffusers.led import picture
from worker.pipelines.diffusers.fitting import contained, fit_mask, fit_picture, nearest_size, to_tensor

SIDES = st.integers(1, 80)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(list(Fit)))
@example(25, 30, 88, 88, Fit.COVER)
@example(30, 25, 88, 88, Fit.COVER)
def test_every_size_comes_to_every_other(full_width: int, full_height: int, width: int, height: int, fit: Fit) -> None:
    assert fit_picture(picture(1, full_width, full_height), width, height, fit).shape == (height, width, 3)
    white = np.full((full_height, full_width), 255, np.uint8)
    assert (fit_mask(white, width, height, fit) == 255).all()


@pytest.mark.parametrize("fit", Fit)
def test_a_picture_of_the_size_stays_as_it_is(fit: Fit) -> None:
    assert np.array_equal(fit_picture(picture(), 32, 32, fit), picture())


def test_covering_cuts_evenly_containing_continues_the_edges_stretching_does_neither() -> None:
    stripes = np.zeros((10, 40, 3), np.uint8)
    stripes[:, 15:25] = 255
    assert (fit_picture(stripes, 10, 10, Fit.COVER) == 255).all()
    within = fit_picture(stripes, 40, 40, Fit.CONTAIN)
    assert np.array_equal(within[15:25], stripes)
    assert np.array_equal(within[0], stripes[0])
    assert np.array_equal(within[-1], stripes[-1])
    narrow = fit_picture(stripes, 10, 10, Fit.STRETCH)[5, :, 0]
    assert narrow[0] < 30
    assert narrow[5] > 225


def test_a_mask_that_covers_a_half_rings_nowhere() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    small = fit_mask(mask, 16, 16, Fit.COVER)
    assert (small[:, :7] == 0).all()
    assert (small[:, 9:] == 255).all()


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_the_nearest_size_is_one_that_the_checkpoint_makes(width: int, height: int) -> None:
    profile = CheckpointProfile(default_width=512, default_height=512, min_size=256, max_size=1000, size_multiple=64)
    for side in nearest_size(profile, width, height):
        assert side % 64 == 0
        assert 256 <= side <= 1000


def test_the_nearest_size_keeps_shape_and_area() -> None:
    profile = CheckpointProfile(default_width=512, default_height=512, size_multiple=8)
    assert nearest_size(profile, 1600, 900) == (680, 384)
    assert nearest_size(profile, 100, 100) == (512, 512)
    fixed = CheckpointProfile(default_width=64, default_height=64, min_size=64, max_size=64)
    assert nearest_size(fixed, 1600, 900) == (64, 64)


def test_nothing_is_contained_in_less_than_a_pixel() -> None:
    assert contained(1000, 1, 8, 8) == (8, 1)


def test_tensors_are_channels_first_in_the_unit_range() -> None:
    values = to_tensor([picture(1), picture(2)])
    assert values.shape == (2, 3, 32, 32)
    assert np.array_equal((values[1].permute(1, 2, 0).numpy() * 255).round(), picture(2))
