"""Training as a job, for real and small: what comes out runs at once, and a run that was cut off comes to the same."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image

from models.checkpoints.card import read_folder
from models.errors import InvalidInputError, StoppedError
from models.params import CheckpointProfile, TrainParams
from tests.pipelines.conftest import Recorder
from tests.zips import image_folder, picture, rows, zipped
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Facts, File, Item, Output, Picture, Pipeline, Trained
from worker.pipelines.trainer import family

STARTER = Path(__file__).parents[2] / "worker" / "starter" / "emoji-64"


class MemoryShelf:
    """A worker's shelf, by hand; what is on it outlives a run."""

    def __init__(self) -> None:
        self.states: dict[int, bytes] = {}

    def save(self, step: int, body: bytes) -> bool:
        self.states[step] = body
        return True

    def load(self) -> bytes | None:
        return self.states[max(self.states)] if self.states else None


class Library:
    """Knows the starter."""

    def files(self, name: str, _revision: str | None = None) -> CheckpointFiles:
        profile = CheckpointProfile(default_width=64, default_height=64)
        return CheckpointFiles(name, STARTER, "diffusers", profile, {})


class Room(Recorder):
    """A recorder with a shelf and a library."""

    def __init__(self, shelf: MemoryShelf | None = None) -> None:
        super().__init__()
        self.own = shelf or MemoryShelf()
        self.library = Library()

    def shelf(self, _job_id: UUID) -> MemoryShelf:
        return self.own


@pytest.fixture(scope="module")
def trainer(cpu: Any) -> Pipeline:
    methods = ("dcgan", "conditional_gan", "vae", "class_diffusion", "lora")
    profile = CheckpointProfile(methods=methods)
    return load_family("trainer").setup(CheckpointFiles("trainer", Path(), "trainer", profile, {}), cpu)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state after every step."""
    monkeypatch.setattr(family, "SAVE_SECONDS", (0.0, 0.0))


def item(body: bytes, **params: Any) -> Item:
    given = {"method": "dcgan", "name": "mine", "image_size": 32, "max_steps": 3, "batch_size": 4, "seed": 5} | params
    return Item(uuid4(), "train", TrainParams(data_set={"upload": uuid4()}, **given), {"data_set": Blob(body, "x")})


def run(trainer: Pipeline, wanted: Item, room: Room | None = None) -> tuple[list[Output], dict[str, bytes]]:
    """The outputs, and the checkpoint's files, which are gone when the run is."""
    room = room or Room()
    room.job_ids = {wanted.job_id}
    outputs, files = [], {}
    for output in trainer.run([wanted], room):
        outputs.append(output)
        if isinstance(output, Trained):
            folder = output.folder
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    return outputs, files


def weights_of(files: dict[str, bytes]) -> str:
    (weights,) = [body for name, body in files.items() if name.endswith(".safetensors")]
    return hashlib.sha256(weights).hexdigest()


def use(files: dict[str, bytes], folder: Path, cpu: Any, params: dict[str, Any]) -> list[Output]:
    """Register the checkpoint as the publish would, and run a job of its first task on it."""
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    found = read_folder(folder)
    pipeline = load_family(found.family).setup(
        CheckpointFiles(found.name, folder, found.family, found.profile, {}), cpu
    )
    from models.params import TASKS

    task = next(name for name in ("sample", "class_to_image") if name in found.tasks)
    wanted = Item(uuid4(), task, TASKS[task].model_validate({"seed": 1} | params).resolved(found.profile))
    context = Recorder()
    context.job_ids = {wanted.job_id}
    return list(pipeline.run([wanted], context))


DATA = zipped(image_folder({"cat": 5, "dog": 4}, (40, 32)))


@pytest.mark.parametrize(
    ("method", "more", "asked"),
    [
        ("dcgan", {}, {}),
        ("vae", {}, {}),
        ("conditional_gan", {}, {"class_label": "dog"}),
        ("class_diffusion", {"batch_size": 2, "max_steps": 2}, {"class_label": "cat", "num_inference_steps": 2}),
    ],
)
def test_what_is_trained_draws_at_once(
    trainer: Pipeline, cpu: Any, tmp_path: Path, method: str, more: dict[str, Any], asked: dict[str, Any]
) -> None:
    room = Room()
    outputs, files = run(trainer, item(DATA, method=method, licence="CC0", **more), room)

    steps = more.get("max_steps", 3)
    *made, trained, facts = outputs
    assert isinstance(trained, Trained)
    assert isinstance(facts, Facts)
    named = [(file.index, file.name) for file in made if isinstance(file, File)]
    assert named == [(0, "curves.png"), (1, "samples.png"), (2, "curves.json"), (3, "report.json")]
    for file in made[:2]:
        assert isinstance(file, File)
        assert Image.open(io.BytesIO(file.body)).size == file.size
    assert isinstance(made[2], File)
    assert json.loads(made[2].body)["steps"] == list(range(1, steps + 1))
    assert (facts.data["checkpoint"], facts.data["steps"], facts.data["resumed_at_step"]) == ("mine", steps, 0)
    assert facts.data["data"]["used"] == 9
    assert set(facts.data["data"]["classes"]) == {"cat", "dog"}
    assert room.steps[-1] == (steps, steps + 2)
    assert {"README.md", "safelight.json", "samples.png"} <= set(files)
    readme = files["README.md"].decode()
    assert "CC0" in readme
    assert "**Seed**: 5" in readme
    (drawn,) = use(files, tmp_path, cpu, asked)
    assert isinstance(drawn, Picture)
    assert drawn.pixels.shape == (32, 32, 3)
    assert not trained.folder.exists()


