"""Every family of diffusers folders: loads, makes pictures of the asked size, and the same ones again."""

import numpy as np
import pytest

from tests.pipelines.conftest import Load, item, run

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "sd3_without_t5", "flux", "flux_distilled")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_makes_pictures_of_the_asked_size(load: Load, family: str) -> None:
    job = item(width=48, height=32)
    (picture,) = run(load(family), job)
    assert picture.pixels.shape == (32, 48, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags["C_CONTIGUOUS"]
    assert (picture.job_id, picture.index, picture.seed) == (job.job_id, 0, 1)
    assert picture.pixels.std() > 1
