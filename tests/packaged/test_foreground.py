"""The mask of what stands in front."""

import numpy as np
import numpy.typing as npt
import pytest

from tests.packaged.conftest import Pixels
from worker.packaged.foreground import ForegroundFinder


@pytest.fixture(scope="module")
def finder() -> ForegroundFinder:
    return ForegroundFinder()


def sprite(height: int, width: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """A striped ball before a blue wall, and where it is."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    inside = (x - 0.45) ** 2 + (y - 0.3) ** 2 < 0.04
    picture = np.full((height, width, 3), (60, 110, 190), np.uint8)
    picture[inside] = (230, 180, 60)
    picture[inside & ((x * 20).astype(int) % 2 == 0)] = (180, 40, 30)
    return picture, inside


@pytest.mark.parametrize(("height", "width"), [(160, 160), (120, 200), (64, 64)])
def test_a_sprite_is_told_from_its_background(finder: ForegroundFinder, height: int, width: int) -> None:
    picture, inside = sprite(height, width)
    mask = finder.mask(picture)
    assert (mask.shape, mask.dtype) == ((height, width), np.float32)
    assert 0 <= mask.min() <= mask.max() <= 1
    found = mask > 0.5
    assert (found & inside).sum() / (found | inside).sum() > 0.85


def test_where_nothing_stands_out_there_is_no_hard_mask(finder: ForegroundFinder) -> None:
    for value in (0, 255):
        mask = finder.mask(np.full((40, 50, 3), value, np.uint8))
        assert mask.shape == (40, 50)
        assert np.isfinite(mask).all()


def test_the_same_picture_has_the_same_mask(finder: ForegroundFinder, scene: Pixels) -> None:
    assert np.array_equal(finder.mask(scene), ForegroundFinder().mask(scene))
