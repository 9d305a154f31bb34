"""What survives a lost worker: weights, optimizers, steps and the figures so far, as one object on the job's shelf."""

import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worker.pipelines.base import Shelf
from worker.training.loop import PROGRESS_FILE, STATE_FILE

HISTORY_FILE: Final = "history.json"
FILES: Final = (STATE_FILE, PROGRESS_FILE, HISTORY_FILE)
POINTS: Final = 1000
"""Of a curve: a long run keeps each n-th step, so that a state stays small and the same steps are kept after a loss."""


@dataclass
class History:
    """The figures of some steps. `every` follows from the params alone."""

    every: int = 1
    steps: list[int] = field(default_factory=list)
    figures: dict[str, list[float | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, max_steps: int) -> "History":
        """With at most about a thousand points."""
        return cls(max(1, math.ceil(max_steps / POINTS)))

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Note the figures of a step, if it is one to be kept. What is no number becomes a gap."""
        if step % self.every and step > 1:
            return
        self.steps.append(step)
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(round(value, 6) if math.isfinite(value) else None)

    def last(self) -> dict[str, float]:
        """The mean of each figure over the last tenth."""
        found = {}
        for name, values in self.figures.items():
            known = [value for value in values[-max(1, len(values) // 10) :] if value is not None]
            if known:
                found[name] = round(sum(known) / len(known), 6)
        return found

    def json(self) -> str:
        """Steps and figures."""
        return json.dumps({"steps": self.steps, "figures": self.figures})


def put_aside(shelf: Shelf, folder: Path, history: History, step: int) -> bool:
    """Send what the loop saved in `folder`, and the figures. False when storage was away."""
    (folder / HISTORY_FILE).write_text(history.json())
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as packed:
        for name in FILES:
            packed.write(folder / name, name)
    return shelf.save(step, body.getvalue())


def take_back(shelf: Shelf, folder: Path, history: History) -> int:
    """Lay the newest state into `folder`, where the loop looks for it; the step it is of, 0 when there is none."""
    body = shelf.load()
    if body is None:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        for name in FILES:
            (folder / name).write_bytes(packed.read(name))
    found = json.loads((folder / HISTORY_FILE).read_text())
    history.steps, history.figures = found["steps"], found["figures"]
    return int(json.loads((folder / PROGRESS_FILE).read_text())["step"])
