"""CycleGAN: pictures of any size into another domain, and the packaged vintage look."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import cyclegan, gradient, job, open_family, save
from worker.devices import Device
from worker.packaged.files import VINTAGE
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Item, Pipeline


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return open_family("cyclegan", save("cyclegan", tmp_path_factory.mktemp("net")), cpu)


def translating(height: int, width: int, **params: Any) -> Item:
    return job("translate", "cyclegan", {"image": gradient(height, width)}, **params)


@pytest.mark.parametrize(
    ("given", "size", "made"),
    [((64, 64), 64, (64, 64)), ((50, 90), 45, (24, 44)), ((300, 20), 160, (160, 12)), ((8, 8), 64, (64, 64))],
)
def test_the_longer_side_is_as_asked_for_and_both_fit_the_net(
    pipeline: Pipeline, given: tuple[int, int], size: int, made: tuple[int, int]
) -> None:
    (picture,) = run(pipeline, translating(*given, size=size))
    assert (picture.pixels.shape, picture.pixels.dtype) == ((*made, 3), np.dtype(np.uint8))
    assert picture.pixels.flags["C_CONTIGUOUS"]


def test_the_size_is_what_the_net_was_trained_at_where_none_is_asked_for(pipeline: Pipeline) -> None:
    assert run(pipeline, translating(64, 128))[0].pixels.shape == (16, 32, 3)


def test_a_long_thin_picture_keeps_a_side_that_the_net_takes(pipeline: Pipeline) -> None:
    assert run(pipeline, translating(4, 400, size=64))[0].pixels.shape == (8, 64, 3)


def test_pictures_of_one_size_pass_together_and_are_what_they_are_alone(pipeline: Pipeline) -> None:
    jobs = [translating(40, 40), translating(20, 40), translating(80, 80)]
    net: Any = pipeline
    passes: list[tuple[int, ...]] = []
    hook = net._net.register_forward_hook(lambda _net, given, _made: passes.append(tuple(given[0].shape)))
    context = Recorder()
    together = run(pipeline, *jobs, context=context)
    hook.remove()
    assert passes == [(2, 3, 32, 32), (1, 3, 16, 32)]
    assert context.steps == [(2, 3), (3, 3)]
    made = {picture.job_id: picture for picture in together}
    for item in jobs:
        alone = run(pipeline, item)[0].pixels
        assert np.abs(made[item.job_id].pixels.astype(int) - alone).max() <= 1
    assert [p.pixels.tobytes() for p in together] == [p.pixels.tobytes() for p in run(pipeline, *jobs)]


def test_slim_takes_fewer_at_once(tmp_path: Path, pipeline: Pipeline, cpu: Device) -> None:
    slim: Any = open_family("cyclegan", save("cyclegan", tmp_path), cpu)
    while slim.slim():
        pass
    context = Recorder()
    jobs = [translating(32, 32), translating(32, 32)]
    made = run(slim, *jobs, context=context)
    assert context.steps == [(1, 2), (2, 2)]
    for left, right in zip(made, run(pipeline, *jobs), strict=True):
        assert np.abs(left.pixels.astype(int) - right.pixels).max() <= 1


def test_what_was_stopped_is_skipped(pipeline: Pipeline) -> None:
    jobs = [translating(32, 32), translating(32, 32)]
    context = Recorder(stopped_ids={jobs[0].job_id})
    assert [picture.job_id for picture in run(pipeline, *jobs, context=context)] == [jobs[1].job_id]
    with pytest.raises(StoppedError):
        run(pipeline, jobs[0], context=context)


def test_grey_nets_see_grey(tmp_path: Path, cpu: Device) -> None:
    cyclegan(tmp_path, channels=1)
    (picture,) = run(open_family("cyclegan", tmp_path, cpu), translating(32, 32))
    assert (picture.pixels == picture.pixels[..., :1]).all()


def test_bytes_that_are_no_picture_are_told_of_their_field(pipeline: Pipeline) -> None:
    bad = translating(32, 32)
    object.__setattr__(bad, "inputs", {"image": Blob(b"no picture", "image/png")})
    with pytest.raises(InvalidInputError) as caught:
        run(pipeline, translating(32, 32), bad)
    assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/image"}


def test_a_folder_of_something_else_is_refused(tmp_path: Path, cpu: Device) -> None:
    for folder in (save("dcgan", tmp_path / "dcgan"), tmp_path):
        with pytest.raises(CheckpointUnavailableError):
            open_family("cyclegan", folder, cpu)


def test_the_package_makes_pictures_vintage(cpu: Device, tmp_path: Path) -> None:
    profile = CheckpointProfile(default_width=128, default_height=128, reads_prompt=False)
    files = CheckpointFiles("vintage", tmp_path, "cyclegan", profile, {"files": [VINTAGE.path]})
    given = gradient(120, 128)
    (picture,) = run(load_family("cyclegan").setup(files, cpu), job("translate", "", {"image": given}, size=128))
    assert picture.pixels.shape == (120, 128, 3)
    # It keeps what is where, and takes the colours back.
    same_place = np.corrcoef(given.mean(axis=2).ravel(), picture.pixels.mean(axis=2).ravel())[0, 1]
    assert same_place > 0.5
    assert np.ptp(picture.pixels, axis=2).mean() < np.ptp(given, axis=2).mean()
