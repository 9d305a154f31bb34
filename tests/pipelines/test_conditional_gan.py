"""Class to image with the tiny GAN."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Folders, Load, Recorder, class_item, item, open_checkpoint, run
from tests.pipelines.tiny import gan
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Item


def test_makes_grey_pictures_as_rgb_at_the_native_size(load: Load) -> None:
    job = class_item(2, num_images=3, seed=9)
    pictures = run(load("gan"), job)
    assert [(picture.job_id, picture.index, picture.seed) for picture in pictures] == [
        (job.job_id, index, 9) for index in range(3)
    ]
    for picture in pictures:
        assert (picture.pixels.shape, picture.pixels.dtype) == ((16, 16, 3), np.uint8)
        assert picture.pixels.flags["C_CONTIGUOUS"]
        assert (picture.pixels == picture.pixels[..., :1]).all()
    assert len({picture.pixels.tobytes() for picture in pictures}) == 3


def test_labels_seeds_and_truncation_change_the_picture(load: Load) -> None:
    jobs = [class_item(), class_item(1), class_item(seed=2), class_item(truncation=0.3)]
    assert len({run(load("gan"), job)[0].pixels.tobytes() for job in jobs}) == 4


def test_lower_truncation_varies_less(load: Load) -> None:
    spread = [
        np.std(
            [picture.pixels for picture in run(load("gan"), class_item(num_images=16, truncation=at))], axis=0
        ).mean()
        for at in (0.1, 1.0)
    ]
    assert spread[0] < spread[1] / 3


def test_mixed_labels_in_one_batch_are_what_they_are_alone(load: Load) -> None:
    pipeline: Any = load("gan")
    jobs = [class_item(0, seed=1, num_images=2), class_item(1, seed=2, truncation=0.5, num_images=2), class_item(2)]
    calls: list[int] = []
    hook = pipeline._generator.register_forward_hook(lambda _net, _inputs, output: calls.append(len(output)))
    together = run(pipeline, *jobs)
    hook.remove()
    assert calls == [5]
    alone = [picture for job in jobs for picture in run(pipeline, job)]
    for left, right in zip(together, alone, strict=True):
        assert (left.job_id, left.index) == (right.job_id, right.index)
        assert np.abs(left.pixels.astype(int) - right.pixels).max() <= 1


def test_the_same_batch_gives_the_same_bytes(load: Load) -> None:
    jobs = [class_item(0), class_item(1)]
    first, second = (run(load("gan"), *jobs) for _ in range(2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))


def test_reports_its_one_step_and_skips_what_was_stopped(load: Load) -> None:
    jobs = [class_item(0), class_item(1)]
    context = Recorder(stopped_ids={jobs[0].job_id})
    pictures = run(load("gan"), *jobs, context=context)
    assert (context.steps, [picture.job_id for picture in pictures]) == ([(1, 1)], [jobs[1].job_id])
    with pytest.raises(StoppedError):
        run(load("gan"), jobs[0], context=context)


@pytest.mark.parametrize("label", [3, -1, "fish"])
def test_a_class_that_the_net_lacks_is_refused_by_item(load: Load, label: int | str) -> None:
    job = class_item(label)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="has no class") as caught:
        run(load("gan"), class_item(0), job)
    assert caught.value.extra["job_id"] == str(job.job_id)


def test_colour_generators_keep_their_colours(tmp_path: Path, cpu: Device) -> None:
    gan(tmp_path, channels=3)
    (picture,) = run(open_checkpoint("gan", tmp_path, cpu), class_item())
    assert (picture.pixels != picture.pixels[..., :1]).any()


def test_knows_its_memory(load: Load) -> None:
    net = load("gan")._generator
    floats = sum(p.numel() for p in net.parameters()) + sum(b.numel() for b in net.buffers() if b.is_floating_point())
    counters = sum(1 for b in net.buffers() if not b.is_floating_point())
    assert load("gan").memory_bytes == 4 * floats + 8 * counters


def test_a_profile_of_other_classes_is_refused(folders: Folders, cpu: Device) -> None:
    profile = CheckpointProfile(class_names=("cat", "dog"))
    with pytest.raises(CheckpointUnavailableError, match="class names"):
        load_family("conditional_gan").setup(CheckpointFiles("g", folders("gan"), "conditional_gan", profile, {}), cpu)


def test_a_folder_of_something_else_is_refused(folders: Folders, tmp_path: Path, cpu: Device) -> None:
    for folder in (folders("sd1"), tmp_path):
        with pytest.raises(CheckpointUnavailableError):
            open_checkpoint("gan", folder, cpu)


def test_items_of_text_to_image_never_reach_it() -> None:
    assert "text_to_image" not in load_family("conditional_gan").tasks
    assert isinstance(item(), Item)
