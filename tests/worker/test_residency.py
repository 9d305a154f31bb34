"""Loading, evicting and verifying checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from models.checkpoints import Checkpoint, Source, scan_folder
from models.errors import CheckpointUnavailableError, OutOfMemoryError
from models.session import Sessions
from models.settings import Settings
from models.states import Pool
from models.storage import Storage
from tests.pipelines.small import save
from tests.seeding import Seeder
from tests.weights import weights
from tests.worker.slow import Slow, write_checkpoint
from worker import checkpoint_files
from worker.checkpoint_files import CheckpointStore
from worker.devices import Device, open_device
from worker.residency import Residency


@pytest.fixture
def device(settings: Settings) -> Device:
    return open_device(settings, Pool.CPU)


@pytest.fixture(autouse=True)
def setups() -> Iterator[list[str]]:
    Slow.setups.clear()
    yield Slow.setups
    Slow.setups.clear()


def register(seed: Seeder, folder: Path, name: str, size_bytes: int = 100, **changes: Any) -> UUID:
    write_checkpoint(folder / name, size_bytes)
    given = {"family": "slow", "location": str(folder / name), "manifest": scan_folder(folder / name), **changes}
    return seed.checkpoint(name, **given).id


def rewrite(sessions: Sessions, checkpoint: UUID, **values: Any) -> None:
    """As somebody with a hand on the database would."""
    with sessions.begin() as session:
        session.execute(update(Checkpoint).where(Checkpoint.id == checkpoint).values(**values))


def residency(sessions: Sessions, settings: Settings, device: Device, budget_bytes: int = 250) -> Residency:
    return Residency(sessions, CheckpointStore(settings), device, budget_bytes)


def test_the_least_recently_used_goes_before_the_next_comes(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path, setups: list[str]
) -> None:
    """Given room for two, when a third is loaded, then the one that was used last stays."""
    first, second, third = (register(seed, tmp_path, name) for name in ("first", "second", "third"))
    loaded = residency(sessions, settings, device)
    loaded.get(first)
    loaded.get(second)
    loaded.get(first)
    assert setups == ["first", "second"]

    loaded.get(third)

    assert loaded.names == ["first", "third"]
    assert loaded.used_bytes == 200


def test_one_that_is_larger_than_the_budget_stays_alone(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path
) -> None:
    small, large = register(seed, tmp_path, "small"), register(seed, tmp_path, "large", 1000)
    loaded = residency(sessions, settings, device)
    loaded.get(small)
    loaded.get(large)
    assert loaded.names == ["large"]


def test_room_is_made_before_loading_for_what_it_will_take(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given nets whose files are half as large as what they load to, then the one goes before the other is loaded."""
    from worker.pipelines.dcgan import Dcgan

    nets = []
    for name in ("one", "other"):
        folder = save("dcgan", tmp_path / name)
        (folder / "card.txt").write_text(name)  # else they would be the same revision
        nets.append(seed.checkpoint(name, family="dcgan", location=str(folder), manifest=scan_folder(folder)))
    one, other = nets
    stored = (tmp_path / "one" / "model.safetensors").stat().st_size
    size = residency(sessions, settings, device).get(one.id).size_bytes
    assert stored < size  # else the files' size would do
    loaded = residency(sessions, settings, device, budget_bytes=2 * size - 1)
    beside: list[list[str]] = []
    setup = Dcgan.setup
    monkeypatch.setattr(Dcgan, "setup", lambda *given: beside.append(loaded.names) or setup(*given))  # type: ignore[func-returns-value]

    for net in (one, other, one):
        loaded.get(net.id)
    assert beside == [[], [], []]


def test_what_runs_and_what_it_was_given_stay(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path
) -> None:
    """Given room for two, when the running one has one beside it, then a third is refused until that is given back."""
    running, held, wanted = (register(seed, tmp_path, name) for name in ("running", "held", "wanted"))
    loaded = residency(sessions, settings, device)
    loaded.get(running)
    with loaded.running(running):
        loaded.beside(held)
        with pytest.raises(OutOfMemoryError, match="wanted does not fit beside running and held"):
            loaded.beside(wanted)
        assert loaded.names == ["running", "held"]
        loaded.release()
        loaded.beside(wanted)
        assert loaded.names == ["running", "wanted"]
    loaded.get(held)
    assert loaded.names == ["wanted", "held"]


