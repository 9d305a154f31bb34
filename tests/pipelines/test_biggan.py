"""BigGAN: ours and folders in the public layout."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import CheckpointUnavailableError, InvalidInputError
from tests.pipelines.conftest import run
from tests.pipelines.small import NAMES, biggan, job, open_family, save
from worker.devices import Device


def test_classes_by_name_and_number_are_the_same_class(tmp_path: Path, cpu: Device) -> None:
    pipeline = open_family("biggan", save("biggan", tmp_path), cpu)
    jobs = [job("class_to_image", "biggan", class_label=label) for label in ("dog", 1, "cat")]
    by_name, by_number, other = (picture.pixels for picture in run(pipeline, *jobs))
    assert np.array_equal(by_name, by_number)
    assert not np.array_equal(by_name, other)


def test_a_public_folder_names_no_class_and_the_profile_does(tmp_path: Path, cpu: Device) -> None:
    biggan(tmp_path, named=False)
    for names in (NAMES, ()):
        pipeline = open_family("biggan", tmp_path, cpu, class_names=names)
        assert len(run(pipeline, job("class_to_image", "biggan", class_label=2))) == 1


def test_a_class_that_the_net_lacks_is_refused_by_item(tmp_path: Path, cpu: Device) -> None:
    pipeline = open_family("biggan", save("biggan", tmp_path), cpu)
    bad = job("class_to_image", "biggan", class_label=0)
    object.__setattr__(bad, "params", bad.params.model_copy(update={"class_label": 3}))
    with pytest.raises(InvalidInputError, match="has no class 3") as caught:
        run(pipeline, job("class_to_image", "biggan", class_label=0), bad)
    assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/class_label"}


def test_a_profile_of_other_classes_is_refused(tmp_path: Path, cpu: Device) -> None:
    with pytest.raises(CheckpointUnavailableError, match="class names"):
        open_family("biggan", save("biggan", tmp_path), cpu, class_names=("cat", "dog"))
