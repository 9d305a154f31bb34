"""Sharpness: blurring lowers it, size hardly matters, a flat picture has none."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from worker.quality.sharpness import sharpness

Picture = NDArray[np.uint8]


def checks(side: int, squares: int = 8) -> Picture:
    y, x = np.mgrid[:side, :side] * squares // side
    return np.repeat((((x + y) % 2) * 200 + 20).astype(np.uint8)[..., None], 3, axis=2)


def test_the_more_blur_the_lower() -> None:
    sharp = Image.fromarray(checks(128))
    scores = [sharpness(np.asarray(sharp.filter(ImageFilter.GaussianBlur(radius)))).score for radius in (0, 1, 2, 4)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_the_verdict_follows_the_limit() -> None:
    blurred = np.asarray(Image.fromarray(checks(128)).filter(ImageFilter.GaussianBlur(6)))
    assert sharpness(blurred).blurred
    assert not sharpness(checks(128)).blurred
    assert not sharpness(blurred, blurred_below=0).blurred


def test_a_large_copy_of_a_blurred_picture_is_still_blurred() -> None:
    """Given one scene at two sizes, then the scores are near each other."""
    small, large = (sharpness(checks(side)).score for side in (256, 1024))
    assert large == pytest.approx(small, rel=0.2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 5, 3), (300, 1, 3), (9, 9, 3)])
def test_flat_and_tiny_pictures_have_no_detail(shape: tuple[int, int, int]) -> None:
    found = sharpness(np.full(shape, 77, np.uint8))
    assert found.score == pytest.approx(0, abs=1e-6)
    assert found.blurred


def test_one_bright_pixel_is_counted_as_the_kernel_says() -> None:
    """Given one pixel of 1 in five by five, then the Laplacian is -4 there, 1 at four neighbours, 0 at four more."""
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[2, 2] = 1
    assert sharpness(picture).score == pytest.approx(np.var([-4, 1, 1, 1, 1, 0, 0, 0, 0]))