def test_one_that_is_larger_than_foretold_is_not_kept_beside_what_runs(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, swollen = register(seed, tmp_path, "running"), register(seed, tmp_path, "swollen")
    loaded = residency(sessions, settings, device)
    loaded.get(running)
    monkeypatch.setattr(Slow, "setup", lambda *_: Slow(200))
    with loaded.running(running):
        for _ in range(2):
            with pytest.raises(OutOfMemoryError, match="does not fit beside running"):
                loaded.beside(swollen)
        assert (loaded.names, loaded.used_bytes) == (["running"], 100)
    assert loaded.get(swollen).size_bytes == 200
    assert loaded.names == ["swollen"]


def test_a_shortage_while_loading_evicts_everything_and_tries_once_more(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = register(seed, tmp_path, "first"), register(seed, tmp_path, "second")
    loaded = residency(sessions, settings, device)
    loaded.get(first)

    def refuse(*_: Any) -> Slow:
        if loaded.names:
            raise MemoryError
        return Slow(7)

    monkeypatch.setattr(Slow, "setup", refuse)
    assert loaded.get(second).size_bytes == 7
    monkeypatch.setattr(Slow, "setup", lambda *_: (_ for _ in ()).throw(MemoryError()))
    loaded.evict_all()
    with pytest.raises(OutOfMemoryError):
        loaded.get(first)


def test_a_file_that_is_not_what_was_registered_is_refused(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path
) -> None:
    checkpoint = register(seed, tmp_path, "tampered")
    (tmp_path / "tampered" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointUnavailableError, match=r"model\.safetensors is not the one"):
        residency(sessions, settings, device).get(checkpoint)
    (tmp_path / "tampered" / "model.safetensors").unlink()
    with pytest.raises(CheckpointUnavailableError, match="cannot be read"):
        residency(sessions, settings, device).get(checkpoint)


def test_files_are_hashed_once_until_they_change(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[Path] = []
    real = checkpoint_files.sha256_of
    monkeypatch.setattr(checkpoint_files, "sha256_of", lambda path: hashed.append(path) or real(path))  # type: ignore[func-returns-value]
    checkpoint = register(seed, tmp_path, "steady")
    loaded = residency(sessions, settings, device)
    for _ in range(2):
        loaded.get(checkpoint)
        loaded.evict_all()
    assert len(hashed) == 1


def test_an_s3_checkpoint_is_fetched_once_and_again_when_its_copy_is_damaged(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path, storage: Storage
) -> None:
    folder = write_checkpoint(tmp_path / "remote")
    storage.put("checkpoints/remote/model.safetensors", weights(), "application/octet-stream")
    given = settings.model_copy(update={"checkpoint_cache": tmp_path / "cache"})
    changes = {"source": Source.S3, "location": "checkpoints/remote", "manifest": scan_folder(folder)}
    checkpoint = register(seed, tmp_path, "remote", 64, **changes)

    residency(sessions, given, device).get(checkpoint)
    (copy,) = (tmp_path / "cache").glob("*/model.safetensors")
    copy.write_bytes(b"damaged")
    residency(sessions, given, device).get(checkpoint)
    assert copy.read_bytes() == weights()
    storage.delete(["checkpoints/remote/model.safetensors"])
    residency(sessions, given, device).get(checkpoint)

    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_two_workers_may_fetch_the_same_checkpoint_at_once(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given another worker that is done just before the copy is moved into place, then its copy is taken."""
    folder = write_checkpoint(tmp_path / "remote")
    storage.put("checkpoints/both/model.safetensors", weights(), "application/octet-stream")
    given = settings.model_copy(update={"checkpoint_cache": tmp_path / "cache"})
    changes = {"source": Source.S3, "location": "checkpoints/both", "manifest": scan_folder(folder)}
    checkpoint = register(seed, tmp_path, "both", 64, **changes)
    rename = Path.rename

    def late(partial: Path, target: Path) -> Path:
        write_checkpoint(target)
        return rename(partial, target)

    monkeypatch.setattr(Path, "rename", late)
    assert residency(sessions, given, device).get(checkpoint).size_bytes == 64
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [scan_folder(folder).revision]


def test_an_unknown_family_or_location_says_so(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path
) -> None:
    loaded = residency(sessions, settings, device)
    with pytest.raises(CheckpointUnavailableError, match="no pipeline family"):
        loaded.get(register(seed, tmp_path, "odd", family="nonsense"))
    pinned = register(seed, tmp_path, "hub", source=Source.HUB, location=f"somebody/something@{'0a' * 20}")
    rewrite(sessions, pinned, location="somebody/something@main")
    with pytest.raises(CheckpointUnavailableError, match="40 hex"):
        loaded.get(pinned)


def test_a_manifest_cannot_lead_out_of_its_folder(
    seed: Seeder, sessions: Sessions, settings: Settings, device: Device, tmp_path: Path
) -> None:
    # given: a row that no verb of ours would write
    (tmp_path / "secret.safetensors").write_text("x")
    checkpoint = register(seed, tmp_path, "escaping")
    rewrite(sessions, checkpoint, files={"../secret.safetensors": {"sha256": "0", "size_bytes": 1}})
    with pytest.raises(CheckpointUnavailableError, match="out of its folder"):
        residency(sessions, settings, device).get(checkpoint)


def test_a_hub_checkpoint_is_fetched_at_its_pinned_revision_without_code(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def download(repo: str, **options: Any) -> None:
        asked.append({"repo": repo, **options})
        write_checkpoint(Path(options["local_dir"]))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    given = settings.model_copy(update={"checkpoint_cache": tmp_path / "cache"})
    manifest = scan_folder(write_checkpoint(tmp_path / "same"))
    location = f"somebody/something@{'0a' * 20}"
    checkpoint = register(seed, tmp_path, "hub", source=Source.HUB, location=location, manifest=manifest)

    residency(sessions, given, device).get(checkpoint)

    assert (asked[0]["repo"], asked[0]["revision"]) == ("somebody/something", "0a" * 20)
    assert not any(pattern.endswith((".py", ".bin", ".pkl")) for pattern in asked[0]["allow_patterns"])


def test_a_hub_that_does_not_answer_is_an_infrastructure_error(
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    device: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    from models.errors import TransientError

    def download(_repo: str, **_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    given = settings.model_copy(update={"checkpoint_cache": tmp_path / "cache"})
    location = f"somebody/something@{'0a' * 20}"
    checkpoint = register(seed, tmp_path, "hub", source=Source.HUB, location=location)
    with pytest.raises(TransientError):
        residency(sessions, given, device).get(checkpoint)
    assert not list((tmp_path / "cache").iterdir())