def test_a_lora_is_trained_on_captions_and_diffusers_reads_it(trainer: Pipeline, tmp_path: Path) -> None:
    table = rows({"file_name": "1.png", "text": "a zorb on white"})
    data = zipped({"1.png": picture(1, (64, 64)), "2.png": picture(2, (64, 64)), "metadata.jsonl": table})
    wanted = item(data, method="lora", base="emoji-64", rank=2, max_steps=1, batch_size=2, caption="another zorb")
    _, files = run(trainer, wanted)
    card = json.loads(files["safelight.json"])
    assert (card["family"], card["tasks"]) == ("lora", [])
    assert "adapting emoji-64" in files["README.md"].decode()
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    assert read_folder(tmp_path).family == "lora"
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(STARTER)
    pipeline.load_lora_weights(tmp_path)
    assert pipeline.get_list_adapters()["unet"]


def test_a_run_that_was_cut_off_comes_to_the_same(trainer: Pipeline, often: None) -> None:
    """Given a training that is stopped in the middle, when it is run again, then the weights are an unbroken run's."""
    wanted = item(DATA, max_steps=6)
    _, unbroken = run(trainer, wanted)
    shelf = MemoryShelf()
    first = Room(shelf)

    def at_step(done: int) -> None:
        if done == 3:
            first.stopped_ids.add(wanted.job_id)

    first.at_step = at_step
    first.job_ids = {wanted.job_id}
    with pytest.raises(StoppedError):
        list(trainer.run([wanted], first))
    assert max(shelf.states) == 3

    second = Room(shelf)
    outputs, resumed = run(trainer, wanted, second)
    assert second.steps[0][0] == 4
    assert weights_of(resumed) == weights_of(unbroken)
    assert resumed["README.md"] == unbroken["README.md"]
    facts = outputs[-1]
    assert isinstance(facts, Facts)
    assert (facts.data["steps"], facts.data["resumed_at_step"]) == (6, 3)
    chart = outputs[2]
    assert isinstance(chart, File)
    assert json.loads(chart.body)["steps"] == [1, 2, 3, 4, 5, 6]


def test_a_run_lost_after_its_last_step_trains_no_more(trainer: Pipeline, often: None) -> None:
    shelf, wanted = MemoryShelf(), item(DATA)
    _, first = run(trainer, wanted, Room(shelf))
    again = Room(shelf)
    _, second = run(trainer, wanted, again)
    assert again.steps == []
    assert weights_of(first) == weights_of(second)


def test_storage_that_is_away_does_not_stop_it(trainer: Pipeline, often: None) -> None:
    shelf = MemoryShelf()
    shelf.save = lambda *_: False  # type: ignore[method-assign]
    outputs, _ = run(trainer, item(DATA), Room(shelf))
    assert isinstance(outputs[-1], Facts)


@pytest.mark.parametrize("method", ["dcgan", "class_diffusion"])
def test_samples_come_as_previews(trainer: Pipeline, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(family, "SHEET_SECONDS", 0.0)
    monkeypatch.setattr(family, "SHEET_SHARE", 1e9)
    room = Room()
    room.previews_wanted = True
    run(trainer, item(DATA, method=method, batch_size=2, max_steps=1), room)
    assert len(room.previews) == 1
    pixels = room.previews[0][1]
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


@pytest.mark.parametrize(
    ("files", "params", "field", "words"),
    [
        ({"1.png": b"broken"}, {}, "data_set", "None of its 1 pictures can be read"),
        ({"1.png": picture()}, {"method": "conditional_gan"}, "data_set", "no classes"),
        ({"test/1.png": picture()}, {}, "split", "no split 'train'"),
        (
            image_folder({f"c{n}": 1 for n in range(65)}, (6, 6)),
            {"method": "conditional_gan"},
            "data_set",
            "at most 64",
        ),
    ],
)
def test_data_that_cannot_be_learnt_from_names_its_field(
    trainer: Pipeline, files: dict[str, bytes], params: dict[str, Any], field: str, words: str
) -> None:
    wanted = item(zipped(files), **params)
    with pytest.raises(InvalidInputError, match=words) as error:
        run(trainer, wanted)
    assert error.value.extra["field"] == f"/params/{field}"
    assert error.value.extra["job_id"] == str(wanted.job_id)


def test_a_base_that_takes_no_lora_is_named(trainer: Pipeline, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    base = CheckpointFiles("flux", tmp_path, "diffusers", CheckpointProfile(default_width=64, default_height=64), {})
    answer: Callable[..., CheckpointFiles] = lambda _self, _name, _revision=None: base  # noqa: E731
    monkeypatch.setattr(Library, "files", answer)
    with pytest.raises(InvalidInputError, match="takes no LoRA") as error:
        run(trainer, item(DATA, method="lora", base="flux"))
    assert error.value.extra["field"] == "/params/base"


def test_a_split_is_trained_on_alone(trainer: Pipeline) -> None:
    files = image_folder({"cat": 3}, split="train") | {"test/cat/9.png": picture(9)}
    outputs, _ = run(trainer, item(zipped(files), max_steps=1))
    facts = outputs[-1]
    assert isinstance(facts, Facts)
    assert (facts.data["data"]["pictures"], facts.data["data"]["used"]) == (4, 3)


def test_what_a_killed_worker_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family.tempfile, "gettempdir", lambda: str(tmp_path))
    old, new, other = (tmp_path / name for name in ("safelight-train-a", "safelight-train-b", "other"))
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "state.safetensors").write_bytes(b"x")
    for folder in (old, other):
        os.utime(folder, (0, 0))
    assert family.remove_leftovers() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "safelight-train-b"]
