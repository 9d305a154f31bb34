"""The training loop that every command shares: budget, learning-rate schedule, resumable state, sample sheets.

A step draws its randomness from (seed, step) alone, so a run that was killed and resumed repeats an uninterrupted one.
State is safetensors plus JSON; nothing is pickled.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

STATE_FILE: Final = "state.safetensors"
PROGRESS_FILE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: a number of steps, or wall minutes (summed over resumed runs), whichever is given."""

    steps: int | None = None
    minutes: float | None = None

    def progress(self, step: int, elapsed_seconds: float) -> float:
        """Share of the budget that is used, in [0, 1]."""
        shares = []
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.minutes is not None:
            shares.append(elapsed_seconds / (60 * self.minutes))
        return min(1.0, max(shares, default=0.0))


@dataclass(frozen=True, slots=True)
class Pace:
    """Learning-rate shape: linear warm-up, a plateau, then a cosine fall over the last part of the budget."""

    warmup_steps: int = 200
    decay_from: float = 0.55
    floor: float = 0.01

    def scale(self, step: int, progress: float) -> float:
        """Factor on the base learning rate."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        if progress <= self.decay_from:
            return warm
        fall = (progress - self.decay_from) / (1 - self.decay_from)
        return warm * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * fall)) / 2)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a run lives, and how often it saves its state and draws a sheet."""

    folder: Path
    save_seconds: float = 180.0
    sheet_steps: int = 1000


AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a job that trains hears of it. Either may raise, which ends the run and leaves its saved state alone.

    ``on_step`` is called after every step with the steps done, the used share of the budget in [0, 1] and the step's
    figures; ``on_save`` after every saved state with the run's folder, whose two state files are then whole.
    """

    on_step: Callable[[int, float, dict[str, float]], None] | None = None
    on_save: Callable[[Path, int], None] | None = None


NO_HOOKS: Final = Hooks()


class Task(Protocol):
    """What a training command supplies."""

    modules: dict[str, nn.Module]
    averages: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One optimisation step; returns named figures for the log."""

    def sheet(self) -> Image.Image:
        """A sheet of samples from the averaged weights."""


def rng_of(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """The two random streams of one step, derived from (seed, step) and nothing else."""
    sequence = np.random.SeedSequence([seed, step])
    stream = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    return np.random.default_rng(sequence), stream


def channels_last(module: AnyModule) -> AnyModule:
    """Lay a network's convolutions out channels-last, which is faster on CPUs; returns it."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this overload
    return module


def descend(loss: Tensor) -> None:
    """Backpropagate a scalar loss."""
    loss.backward()  # type: ignore[no-untyped-call]


@torch.no_grad()
def average(source: nn.Module, target: nn.Module, step: int, decay: float) -> None:
    """Move ``target`` towards ``source``: an exponential moving average with a warm-up of its decay."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), rate)
    for kept, fresh in zip(target.buffers(), source.buffers(), strict=True):
        kept.copy_(fresh)


def pace_optimizers(task: Task, scale: float) -> None:
    """Set every group's learning rate to its base rate times ``scale``."""
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * scale


def tensors_of(task: Task) -> dict[str, Tensor]:
    """Copies of all tensors of a run's state, with the CPU, by flat names."""
    tensors: dict[str, Tensor] = {}
    for kind, modules in (("module", task.modules), ("average", task.averages)):
        for name, module in modules.items():
            tensors |= {f"{kind}.{name}.{key}": value.contiguous() for key, value in module.state_dict().items()}
    for name, optimizer in task.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value).contiguous()
    return {key: value.to("cpu", copy=True) for key, value in tensors.items()}


def save_state(task: Task, folder: Path, step: int, elapsed_seconds: float) -> None:
    """Write the state beside the old one, then put both files in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{STATE_FILE}.partial"
    save_file(tensors_of(task), partial, metadata={"step": str(step), "elapsed_seconds": repr(elapsed_seconds)})
    partial.replace(folder / STATE_FILE)
    (folder / PROGRESS_FILE).write_text(json.dumps({"step": step, "elapsed_seconds": elapsed_seconds}))


def load_state(task: Task, folder: Path) -> tuple[int, float]:
    """Put a saved state back, onto the task's device; returns (step, elapsed seconds), zeros when there is none."""
    if not (folder / STATE_FILE).is_file():
        return 0, 0.0
    tensors = load_file(folder / STATE_FILE)
    for kind, modules in (("module", task.modules), ("average", task.averages)):
        for name, module in modules.items():
            prefix = f"{kind}.{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for name, optimizer in task.optimizers.items():
        restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith(f"optimizer.{name}.")})
    progress = json.loads((folder / PROGRESS_FILE).read_text())
    return int(progress["step"]), float(progress["elapsed_seconds"])


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer its saved moments back; each goes to where its parameter is."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")[2:]
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def train(task: Task, budget: Budget, pace: Pace, keeping: Keeping, hooks: Hooks = NO_HOOKS) -> int:
    """Train until the budget is used; returns the number of steps done in all."""
    step, elapsed = load_state(task, keeping.folder)
    started = saved = time.monotonic()
    before = elapsed
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task(keeping.folder.name, total=1000)
        while (used := budget.progress(step, elapsed)) < 1:
            scale = pace.scale(step, used)
            pace_optimizers(task, scale)
            figures = task.train_step(step, scale)
            step += 1
            elapsed = before + time.monotonic() - started
            shown = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
            bar.update(row, completed=int(1000 * used), description=f"{keeping.folder.name} {step} {shown}")
            if step % 100 == 0:
                log(keeping.folder, step, elapsed, figures)
            if step % keeping.sheet_steps == 0:
                task.sheet().save(keeping.folder / f"sheet-{step:06d}.png")
            if time.monotonic() - saved > keeping.save_seconds:
                keep(task, keeping.folder, step, elapsed, hooks)
                saved = time.monotonic()
            if hooks.on_step:
                hooks.on_step(step, budget.progress(step, elapsed), figures)
    keep(task, keeping.folder, step, elapsed, hooks)
    task.sheet().save(keeping.folder / f"sheet-{step:06d}.png")
    return step


def keep(task: Task, folder: Path, step: int, elapsed_seconds: float, hooks: Hooks) -> None:
    """Save the state and say so."""
    save_state(task, folder, step, elapsed_seconds)
    if hooks.on_save:
        hooks.on_save(folder, step)


def log(folder: Path, step: int, elapsed_seconds: float, figures: dict[str, float]) -> None:
    """Append one line of figures to the run's log."""
    folder.mkdir(parents=True, exist_ok=True)
    line = {"step": step, "elapsed_seconds": round(elapsed_seconds, 1)} | {k: round(v, 5) for k, v in figures.items()}
    with (folder / "log.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
