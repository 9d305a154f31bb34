"""What loading is going to take, as it is foretold from the files, beside what it takes."""

from pathlib import Path
from typing import Any

import pytest

from models.bootstrap import STARTERS
from models.checkpoints.weights import loaded_bytes
from models.params import CheckpointProfile
from tests.pipelines.conftest import Folders
from tests.pipelines.small import MAKERS, PROFILES, save
from tests.weights import file_that_says
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles

ASIDE_BYTES = 1 << 17
"""Names and shapes in the files, and tables that a net computes for itself."""


def files_of(family: str, folder: Path, **profile: Any) -> CheckpointFiles:
    weights = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")))
    return CheckpointFiles(family, folder, family, CheckpointProfile(**profile), {}, weights)


def assert_foretold(files: CheckpointFiles, device: Device) -> None:
    family = load_family(files.family)
    held = family.setup(files, device).memory_bytes
    foretold = family.estimate_bytes(files, device)
    assert abs(held - foretold) <= 0.02 * held + ASIDE_BYTES


@pytest.mark.parametrize("family", sorted(MAKERS))
def test_the_families_of_small_nets(family: str, cpu: Device, tmp_path: Path) -> None:
    assert_foretold(files_of(family, save(family, tmp_path / family), **PROFILES.get(family, {})), cpu)


@pytest.mark.parametrize("name", ["sd1", "sd3"])
def test_diffusers_folders(name: str, folders: Folders, cpu: Device) -> None:
    assert_foretold(files_of("diffusers", folders(name)), cpu)


@pytest.mark.parametrize(
    ("name", "family"), [("emoji-64", "diffusers"), ("emoji-vae", "vae"), ("animals-gan", "conditional_gan")]
)
def test_starters_in_float16_take_twice_their_files(cpu: Device, name: str, family: str) -> None:
    """Given files of float16, when they are loaded where computing is in float32, then room is made for that."""
    files = files_of(family, STARTERS / name)
    stored = sum((files.folder / name).stat().st_size for name in files.weights)
    assert_foretold(files, cpu)
    assert load_family(family).estimate_bytes(files, cpu) > 1.9 * stored


def test_whole_numbers_stay_as_they_are(tmp_path: Path) -> None:
    entries = {
        "half": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]},
        "count": {"dtype": "I64", "shape": [1], "data_offsets": [12, 20]},
    }
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_that_says(entries, bytes(20)))
    assert loaded_bytes(path, 4) - path.stat().st_size == 12
    assert loaded_bytes(path, 2) == path.stat().st_size
