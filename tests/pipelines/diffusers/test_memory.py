"""Shortage: mapped to one error that holds nothing back, and a ladder of ways to need less."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import OutOfMemoryError, PipelineFailedError, StoppedError
from tests.pipelines.conftest import Folders, Load, Recorder, item, open_checkpoint, run
from worker.devices import Device
from worker.pipelines.failures import guarded

SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of …"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    MemoryError(),
]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_a_shortage_is_one_of_ours_and_keeps_no_tensor_alive(shortage: Exception) -> None:
    kept: list[Any] = []

    def work() -> None:
        tensor = torch.zeros(8)
        kept.append(weakref.ref(tensor))
        raise type(shortage)(*shortage.args)

    with pytest.raises(OutOfMemoryError) as caught:
        guarded(work)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "\n" not in caught.value.detail
    gc.collect()
    assert kept[0]() is None


def test_other_errors_are_the_pipelines_and_ours_pass() -> None:
    with pytest.raises(PipelineFailedError, match="KeyError: 'x'") as caught:
        guarded(lambda: {}["x"])
    assert isinstance(caught.value.__cause__, KeyError)
    stopped = StoppedError("stop")

    def stop() -> None:
        raise stopped

    with pytest.raises(StoppedError) as passed:
        guarded(stop)
    assert passed.value is stopped


def test_a_shortage_inside_a_step_comes_out_as_ours(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load("sd1")

    def full(*_args: Any, **_settings: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._pipe.unet, "forward", full)
        with pytest.raises(OutOfMemoryError):
            run(pipeline, item())
    assert run(pipeline, item())


def test_pictures_of_nan_are_not_published_as_black(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load("sd1")
    decode = pipeline._pipe.vae.decode
    monkeypatch.setattr(
        pipeline._pipe.vae, "decode", lambda *args, **kwargs: (decode(*args, **kwargs)[0] * float("nan"),)
    )
    with pytest.raises(PipelineFailedError, match="NaN"):
        run(pipeline, item())


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_each_step_of_the_ladder_gives_the_same_pictures(folders: Folders, cpu: Device, family: str) -> None:
    pipeline = open_checkpoint(family, folders(family), cpu)
    jobs = [item(seed=1, num_images=2), item("a dog", seed=2, num_images=2)]
    before = run(pipeline, *jobs)
    rungs = 0
    while pipeline.slim():
        rungs += 1
        after = run(pipeline, *jobs)
        assert [(p.job_id, p.index) for p in after] == [(p.job_id, p.index) for p in before]
        assert all(np.abs(a.pixels.astype(int) - b.pixels).max() <= 2 for a, b in zip(after, before, strict=True))
    assert rungs == (5 if family in {"sd1", "sdxl"} else 4)  # 2 rows, 1 row, slices, tiles, and a UNet's attention
    assert not pipeline.slim()


def test_fewer_pictures_at_a_time_are_counted_in_pixels(folders: Folders, cpu: Device) -> None:
    pipeline: Any = open_checkpoint("sd1", folders("sd1"), cpu)
    run(pipeline, item(num_images=4, width=64, height=64))
    assert pipeline.slim()
    sizes: list[int] = []
    pipeline._pipe.unet.register_forward_hook(lambda _net, _inputs, output: sizes.append(len(output[0]) // 2))
    context = Recorder()
    run(pipeline, item(num_images=4, width=64, height=64), context=context)
    assert set(sizes) == {2}
    assert context.steps == [(done, 6) for done in range(1, 7)]
    sizes.clear()
    run(pipeline, item(num_images=8, width=32, height=32))
    assert set(sizes) == {8}


def test_memory_is_that_of_the_parameters_and_buffers(load: Load) -> None:
    pipe = load("sd1")._pipe
    tensors = [t for net in (pipe.unet, pipe.vae, pipe.text_encoder) for t in (*net.parameters(), *net.buffers())]
    assert load("sd1").memory_bytes == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
