"""Charts of figures over steps: a panel each, the line where the values are, and gaps where there are none."""

import numpy as np
import pytest

from worker.media.curves import FAINT, LINE, PANEL_PIXELS, curves, moving_mean


def rows_of(chart: np.ndarray, colour: tuple[int, int, int], columns: slice) -> float:
    """The mean height at which a colour is drawn in some columns, from the top; NaN where it is not."""
    found = np.nonzero((chart[:, columns] == colour).all(axis=2))[0]
    return float(found.mean()) if len(found) else float("nan")


def test_a_falling_figure_falls_in_its_panel() -> None:
    steps = list(range(1, 101))
    chart = curves(steps, {"loss": [1 / step for step in steps], "flat": [2.0] * 100})
    assert chart.shape == (2 * PANEL_PIXELS, 720, 3)
    assert chart.dtype == np.uint8
    first, last = slice(80, 120), slice(640, 700)
    assert rows_of(chart[:PANEL_PIXELS], LINE, first) < rows_of(chart[:PANEL_PIXELS], LINE, last) - 30
    assert rows_of(chart[PANEL_PIXELS:], LINE, first) == rows_of(chart[PANEL_PIXELS:], LINE, last)


def test_what_is_no_number_is_left_out() -> None:
    values = [1.0, float("nan"), float("inf"), 2.0]
    assert np.array_equal(curves([1, 2, 3, 4], {"x": values})[:25], curves([1, 4], {"x": [1.0, 2.0]})[:25])
    nothing = curves([1, 2], {"x": [float("nan")] * 2})
    assert np.isnan(rows_of(nothing, LINE, slice(0, 720)))


def test_one_point_is_a_chart() -> None:
    assert curves([5], {"x": [1.0]}).shape == (PANEL_PIXELS, 720, 3)


def test_the_mean_moves() -> None:
    assert moving_mean(np.array([0.0, 3.0, 6.0]), 3).tolist() == [1.5, 3.0, 4.5]
    raw, steps = [1.0, 0.0] * 50, list(range(100))
    chart = curves(steps, {"x": raw})
    assert not np.isnan(rows_of(chart, FAINT, slice(100, 600)))


def test_figures_need_a_value_for_each_step() -> None:
    for steps, figures in (([], {"x": []}), ([1], {}), ([1, 2], {"x": [1.0]})):
        with pytest.raises(ValueError, match="figures"):
            curves(steps, figures)
