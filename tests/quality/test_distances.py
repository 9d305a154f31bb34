"""PSNR and SSIM: the published values, and what must hold for any two pictures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from worker.quality.psnr import psnr
from worker.quality.ssim import ssim

Picture = NDArray[np.uint8]
pictures = st.tuples(st.integers(1, 16), st.integers(1, 16)).flatmap(
    lambda size: st.tuples(arrays(np.uint8, (*size, 3)), arrays(np.uint8, (*size, 3)))
)


def test_they_agree_with_scikit_image(pattern: Picture, noisy: Picture) -> None:
    """Given the values of scikit-image 0.26 (Gaussian window, sigma 1.5, whole windows only, mean over channels)."""
    assert ssim(pattern, noisy) == pytest.approx(0.6701044356604525, abs=1e-12)
    assert psnr(pattern, noisy) == pytest.approx(26.851636093876586, abs=1e-12)


def test_ssim_is_the_formula_under_one_window(pattern: Picture, noisy: Picture) -> None:
    """Given pictures as large as one window, when the paper's formula is written out, then it gives the same."""
    x, y = (picture[:11, :11].astype(float) for picture in (pattern, noisy))
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for channel in range(3):
        a, b = x[..., channel], y[..., channel]
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        both = (weights * (a - mean_a) * (b - mean_b)).sum()
        c1, c2 = 2.55**2, 7.65**2
        values.append(
            (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        )
    assert ssim(pattern[:11, :11], noisy[:11, :11]) == pytest.approx(np.mean(values))


def test_psnr_of_known_errors() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    one_off = black.copy()
    one_off[0, 0, 0] = 1
    assert psnr(black, white) == 0
    assert psnr(black, black) == math.inf
    assert psnr(one_off, black) == pytest.approx(10 * math.log10(255**2 * 48))


@given(pictures)
def test_any_two_pictures(pair: tuple[Picture, Picture]) -> None:
    """Then both distances are symmetric, in their ranges, and perfect for a picture and itself."""
    first, second = pair
    assert ssim(first, first) == pytest.approx(1)
    assert -1 - 1e-9 <= ssim(first, second) <= 1 + 1e-9
    assert ssim(first, second) == pytest.approx(ssim(second, first))
    assert psnr(first, second) == psnr(second, first) >= 0
    assert (psnr(first, second) == math.inf) == np.array_equal(first, second)


def test_a_worse_copy_scores_worse(pattern: Picture, noisy: Picture) -> None:
    worse = np.clip(pattern.astype(int) + 3 * (noisy.astype(int) - pattern), 0, 255).astype(np.uint8)
    assert ssim(pattern, worse) < ssim(pattern, noisy)
    assert psnr(pattern, worse) < psnr(pattern, noisy)


def test_pictures_of_two_sizes_are_refused(pattern: Picture) -> None:
    for measure in (ssim, psnr):
        with pytest.raises(ValueError, match="cannot be compared"):
            measure(pattern, pattern[:-1])
