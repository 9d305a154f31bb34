"""Contact sheets: every picture is on them, in order, with its caption."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.media.sheets import MARGIN_PIXELS, contact_sheet, tile

Picture = NDArray[np.uint8]


def flat(width: int, height: int, colour: tuple[int, int, int]) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


@given(st.integers(1, 9), st.integers(1, 4))
def test_a_tile_is_row_by_row_and_filled_with_white(count: int, columns: int) -> None:
    pictures = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(3, 2).repeat(3, 3)
    cells = tile(pictures, columns)[::2, ::3, 0].ravel()
    assert list(cells[:count]) == list(range(count))
    assert (cells[count:] == 255).all()
    assert len(cells) - count < columns


def test_small_pictures_are_enlarged_by_whole_factors_and_large_ones_shrunk() -> None:
    """Given pictures of three sizes, then each fills its cell as far as it can, and small ones keep their pixels."""
    small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    sheet = contact_sheet([small, flat(30, 15, (9, 99, 9)), flat(500, 100, (9, 9, 99))], columns=3, cell_pixels=50)
    assert sheet.shape == (50 + 2 * MARGIN_PIXELS, 3 * 50 + 4 * MARGIN_PIXELS, 3)
    cells = [sheet[8:58, 8 + 58 * number : 58 + 58 * number] for number in range(3)]
    assert np.array_equal(cells[0][::25, ::25], small)
    assert (cells[1] == (9, 99, 9)).all(axis=2).sum() == 30 * 15
    assert (cells[2] == (9, 9, 99)).all(axis=2).sum() == 50 * 10


def ink(sheet: Picture, cell_height: int) -> NDArray[np.intp]:
    """Columns in which something is written below the first row of pictures."""
    below = sheet[MARGIN_PIXELS + cell_height : -MARGIN_PIXELS]
    return np.flatnonzero((below < 200).any(axis=(0, 2)))


def test_captions_stand_below_their_pictures() -> None:
    pictures = [flat(40, 40, (200, 200, 250))] * 2
    bare, written = contact_sheet(pictures, cell_pixels=80), contact_sheet(pictures, ["", "hello"], cell_pixels=80)
    assert written.shape[0] > bare.shape[0]
    found = ink(written, 80)
    assert found.min() > MARGIN_PIXELS + 80
    assert np.median(found) == pytest.approx(2 * MARGIN_PIXELS + 120, abs=6)


@pytest.mark.parametrize("text", ["word " * 50, "w" * 300, "two\nlines " * 20, "一只坐在草地上的橘猫" * 5])
def test_a_long_caption_stays_within_its_cell(text: str) -> None:
    sheet = contact_sheet([flat(40, 40, (0, 0, 0))] * 3, ["", text, ""], cell_pixels=80)
    found = ink(sheet, 80)
    assert 2 * MARGIN_PIXELS + 80 - 2 <= found.min() < found.max() <= 2 * MARGIN_PIXELS + 160 + 2
    assert np.ptp(found) > 50


def test_a_sheet_is_the_same_each_time() -> None:
    picture = flat(9, 9, (1, 2, 3))
    assert np.array_equal(contact_sheet([picture], ["a"]), contact_sheet([picture], ["a"]))


def test_no_picture_or_too_few_captions_is_refused() -> None:
    for pictures, captions in (([], []), ([flat(2, 2, (0, 0, 0))] * 2, ["one"])):
        with pytest.raises(ValueError, match="captions"):
            contact_sheet(pictures, captions)
