"""What may be loaded: named families, whole diffusers folders, safetensors, no code of the folder's own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import CheckpointUnavailableError, OutOfMemoryError
from tests.pipelines.conftest import Folders, item, open_checkpoint, run
from worker.devices import Device
from worker.pipelines import FAMILIES, load_family
from worker.pipelines.base import Pipeline


@pytest.fixture
def copied(folders: Folders, tmp_path: Path) -> Path:
    """An SD 1.x folder to spoil."""
    return Path(shutil.copytree(folders("sd1"), tmp_path / "copy"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_there_and_goes_by_its_name(name: str) -> None:
    family = load_family(name)
    assert issubclass(family, Pipeline)
    assert (family.family, bool(family.tasks)) == (name, True)


def test_an_unknown_family_names_the_known() -> None:
    with pytest.raises(CheckpointUnavailableError, match=f"'vqgan'.*: {', '.join(sorted(FAMILIES))}\\."):
        load_family("vqgan")


def test_naming_the_families_imports_no_torch() -> None:
    code = "import sys, worker.pipelines, worker.pipelines.base; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_that_torchvision_is_absent_is_told_to_nobody() -> None:
    code = (
        "from worker.pipelines import load_family; load_family('tools'); import transformers as t; t.CLIPImageProcessor"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    assert "torchvision" not in said.stdout + said.stderr


def test_a_folder_without_an_index_is_refused(tmp_path: Path, cpu: Device) -> None:
    with pytest.raises(CheckpointUnavailableError, match=r"no model_index\.json"):
        open_checkpoint("sd1", tmp_path, cpu)


@pytest.mark.parametrize("name", ["os", "my_module", "unet.my_unet"])
def test_code_from_elsewhere_is_never_run(copied: Path, cpu: Device, name: str) -> None:
    edit(copied / "model_index.json", unet=[name, "UNet2DConditionModel"])
    with pytest.raises(CheckpointUnavailableError, match=f"asks for code of '{name}'"):
        open_checkpoint("sd1", copied, cpu)


def test_a_pipeline_class_of_the_folders_own_is_refused(copied: Path, cpu: Device) -> None:
    edit(copied / "model_index.json", _class_name=["pipeline", "MyPipeline"])
    (copied / "pipeline.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CheckpointUnavailableError):
        open_checkpoint("sd1", copied, cpu)


def test_pickled_weights_are_not_read(copied: Path, cpu: Device) -> None:
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))  # noqa: TID251  # what must not be read
    weights.unlink()
    with pytest.raises(CheckpointUnavailableError):
        open_checkpoint("sd1", copied, cpu)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_cut_off_file_is_an_unavailable_checkpoint(copied: Path, cpu: Device, part: str) -> None:
    (weights,) = (copied / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointUnavailableError):
        open_checkpoint("sd1", copied, cpu)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_missing_tensors_are_an_unavailable_checkpoint(copied: Path, cpu: Device, part: str) -> None:
    from safetensors.torch import load_file, save_file

    (weights,) = (copied / part).glob("*.safetensors")
    tensors = load_file(weights)
    del tensors[next(name for name in sorted(tensors) if name.endswith("weight"))]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointUnavailableError):
        open_checkpoint("sd1", copied, cpu)


def test_a_shortage_while_loading_is_not_the_checkpoints_fault(
    copied: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import DiffusionPipeline

    def full(*_args: Any, **_settings: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DiffusionPipeline, "to", full)
    with pytest.raises(OutOfMemoryError):
        open_checkpoint("sd1", copied, cpu)


def test_a_named_safety_checker_is_not_asked_for(copied: Path, cpu: Device) -> None:
    edit(
        copied / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert run(open_checkpoint("sd1", copied, cpu), item())


def test_sd3_without_the_folders_of_its_t5_loads(folders: Folders, tmp_path: Path, cpu: Device) -> None:
    folder = Path(shutil.copytree(folders("sd3"), tmp_path / "sd3"))
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / part)
    assert run(open_checkpoint("sd3", folder, cpu), item())


def test_a_folder_of_half_precision_files_only_loads(copied: Path, cpu: Device) -> None:
    for weights in copied.glob("*/*.safetensors"):
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    assert run(open_checkpoint("sd1", copied, cpu), item())


def test_weights_take_the_precision_of_the_device(folders: Folders) -> None:
    half = Device(torch.device("cpu"), torch.bfloat16, "cpu", 1 << 33)
    pipeline: Any = open_checkpoint("sd1", folders("sd1"), half)
    assert {net.dtype for net in (pipeline._pipe.unet, pipeline._pipe.vae, pipeline._pipe.text_encoder)} == {
        torch.bfloat16
    }
    assert run(pipeline, item())[0].pixels.std() > 1


def edit(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
