"""Styles by name and by picture."""

import numpy as np
import pytest

from models.errors import InvalidInputError
from tests.packaged.conftest import Pixels
from worker.packaged.style_transfer import STYLE_NAMES, StyleTransfer


@pytest.fixture(scope="module")
def styles() -> StyleTransfer:
    return StyleTransfer()


def apart(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def test_there_are_26_styles_and_no_two_paint_alike(styles: StyleTransfer, scene: Pixels) -> None:
    assert len(set(STYLE_NAMES)) == 26
    small = scene[::2, ::2]
    painted = [styles.named(small, name) for name in STYLE_NAMES]
    nearest = [min(apart(one, other) for other in painted if other is not one) for one in painted]
    assert min(nearest) > 5
    assert min(apart(one, small) for one in painted) > 5


@pytest.mark.parametrize(("height", "width"), [(128, 128), (37, 61), (8, 8), (90, 33)])
def test_a_picture_keeps_its_size(styles: StyleTransfer, scene: Pixels, height: int, width: int) -> None:
    picture = np.ascontiguousarray(scene[:height, :width])
    for painted in (styles.named(picture, "umber"), styles.like(picture, scene)):
        assert (painted.shape, painted.dtype) == ((height, width, 3), np.uint8)


def test_a_name_that_is_not_there(styles: StyleTransfer, scene: Pixels) -> None:
    with pytest.raises(InvalidInputError, match="starry-blue"):
        styles.named(scene, "starry-night")


def test_strength_leads_from_the_picture_to_the_style(styles: StyleTransfer, scene: Pixels, noise: Pixels) -> None:
    by_name = [styles.named(scene, "deep-red", strength) for strength in (0.25, 0.5, 1.0)]
    moved = [apart(picture, scene) for picture in by_name]
    assert moved == sorted(moved)
    assert moved[0] < moved[-1] / 2
    whole = styles.like(scene, noise, 1.0)
    left = [apart(styles.like(scene, noise, strength), whole) for strength in (0.2, 0.6, 1.0)]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0


def test_any_picture_lends_its_colours(styles: StyleTransfer, scene: Pixels) -> None:
    """Given a green and a red style, then each painting leans to its own."""
    y, x = np.mgrid[0:96, 0:96]
    stripes = ((np.sin(x / 3) + np.cos(y / 5)) * 40 + 128)[..., None]
    green = np.clip(stripes * (0.3, 1.2, 0.4), 0, 255).astype(np.uint8)
    red = np.clip(stripes * (1.3, 0.3, 0.3), 0, 255).astype(np.uint8)
    lean = [
        float(painted[..., 0].astype(int).mean() - painted[..., 1].astype(int).mean())
        for painted in (styles.like(scene, green), styles.like(scene, red))
    ]
    assert lean[0] < lean[1] - 20


def test_the_same_request_gives_the_same_bytes(styles: StyleTransfer, scene: Pixels, noise: Pixels) -> None:
    again = StyleTransfer()
    assert np.array_equal(styles.named(scene, "neon-strokes", 0.7), again.named(scene, "neon-strokes", 0.7))
    assert np.array_equal(styles.like(scene, noise, 0.7), again.like(scene, noise, 0.7))
