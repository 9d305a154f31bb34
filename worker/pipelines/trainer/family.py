"""Train on a data set, as a job: steps, previews and stops like any other, and a state that outlives this worker.

A state is put aside as often as costs little, when the worker drains, and at the end. Another attempt goes on from it
and, since each step draws from (seed, step) alone, comes to the same weights.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from PIL import Image

from models.errors import InvalidInputError, StoppedError
from models.params import Method, TrainParams
from worker.datasets.reading import DataSet
from worker.datasets.writing import encode
from worker.media.curves import curves
from worker.pipelines.base import (
    CheckpointFiles,
    Context,
    Determinism,
    Facts,
    File,
    Item,
    Output,
    Pipeline,
    Trained,
)
from worker.pipelines.failures import guarded
from worker.pipelines.trainer.material import Material, Size, read_material
from worker.pipelines.trainer.methods import RECIPES, make_task
from worker.pipelines.trainer.state import History, put_aside, take_back
from worker.pipelines.trainer.writing import write_checkpoint
from worker.training.loop import Budget, Hooks, Keeping, Pace, Task, load_state, save_state, train

if TYPE_CHECKING:
    import torch

    from worker.devices import Device

SAVE_SHARE = 0.02
"""Of the time: what putting states aside may take."""
SAVE_SECONDS = (1.0, 120.0)
"""Between two states, at least and at most."""
SHEET_SHARE = 0.02
"""Of the time: what sample sheets as previews may take."""
SHEET_SECONDS = 10.0
"""Between two of them, at least."""
LAST_STEPS = 2
"""For the sheet and the files. One would be the worker's sign to claim the next job, which would wait for them."""
NEVER = 1 << 62
FOLDER_PREFIX = "safelight-train-"
LEFTOVER_SECONDS = 86_400.0
"""A folder that no state was written to for so long is of a worker that was killed."""


class Trainer(Pipeline):
    """Has no weights of its own. Whatever it trains, it trains on the worker's device."""

    family: ClassVar[str] = "trainer"
    tasks: ClassVar[frozenset[str]] = frozenset({"train"})
    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE

    def __init__(self, max_pixels: int, device: "torch.device") -> None:
        """`max_pixels` is of one picture that is read."""
        self._max_pixels = max_pixels
        self._device = device

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Nothing is loaded before the job says what."""
        remove_leftovers()
        return cls(files.profile.max_input_pixels, device.torch_device)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One training after the other: curves, samples and a report of each, the checkpoint, then its facts."""
        for item in items:
            context.raise_if_all_stopped()
            try:
                with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
                    yield from _Run(item, context, Path(folder), self._max_pixels, self._device).outputs()
            except StoppedError:
                context.raise_if_all_stopped()
            except InvalidInputError as error:
                extra = {"job_id": str(item.job_id), "field": "/params/data_set"} | error.extra
                raise InvalidInputError(error.detail, **extra) from error

    @property
    def memory_bytes(self) -> int:
        """None while nothing runs."""
        return 0


