"""Upscaling without words: Swin2SR folders by transformers, Real-ESRGAN from its package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import gradient, job, open_family, save, swin2sr
from worker.devices import Device
from worker.packaged.real_esrgan import FILES, Net
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Determinism, Item, Pipeline
from worker.quality.psnr import psnr


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return open_family("swin2sr", save("swin2sr", tmp_path_factory.mktemp("net")), cpu)


def esrgan(net: Net, device: Device, paths: list[str] | None = None) -> Pipeline:
    profile = CheckpointProfile(scales=(2, 3, 4), reads_prompt=False)
    paths = [file.path for file in FILES[net]] if paths is None else paths
    return load_family("real_esrgan").setup(
        CheckpointFiles("e", Path(), "real_esrgan", profile, {"files": paths}), device
    )


@pytest.fixture(scope="module")
def fast(cpu: Device) -> Pipeline:
    return esrgan(Net.FAST, cpu)


def enlarging(height: int, width: int, scale: int = 2) -> Item:
    item = job("upscale", "swin2sr", {"image": gradient(height, width)})
    object.__setattr__(item, "params", item.params.model_copy(update={"scale": scale}))
    return item


def test_swin2sr_makes_what_transformers_makes(swin: Pipeline) -> None:
    from transformers import Swin2SRForImageSuperResolution

    pixels = gradient(16, 24)  # whole windows: nothing is filled up
    net: Swin2SRForImageSuperResolution = swin._net  # type: ignore[attr-defined]
    with torch.inference_mode():
        given = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        made = net(pixel_values=given).reconstruction[0].clamp(0, 1).permute(1, 2, 0).numpy()
    (picture,) = run(swin, enlarging(16, 24))
    assert picture.pixels.shape == (32, 48, 3)
    assert np.abs(picture.pixels.astype(int) - (made * 255).round()).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 9), (8, 8), (21, 38)])
def test_swin2sr_takes_any_size(swin: Pipeline, height: int, width: int) -> None:
    assert run(swin, enlarging(height, width))[0].pixels.shape == (2 * height, 2 * width, 3)


def test_a_larger_net_is_shrunk_to_the_scale_that_is_asked_for(tmp_path: Path, cpu: Device) -> None:
    swin2sr(tmp_path, scale=4)
    pipeline = open_family("swin2sr", tmp_path, cpu, scales=(2, 4))
    assert run(pipeline, enlarging(8, 8, 2))[0].pixels.shape == (16, 16, 3)
    assert run(pipeline, enlarging(8, 8, 4))[0].pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(("scale", "made"), [(2, (40, 60)), (3, (60, 90)), (4, (80, 120))])
def test_real_esrgan_scales(fast: Pipeline, scale: int, made: tuple[int, int]) -> None:
    (picture,) = run(fast, enlarging(20, 30, scale))
    assert (picture.pixels.shape, picture.pixels.dtype) == ((*made, 3), np.dtype(np.uint8))
    assert picture.pixels.flags["C_CONTIGUOUS"]


def test_company_changes_no_byte(fast: Pipeline, swin: Pipeline) -> None:
    for pipeline in (fast, swin):
        assert pipeline.determinism is Determinism.EXACT
        jobs = [enlarging(10, 12), enlarging(10, 12), enlarging(5, 30)]
        together = run(pipeline, *jobs)
        assert [p.pixels.tobytes() for p in together] == [run(pipeline, item)[0].pixels.tobytes() for item in jobs]


def test_the_number_of_threads_changes_no_byte(fast: Pipeline, cpu: Device) -> None:
    torch.set_num_threads(2)
    try:
        threaded = esrgan(Net.FAST, cpu)
    finally:
        torch.set_num_threads(1)
    pictures = [run(pipeline, enlarging(40, 50, 4))[0].pixels for pipeline in (fast, threaded)]
    assert np.array_equal(*pictures)


def test_tiles_are_steps_over_all_pictures_and_show_no_seam(cpu: Device) -> None:
    pipeline: Any = esrgan(Net.FAST, cpu)
    whole = run(pipeline, enlarging(60, 100, 4))[0].pixels
    while pipeline._tile > 64:
        assert pipeline.slim()
    context = Recorder()
    tiled, _ = run(pipeline, enlarging(60, 100, 4), enlarging(10, 10), context=context)
    assert context.steps == [(1, 3), (2, 3), (3, 3)]
    assert psnr(tiled.pixels, whole) > 55
    assert pipeline.slim()
    assert not pipeline.slim()


def test_a_stop_between_tiles_ends_that_picture_alone(cpu: Device) -> None:
    pipeline: Any = esrgan(Net.FAST, cpu)
    pipeline._tile = 64
    jobs = [enlarging(20, 150), enlarging(20, 20)]
    context = Recorder()
    context.at_step = lambda done: context.stopped_ids.add(jobs[0].job_id) if done == 1 else None
    assert [picture.job_id for picture in run(pipeline, *jobs, context=context)] == [jobs[1].job_id]
    assert context.steps == [(1, 4), (4, 4)]
    context = Recorder()
    context.at_step = lambda _: context.stopped_ids.update(item.job_id for item in jobs)
    with pytest.raises(StoppedError):
        run(pipeline, *jobs, context=context)
    assert context.steps == [(1, 4)]


def test_a_picture_that_is_too_large_is_told_of_its_field(swin: Pipeline) -> None:
    good, bad = enlarging(40, 40), enlarging(40, 41)
    assert run(swin, good)
    with pytest.raises(InvalidInputError, match="41 × 40 pixels are more than the 1600") as caught:
        run(swin, good, bad)
    assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/image"}


def test_the_torch_nets_stand_in_where_there_is_an_accelerator(fast: Pipeline) -> None:
    pipeline: Any = esrgan(Net.FAST, _Pretended(torch.device("cpu"), torch.float32, "pretended", 1 << 33))
    assert type(pipeline._enlarge).__name__ == "TorchEnlarger"
    left, right = (run(each, enlarging(20, 30, 4))[0].pixels for each in (pipeline, fast))
    assert np.abs(left.astype(int) - right).max() <= 1


@pytest.mark.parametrize("net", list(Net))
def test_knows_about_what_its_weights_take(cpu: Device, net: Net) -> None:
    from worker.nets.real_esrgan import RRDBNet, SRVGGNetCompact
    from worker.packaged.files import locate

    param, weights = (locate(file) for file in FILES[net])
    made = (SRVGGNetCompact if net is Net.FAST else RRDBNet).from_ncnn(param, weights)
    held = sum(parameter.nbytes for parameter in made.parameters())
    assert abs(esrgan(net, cpu).memory_bytes / held - 1) < 0.01


def test_files_of_no_net_are_refused(cpu: Device) -> None:
    with pytest.raises(CheckpointUnavailableError, match="not those of one"):
        esrgan(Net.FAST, cpu, [])


def test_swin2sr_folders_that_are_not_whole_are_refused(tmp_path: Path, cpu: Device) -> None:
    save("swin2sr", tmp_path / "net")
    with pytest.raises(CheckpointUnavailableError, match="enlarges 2 times, not more"):
        open_family("swin2sr", tmp_path / "net", cpu, scales=(4,))
    weights = tmp_path / "net" / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop(next(name for name in tensors if name.endswith("conv_after_body.weight")))
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointUnavailableError, match=r"no weights for swin2sr\.conv_after_body\.weight"):
        open_family("swin2sr", tmp_path / "net", cpu)
    (tmp_path / "net" / "config.json").write_text(json.dumps({"model_type": "swin2sr", "num_channels": 1}))
    with pytest.raises(CheckpointUnavailableError):
        open_family("swin2sr", tmp_path / "net", cpu)


class _Pretended(Device):
    """Says that it is no CPU, and computes on one."""

    kind = "pretended"
