"""`python -m bench.bare_family`: the baseline of a family: its own `run` in a loop, no queue, no storage.

A process of its own, as `bench.bare` is. Prints as JSON the seconds of a job, in batches and one by one.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from models.bootstrap import STARTERS
from models.checkpoints import Source
from models.checkpoints.registry import Registration
from models.checkpoints.shipped import read_starter
from models.packages import root_of
from models.params import TASKS
from models.settings import get_settings
from worker.devices import open_device
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Item, Pipeline

FEW = 8
"""Jobs of the loop without batches."""


class Starters:
    """Loads a starter checkpoint, once: what a ControlNet runs over."""

    def __init__(self, cache: str) -> None:
        """`cache` is where packed weights are unpacked."""
        self._cache = cache
        self._loaded: dict[str, Pipeline] = {}

    def pipeline(self, task: str, name: str, revision: str | None = None) -> Pipeline:  # noqa: ARG002  # there is one
        """By its name."""
        if name not in self._loaded:
            card = read_starter(STARTERS / name)
            device = open_device(get_settings(), card.pool)
            self._loaded[name] = load_family(card.family).setup(_files_of(card, self._cache), device)
        return self._loaded[name]


@dataclass(frozen=True)
class Quiet:
    """A context in which nobody watches, stops or puts anything aside."""

    library: Starters

    def step(self, done: int, total: int) -> None:
        """Nobody watches."""

    def stopped(self, job_id: UUID) -> bool:  # noqa: ARG002  # every item goes on
        """Nobody stops."""
        return False

    def raise_if_all_stopped(self) -> None:
        """Nobody stops."""

    def wants_preview(self) -> bool:
        """Nobody watches."""
        return False


@dataclass(frozen=True)
class Loop:
    """One loaded checkpoint and the job that it does over and over."""

    pipeline: Pipeline
    card: Registration
    task: str
    params: Mapping[str, Any]
    blobs: Mapping[str, Blob]
    context: Quiet

    def seconds(self, jobs: int, batch: int) -> float:
        """Of one job."""
        began = time.monotonic()
        for start in range(0, jobs, batch):
            items = [self._item(seed) for seed in range(start, min(start + batch, jobs))]
            for _ in self.pipeline.run(items, self.context):  # type: ignore[arg-type]  # no shelf: none asks
                pass
        return (time.monotonic() - began) / jobs

    def _item(self, seed: int) -> Item:
        refs = {name: {"upload": str(UUID(int=0))} for name in self.blobs}
        drawn = {"seed": seed} if "seed" in TASKS[self.task].model_fields else {}
        params = TASKS[self.task].model_validate({**self.params, **refs, **drawn}).resolved(self.card.profile)
        return Item(uuid4(), self.task, params, self.blobs)


def main() -> None:
    """Load, warm up, then time the loop with batches and without."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--params", type=json.loads, required=True)
    parser.add_argument("--cache", required=True, help="where packed weights are unpacked")
    parser.add_argument("--input", type=lambda text: text.split("=", 1), action="append", default=[])
    given = parser.parse_args()

    card, starters = read_starter(STARTERS / given.checkpoint), Starters(given.cache)
    blobs = {name: Blob(Path(path).read_bytes(), "image/png") for name, path in given.input}
    pipeline = starters.pipeline(given.task, given.checkpoint)
    loop = Loop(pipeline, card, given.task, given.params, blobs, Quiet(starters))
    loop.seconds(given.batch, given.batch)
    batched = loop.seconds(given.jobs, given.batch)
    print(json.dumps({"batched": batched, "single": loop.seconds(min(FEW, given.jobs), 1)}))


def _files_of(card: Registration, cache: str) -> CheckpointFiles:
    """As the worker's store has them, verified by nobody."""
    folder = root_of(*card.location.split("==")) if card.source is Source.PACKAGE else Path(card.location)
    config = {"files": sorted(card.manifest.files), "cache": cache}
    return CheckpointFiles(card.name, folder, card.family, card.profile, config)


if __name__ == "__main__":
    main()