@dataclass
class _Run:
    """One item on its way. `folder` is its own, and gone afterwards."""

    item: Item
    context: Context
    folder: Path
    max_pixels: int
    device: "torch.device"
    history: History = field(default_factory=History)
    resumed_at: int = 0
    _save_at: float = 0.0
    _sheet_at: float = 0.0

    @property
    def params(self) -> TrainParams:
        params = self.item.params
        assert isinstance(params, TrainParams)  # noqa: S101  # the claim matched task and checkpoint
        return params

    def outputs(self) -> Iterator[Output]:
        params, began = self.params, time.monotonic()
        base = self._base()
        data_set = DataSet(self.item.inputs["data_set"].body, self.max_pixels)
        material = read_material(data_set, params, _size(params, base), self._go_on)
        task = guarded(lambda: make_task(params, material, base, self.device))
        steps = self._train(task)
        sheet = _newest_sheet(self.folder)
        made = self.folder / "checkpoint"
        guarded(lambda: write_checkpoint(task, made, params, material, steps, self.history.last()))
        samples = encode(np.asarray(sheet), "png")
        (made / "samples.png").write_bytes(samples)
        report = self._report(material, steps, time.monotonic() - began)
        yield from self._files(samples, sheet.size, report)
        yield Trained(self.item.job_id, made)
        yield Facts(self.item.job_id, {"checkpoint": params.name, **report})

    def _base(self) -> CheckpointFiles | None:
        """What a LoRA adapts."""
        params = self.params
        if params.method is not Method.LORA or params.base is None:
            return None
        return self.context.library.files(params.base)

    def _train(self, task: Task) -> int:
        """To the end of the budget, from where an earlier attempt came to; the steps done in all."""
        params, recipe = self.params, RECIPES[self.params.method]
        self.history = History.of(params.max_steps)
        self.resumed_at = take_back(self.context.shelf(self.item.job_id), self.folder, self.history)
        self._save_at = self._sheet_at = time.monotonic()
        _, before = load_state(task, self.folder) if self.resumed_at else (0, 0.0)
        started = time.monotonic()

        def on_step(step: int, used: float, figures: dict[str, float]) -> None:
            self.history.add(step, figures)
            total = min(params.max_steps, round(step / used)) if used else params.max_steps
            self.context.step(step, max(total, step) + LAST_STEPS)
            stopped = self.context.stopped(self.item.job_id)
            if stopped or time.monotonic() >= self._save_at:
                elapsed = before + time.monotonic() - started
                self._put_aside(task, step, elapsed)
            if stopped:
                raise StoppedError("the training was stopped between two steps")
            self._show(task)

        budget = Budget(params.max_steps, params.max_minutes)
        pace = Pace(warmup_steps=max(1, min(recipe.warmup_steps, params.max_steps // 10)))
        keeping = Keeping(self.folder, save_seconds=float("inf"), sheet_steps=NEVER)
        hooks = Hooks(on_step=on_step, on_save=self._on_save)
        return guarded(lambda: train(task, budget, pace, keeping, hooks))

    def _put_aside(self, task: Task, step: int, elapsed_seconds: float) -> None:
        began = time.monotonic()
        save_state(task, self.folder, step, elapsed_seconds)
        self._on_save(self.folder, step)
        least, most = SAVE_SECONDS
        now = time.monotonic()
        self._save_at = now + min(max((now - began) / SAVE_SHARE, least), most)

    def _on_save(self, folder: Path, step: int) -> None:
        put_aside(self.context.shelf(self.item.job_id), folder, self.history, step)

    def _show(self, task: Task) -> None:
        """A sample sheet as a preview, now and then."""
        began = time.monotonic()
        if began < self._sheet_at + SHEET_SECONDS or not self.context.wants_preview():
            return
        self.context.preview(self.item.job_id, np.array(RECIPES[self.params.method].preview(task).convert("RGB")))
        now = time.monotonic()
        self._sheet_at = now + max((now - began) / SHEET_SHARE - SHEET_SECONDS, 0.0)

    def _go_on(self) -> None:
        if self.context.stopped(self.item.job_id):
            raise StoppedError("the training was stopped before its first step")

    def _files(self, samples: bytes, size: Size, report: dict[str, Any]) -> Iterator[Output]:
        job_id, figures = self.item.job_id, self.history.figures
        known = {name: [np.nan if value is None else value for value in values] for name, values in figures.items()}
        chart = curves(self.history.steps, known)
        text = json.dumps(report, indent=2, ensure_ascii=False).encode()
        yield File(job_id, 0, "curves.png", encode(chart, "png"), "image/png", (chart.shape[1], chart.shape[0]))
        yield File(job_id, 1, "samples.png", samples, "image/png", size)
        yield File(job_id, 2, "curves.json", self.history.json().encode(), "application/json")
        yield File(job_id, 3, "report.json", text, "application/json")

    def _report(self, material: Material, steps: int, seconds: float) -> dict[str, Any]:
        return {
            "method": self.params.method.value,
            "data": material.facts,
            "steps": steps,
            "resumed_at_step": self.resumed_at,
            "seconds_of_this_attempt": round(seconds, 1),
            "figures": self.history.last(),
            "settings": self.params.model_dump(mode="json", exclude={"data_set", "caption"}),
        }


def remove_leftovers(older_than_seconds: float = LEFTOVER_SECONDS) -> int:
    """Delete the folders of trainings whose worker was killed; how many."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime >= older_than_seconds:
                shutil.rmtree(folder)
                removed += 1
    return removed


def _size(params: TrainParams, base: CheckpointFiles | None) -> Size:
    """(width, height) of the pictures that it learns from: a LoRA's as its base draws them."""
    if base is None:
        return params.image_size, params.image_size
    profile = base.profile
    return profile.default_width, profile.default_height


def _newest_sheet(folder: Path) -> Image.Image:
    """What the loop drew at its end."""
    with Image.open(max(folder.glob("sheet-*.png"))) as sheet:
        return sheet.convert("RGB")
