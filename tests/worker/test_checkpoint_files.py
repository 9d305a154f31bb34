"""A worker's copy of a checkpoint: nothing but what was registered is loaded, and killed fetches are cleared away."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints import Checkpoint, FileManifest, Source, scan_folder
from models.errors import CheckpointUnavailableError
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.seeding import Seeder
from tests.weights import file_that_says, weights
from tests.worker.slow import write_checkpoint
from worker.checkpoint_files import CheckpointStore

DAY = 86_400.0
ReadRow = Callable[..., Checkpoint]


@pytest.fixture
def given(settings: Settings, tmp_path: Path) -> Settings:
    """A cache of this test's own."""
    return settings.model_copy(update={"checkpoint_cache": tmp_path / "cache"})


@pytest.fixture
def store(given: Settings) -> CheckpointStore:
    return CheckpointStore(given)


@pytest.fixture
def row_of(seed: Seeder, sessions: Sessions) -> ReadRow:
    """Registers a checkpoint, and reads its row."""

    def read(**changes: Any) -> Checkpoint:
        card = seed.checkpoint(**changes)
        with sessions() as session:
            return session.get_one(Checkpoint, card.id)

    return read


@pytest.fixture
def local(row_of: ReadRow, tmp_path: Path) -> tuple[Checkpoint, Path]:
    """A registered folder."""
    folder = write_checkpoint(tmp_path / "local")
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text("{}")
    return row_of(location=str(folder), manifest=scan_folder(folder)), folder


@pytest.mark.parametrize(
    "name", ["model.bin", "model.safetensors.index.json", "unet/model.fp16.safetensors", "unet/code.py", "merges.txt"]
)
def test_a_file_that_was_planted_after_the_registration(
    store: CheckpointStore, local: tuple[Checkpoint, Path], name: str
) -> None:
    row, folder = local
    assert store.files_of(row).folder == folder
    (folder / name).write_bytes(b"{}")
    with pytest.raises(CheckpointUnavailableError, match=name):
        store.files_of(row)


def test_a_file_that_was_replaced_by_a_link_or_a_pipe(
    store: CheckpointStore, local: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    row, folder = local
    config = folder / "unet" / "config.json"
    (tmp_path / "outside.json").write_text("{}")
    for plant in (lambda: config.symlink_to(tmp_path / "outside.json"), lambda: os.mkfifo(config)):
        config.unlink()
        plant()
        with pytest.raises(CheckpointUnavailableError, match=r"unet/config\.json"):
            store.files_of(row)
    config.unlink()
    (folder / "unet").rmdir()
    (folder / "unet").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(CheckpointUnavailableError, match="unet"):
        store.files_of(row)


@pytest.mark.parametrize("name", ["../up.json", "/etc/hostname", "a/../../up.json", "nul\0.json", "", "."])
def test_a_row_whose_manifest_leads_elsewhere(
    store: CheckpointStore, row_of: ReadRow, given: Settings, name: str
) -> None:
    # given: a row that no verb of ours would write (detached: Postgres itself would not hold a NUL)
    row = row_of(source=Source.S3, location="checkpoints/elsewhere")
    row.files = {name: {"sha256": "0" * 64, "size_bytes": 1}}
    # when, then: nothing is fetched, nothing is left
    with pytest.raises(CheckpointUnavailableError, match="out of its folder"):
        store.files_of(row)
    assert list(given.checkpoint_cache.parent.glob("**/up.json")) == []
    assert not list(given.checkpoint_cache.glob("*"))


def test_fetched_weights_whose_header_lies(store: CheckpointStore, row_of: ReadRow, storage: Storage) -> None:
    # given: files in the bucket, which the API could not look at: their hash is right, and it is a lie's
    lie = file_that_says({"a": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}}, b"1234")
    storage.put("checkpoints/lying/model.safetensors", lie, "application/octet-stream")
    entry = {"sha256": hashlib.sha256(lie).hexdigest(), "size_bytes": len(lie)}
    row = row_of(source=Source.S3, location="checkpoints/lying", manifest=FileManifest({"model.safetensors": entry}))
    with pytest.raises(CheckpointUnavailableError, match=r"model\.safetensors"):
        store.files_of(row)


# --- what killed fetches leave -----------------------------------------------------------------------------------


def leftover(given: Settings, name: str, age_seconds: float) -> Path:
    folder = given.checkpoint_cache / f"{name}.partial"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(weights())
    for path in (folder / "unet" / "model.safetensors", folder / "unet", folder):
        os.utime(path, (time.time() - age_seconds,) * 2)
    return folder


def test_old_leftovers_are_removed_and_nothing_else(store: CheckpointStore, given: Settings) -> None:
    old, young = leftover(given, "old", DAY), leftover(given, "young", 0)
    growing = leftover(given, "growing", DAY)
    (growing / "unet" / "second.safetensors").write_bytes(weights())
    whole = given.checkpoint_cache / "0a1b"
    whole.mkdir()
    assert store.remove_leftovers() == 1
    assert not old.exists()
    assert young.is_dir()
    assert growing.is_dir()
    assert whole.is_dir()


def test_a_fetch_that_is_under_way_is_let_alone_until_its_process_is_gone(
    store: CheckpointStore, given: Settings
) -> None:
    # given: another process that fetches, and has written nothing for long
    folder = leftover(given, "slow", DAY)
    code = (
        "import sys, pathlib, worker.checkpoint_files as files\n"
        "with files._locked(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as fetching:
        assert fetching.stdout is not None
        assert fetching.stdout.readline() == "locked\n"
        # then
        assert store.remove_leftovers() == 0
        assert folder.is_dir()
        # when: killed in the midst of it
        fetching.kill()
    assert store.remove_leftovers() == 1
    assert not folder.exists()


def test_no_cache_is_no_leftover(store: CheckpointStore) -> None:
    assert store.remove_leftovers() == 0


def test_a_fetch_holds_the_lock(
    store: CheckpointStore, row_of: ReadRow, given: Settings, storage: Storage, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    row = row_of(
        source=Source.S3, location="checkpoints/held", manifest=scan_folder(write_checkpoint(tmp_path / "same"))
    )
    storage.put("checkpoints/held/model.safetensors", weights(), "application/octet-stream")
    removed: list[int] = []
    download = Storage.download

    def meanwhile(storage: Storage, key: str, target: Path) -> None:
        # when: another worker starts in the middle of the fetch
        removed.append(CheckpointStore(given).remove_leftovers(older_than_seconds=0))
        download(storage, key, target)

    monkeypatch.setattr(Storage, "download", meanwhile)
    assert (store.files_of(row).folder / "model.safetensors").read_bytes() == weights()
    assert removed == [0]
