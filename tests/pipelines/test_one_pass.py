"""What every family promises whose net makes a picture in one pass: seeds, batches, truncation, stops, walks."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import gradient, job, open_family, save
from worker.devices import Device
from worker.pipelines.base import Item, Pipeline

DRAWN = {
    "biggan": "class_to_image",
    "conditional_gan": "class_to_image",
    "dcgan": "sample",
    "stylegan2": "sample",
    "vae": "sample",
}
SIDE = 16
Open = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Open:
    """Each family's small checkpoint, loaded once."""
    loaded: dict[str, Pipeline] = {}

    def pipeline(family: str) -> Pipeline:
        if family not in loaded:
            loaded[family] = open_family(family, save(family, tmp_path_factory.mktemp(family)), cpu)
        return loaded[family]

    return pipeline


@pytest.fixture(params=DRAWN)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def drawing(family: str, **params: Any) -> Item:
    """A job that draws with the family, of its first class where it has any."""
    label = {"class_label": 0} if DRAWN[family] == "class_to_image" else {}
    return job(DRAWN[family], family, **(label | params))


def walking(family: str, **params: Any) -> Item:
    label = {"class_label": 0} if DRAWN[family] == "class_to_image" else {}
    given = {"seeds": [3, 4], "frames": 5, "there_and_back": False, "animation_format": "webp"}
    return job("interpolate", family, **(given | label | params))


def frames_of(outputs: list[Any]) -> Any:
    """`(F, H, W, 3)` of one animation."""
    (file,) = outputs
    with Image.open(io.BytesIO(file.body)) as animation:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)])


def test_every_picture_has_its_place_its_seed_and_the_native_size(opened: Open, family: str) -> None:
    item = drawing(family, num_images=3, seed=9)
    pictures = run(opened(family), item)
    assert [(picture.job_id, picture.index, picture.seed) for picture in pictures] == [
        (item.job_id, index, 9) for index in range(3)
    ]
    for picture in pictures:
        assert (picture.pixels.shape, picture.pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)
        assert picture.pixels.flags["C_CONTIGUOUS"]
    assert len({picture.pixels.tobytes() for picture in pictures}) == 3


def test_the_same_batch_gives_the_same_bytes_and_company_changes_nothing_to_the_eye(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=1, num_images=2), drawing(family, seed=2, truncation=0.5, num_images=2)]
    first, second = (run(opened(family), *jobs) for _ in range(2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    alone = [picture for item in jobs for picture in run(opened(family), item)]
    for left, right in zip(first, alone, strict=True):
        assert (left.job_id, left.index) == (right.job_id, right.index)
        assert np.abs(left.pixels.astype(int) - right.pixels).max() <= 1


def test_a_batch_is_one_pass(opened: Open, family: str) -> None:
    pipeline: Any = opened(family)
    sizes: list[int] = []
    show = pipeline.shown
    pipeline.shown = lambda make: sizes.append(len(pixels := show(make))) or pixels
    try:
        run(pipeline, *(drawing(family, seed=seed, num_images=2) for seed in range(3)))
    finally:
        del pipeline.shown
    assert sizes == [6]


def test_lower_truncation_varies_less(opened: Open, family: str) -> None:
    spread = [
        np.std(
            [picture.pixels for picture in run(opened(family), drawing(family, num_images=8, truncation=at))], axis=0
        )
        for at in (0.1, 1.0)
    ]
    assert spread[0].mean() < spread[1].mean() * 0.8


def test_what_was_stopped_is_skipped_and_a_batch_of_nothing_else_stops(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=1), drawing(family, seed=2)]
    context = Recorder(stopped_ids={jobs[0].job_id})
    pictures = run(opened(family), *jobs, context=context)
    assert (context.steps, [picture.job_id for picture in pictures]) == ([(1, 1)], [jobs[1].job_id])
    with pytest.raises(StoppedError):
        run(opened(family), jobs[0], context=context)


def test_a_walk_begins_and_ends_at_the_pictures_of_its_seeds(opened: Open, family: str) -> None:
    item = walking(family)
    context = Recorder()
    frames = frames_of(run(opened(family), item, context=context))
    assert frames.shape == (5, SIDE, SIDE, 3)
    assert context.steps == [(5, 5)]
    start, end = (run(opened(family), drawing(family, seed=seed))[0].pixels for seed in (3, 4))
    assert np.abs(frames[0].astype(int) - start).max() <= 1
    if family != "stylegan2":  # whose noise inputs stay those of the first seed
        assert np.abs(frames[-1].astype(int) - end).max() <= 1
    steps = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (steps > 0).all()
    assert steps.max() < np.abs(frames[0].astype(int) - frames[-1]).mean() + 1


def test_walks_in_one_batch_are_what_they_are_alone_and_count_on(opened: Open, family: str) -> None:
    jobs = [walking(family), walking(family, seeds=[5, 6, 7])]
    context = Recorder()
    together = run(opened(family), *jobs, context=context)
    assert [file.job_id for file in together] == [item.job_id for item in jobs]
    assert context.steps == [(5, 10), (10, 10)]
    assert [file.body for file in together] == [run(opened(family), item)[0].body for item in jobs]


def test_there_and_back_plays_the_frames_again(opened: Open, family: str) -> None:
    frames = frames_of(run(opened(family), walking(family, there_and_back=True)))
    assert len(frames) == 8
    assert np.array_equal(frames[5:], frames[3:0:-1])


def test_a_stop_in_the_middle_of_a_walk_ends_it(tmp_path: Path, cpu: Device, family: str) -> None:
    pipeline = open_family(family, save(family, tmp_path), cpu)
    while pipeline._most_rows > 1:
        assert pipeline.slim()
    assert not pipeline.slim()
    item = walking(family)
    context = Recorder()
    context.at_step = lambda done: context.stopped_ids.add(item.job_id) if done == 2 else None
    with pytest.raises(StoppedError):
        run(pipeline, item, context=context)
    assert context.steps == [(1, 5), (2, 5)]


def test_slimmer_passes_make_the_same_pictures(tmp_path: Path, opened: Open, cpu: Device, family: str) -> None:
    pipeline = open_family(family, save(family, tmp_path), cpu)
    pipeline._most_rows = 4
    assert pipeline.slim()
    context = Recorder()
    item = drawing(family, num_images=3)
    slim = run(pipeline, item, context=context)
    assert context.steps == [(1, 2), (2, 2)]
    for left, right in zip(slim, run(opened(family), item), strict=True):
        assert np.abs(left.pixels.astype(int) - right.pixels).max() <= 1


def test_knows_its_memory(opened: Open, family: str) -> None:
    pipeline: Any = opened(family)
    assert pipeline.memory_bytes == sum(tensor.nbytes for tensor in pipeline._module.state_dict().values())


def test_a_folder_of_another_family_is_refused(tmp_path: Path, cpu: Device, family: str) -> None:
    other = "dcgan" if family != "dcgan" else "vae"
    for folder in (save(other, tmp_path / "other"), tmp_path):
        with pytest.raises(CheckpointUnavailableError):
            open_family(family, folder, cpu)


@pytest.mark.parametrize("blind", ["biggan", "conditional_gan", "dcgan", "stylegan2"])
def test_pictures_are_refused_by_families_that_cannot_read_them(opened: Open, blind: str) -> None:
    pictures = {"images/0": gradient(), "images/1": gradient()}
    item = walking(blind, seeds=[], pictures=pictures)
    with pytest.raises(InvalidInputError, match="cannot read pictures") as caught:
        run(opened(blind), item)
    assert caught.value.extra == {"job_id": str(item.job_id), "field": "/params/images"}
