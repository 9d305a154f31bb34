"""Grading: intervals, what is graded, and KID."""

import numpy as np
import pytest
import torch

from worker.training.composites import is_held_out
from worker.training.evaluate import EvaluationSettings, chosen, prompts_for, summary, wilson
from worker.training.evaluate_gan import kid


def test_wilson_holds_the_share_and_stays_within_bounds() -> None:
    low, high = wilson(95, 100)
    assert low == pytest.approx(0.8882, abs=1e-3)
    assert high == pytest.approx(0.9785, abs=1e-3)
    assert wilson(100, 100)[1] <= 1 + 1e-9


def test_only_held_out_combinations_are_graded() -> None:
    items = chosen(EvaluationSettings(count=500))
    assert len(set(items)) == 500
    assert all(map(is_held_out, items))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prompts_repeat(language: str) -> None:
    items = chosen(EvaluationSettings(count=20))
    assert prompts_for(items, language, seed=1) == prompts_for(items, language, seed=1)


def test_summary_counts_each_axis_and_all() -> None:
    right = np.array([[True, True, True], [True, False, True]])
    report = summary(right)
    assert report["background"]["share"] == 1
    assert report["style"]["share"] == 0.5
    assert report["all three"]["count"] == 2


def test_kid_is_near_zero_for_one_distribution_and_large_for_two() -> None:
    stream = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 400, 16, generator=stream)
    assert abs(kid(first, second)) < 0.02
    assert kid(first, second + 1) > 0.5
