"""LoRAs: laid over the nets for one batch, taken off behind it, refused where they do not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Folders, Load, item, run
from tests.pipelines.diffusers.led import Shelf, WithLibrary, led, picture
from worker.pipelines.base import CheckpointFiles, Item

pytest.importorskip("peft")
Saved = Callable[..., CheckpointFiles]


@pytest.fixture
def saved(folders: Folders, tmp_path: Path) -> Saved:
    """A random LoRA for the folder of that name, as training saves one; `words` adapts the text encoder too."""

    def save(base: str, name: str = "style", *, rank: int = 2, words: bool = False) -> CheckpointFiles:
        from diffusers import DiffusionPipeline
        from peft import LoraConfig, get_peft_model_state_dict

        pipe = DiffusionPipeline.from_pretrained(folders(base), local_files_only=True)
        generator = torch.Generator().manual_seed(len(name))
        parts = {"text_encoder": ["q_proj", "v_proj"]} if words else {}
        denoiser = "transformer" if base in {"sd3", "flux"} else "unet"
        layers = {}
        for part, targets in ({denoiser: ["to_q", "to_v"]} | parts).items():
            net = getattr(pipe, part)
            net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
            found = get_peft_model_state_dict(net)
            layers[f"{part}_lora_layers"] = {
                key: torch.randn(value.shape, generator=generator) for key, value in found.items()
            }
        folder = tmp_path / f"{base}-{name}"
        type(pipe).save_lora_weights(folder, **layers)
        return CheckpointFiles(name, folder, "lora", CheckpointProfile(), {})

    return save


def with_loras(*files: CheckpointFiles) -> WithLibrary:
    return WithLibrary(library=Shelf(folders={one.name: one for one in files}))


def job(*loras: tuple[str, float], **params: Any) -> Item:
    return item(loras=[{"name": name, "scale": scale} for name, scale in loras], **params)


@pytest.mark.parametrize("base", ["sd1", "sdxl", "sd3", "flux"])
def test_a_lora_changes_the_picture_and_is_gone_afterwards(load: Load, saved: Saved, base: str) -> None:
    pipeline: Any = load(base)
    context = with_loras(saved(base))
    plain = run(pipeline, item())[0].pixels
    weights = pipeline.memory_bytes
    first, second = (run(pipeline, job(("style", 1.0)), context=context)[0].pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, plain)
    assert np.array_equal(run(pipeline, item())[0].pixels, plain)
    assert pipeline.memory_bytes == weights


def test_gives_the_bytes_of_the_plain_diffusers_call(load: Load, saved: Saved) -> None:
    from worker.pipelines.base import generator_for

    files = saved("sd1", words=True)
    pipeline: Any = load("sd1")
    made = run(pipeline, job(("style", 0.5)), context=with_loras(files))[0].pixels
    pipe = pipeline._pipe
    pipe.load_lora_weights(files.folder, adapter_name="style")
    pipe.set_adapters(["style"], [0.5])
    try:
        with torch.inference_mode():
            plain = pipe(
                prompt="a cat",
                width=32,
                height=32,
                num_inference_steps=3,
                guidance_scale=4.0,
                generator=[generator_for(1, 0)],
                output_type="np",
            ).images[0]
    finally:
        pipe.unload_lora_weights()
    assert np.array_equal(made, (plain * 255).round().astype("uint8"))


def test_scales_and_a_second_lora_count(load: Load, saved: Saved) -> None:
    context = with_loras(saved("sd1", "one"), saved("sd1", "another"))
    asked = [(("one", 1.0),), (("one", 0.3),), (("one", 1.0), ("another", 1.0)), (("another", 1.0),), (("one", 0.0),)]
    shown = [run(load("sd1"), job(*loras), context=context)[0].pixels for loras in asked]
    assert len({pixels.tobytes() for pixels in shown}) == 5
    assert np.array_equal(shown[4], run(load("sd1"), item())[0].pixels)  # at scale 0 it is not there


def test_other_tasks_take_loras_on_the_same_nets(load: Load, saved: Saved) -> None:
    context = with_loras(saved("sd1"))
    plain, styled = (
        led("image_to_image", {"image": picture()}, prompt="a cat", loras=loras) for loras in ([], [{"name": "style"}])
    )
    assert not np.array_equal(run(load("sd1"), styled, context=context)[0].pixels, run(load("sd1"), plain)[0].pixels)


@pytest.mark.parametrize("base", ["sdxl", "sd3"])
def test_a_lora_of_another_base_is_refused_and_leaves_nothing_behind(load: Load, saved: Saved, base: str) -> None:
    plain = run(load("sd1"), item())[0].pixels
    context = with_loras(saved("sd1", "fits"), saved(base, "other"))
    one = job(("fits", 1.0), ("other", 1.0))
    with pytest.raises(InvalidInputError, match="'other' does not fit this checkpoint") as caught:
        run(load("sd1"), one, context=context)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/loras/1"}
    assert np.array_equal(run(load("sd1"), item())[0].pixels, plain)


def test_a_lora_with_a_matrix_too_many_is_refused(load: Load, saved: Saved) -> None:
    from safetensors.torch import load_file, save_file

    files = saved("sd1")
    (weights,) = files.folder.glob("*.safetensors")
    tensors = load_file(weights)
    key = next(name for name in tensors if "lora_A" in name)
    extra = {
        name.replace("down_blocks", "far_blocks").replace("mid_block", "far_block"): tensors[name].clone()
        for name in (key, key.replace("lora_A", "lora_B"))
    }
    save_file(tensors | extra, weights)
    with pytest.raises(InvalidInputError, match="does not fit this checkpoint"):
        run(load("sd1"), job(("style", 1.0)), context=with_loras(files))


def test_a_stop_takes_the_lora_off(load: Load, saved: Saved) -> None:
    plain = run(load("sd1"), item())[0].pixels
    one, context = job(("style", 1.0)), with_loras(saved("sd1"))
    context.at_step = lambda _: context.stopped_ids.add(one.job_id)
    with pytest.raises(StoppedError):
        run(load("sd1"), one, context=context)
    assert np.array_equal(run(load("sd1"), item())[0].pixels, plain)


def test_without_peft_the_extra_to_install_is_named(load: Load, monkeypatch: pytest.MonkeyPatch, saved: Saved) -> None:
    context = with_loras(saved("sd1"))
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(CheckpointUnavailableError, match=r"safelight\[models\]"):
        run(load("sd1"), job(("style", 1.0)), context=context)
