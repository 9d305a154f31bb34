"""Sizes: made exactly, or refused before the run; never rounded in silence."""

import pytest

from models.errors import InvalidInputError
from tests.pipelines.conftest import Load, item, run


@pytest.mark.parametrize(
    ("family", "width", "height"),
    [("sd1", 8, 8), ("sd1", 104, 8), ("sd2", 24, 72), ("sdxl", 8, 40), ("sd3", 2, 64), ("flux", 4, 60)],
)
def test_odd_sizes_come_out_exactly(load: Load, family: str, width: int, height: int) -> None:
    job = item().params.model_copy(update={"width": width, "height": height})
    (picture,) = run(load(family), item().__class__(item().job_id, "text_to_image", job))
    assert picture.pixels.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("family", "width", "message"),
    [
        ("sd1", 20, "multiples of 8"),
        ("sdxl", 36, "multiples of 8"),
        ("flux", 34, "multiples of 4"),
        ("sd3", 33, "multiples of 2"),
        ("sd3", 66, "at most 64"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused(load: Load, family: str, width: int, message: str) -> None:
    job = item(width=width)
    with pytest.raises(InvalidInputError, match=message) as caught:
        run(load(family), job)
    assert caught.value.extra == {"job_id": str(job.job_id), "field": "/params/width"}
