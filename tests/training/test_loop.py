"""The loop: budgets, the learning rate, and that a killed run, resumed, equals an uninterrupted one."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from worker.training.conditional_gan import GanSettings, GanTask
from worker.training.loop import (
    STATE_FILE,
    Budget,
    Hooks,
    Keeping,
    Pace,
    Task,
    average,
    rng_of,
    tensors_of,
    train,
)
from worker.training.muon import Rates, optimizers_of, orthogonalised
from worker.training.sprites import Sprites
from worker.training.vae import VaeSettings, VaeTask, composites


class LineTask:
    """Fits a small network by Muon and AdamW; can be told to die before a step."""

    def __init__(self, dies_before: int | None = None) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))
        self.kept = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)).requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"net": self.net}
        self.averages: dict[str, nn.Module] = {"net": self.kept}
        self.optimizers = optimizers_of([self.net], ("1.",), Rates(muon=1e-2, adamw=1e-2))
        self.dies_before = dies_before

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        del scale
        if step == self.dies_before:
            raise KeyboardInterrupt
        _, stream = rng_of(7, step)
        loss = (self.net(torch.randn(16, 4, generator=stream)) - 1).square().mean()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.net, self.kept, step, 0.9)
        return {"loss": loss.item()}

    def sheet(self) -> Image.Image:
        return Image.new("L", (1, 1))


def run(task: Task, folder: Path, steps: int) -> int:
    return train(task, Budget(steps=steps), Pace(warmup_steps=2), Keeping(folder, save_seconds=0))


def same(left: Task, right: Task) -> bool:
    ours, theirs = tensors_of(left), tensors_of(right)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_killed_run_resumed_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = LineTask()
    run(whole, tmp_path / "whole", 4)
    with pytest.raises(KeyboardInterrupt):
        run(LineTask(dies_before=2), tmp_path / "killed", 4)
    resumed = LineTask()
    assert run(resumed, tmp_path / "killed", 4) == 4
    assert same(whole, resumed)


def test_a_job_hears_of_steps_and_states_and_may_end_the_run(tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    kept: list[int] = []

    def on_step(step: int, progress: float, figures: dict[str, float]) -> None:
        heard.append((step, progress))
        assert figures.keys() == {"loss"}
        if step == 3:
            raise InterruptedError

    def on_save(folder: Path, step: int) -> None:
        assert load_file(folder / STATE_FILE)
        kept.append(step)

    hooks = Hooks(on_step, on_save)
    with pytest.raises(InterruptedError):
        train(LineTask(), Budget(steps=4), Pace(warmup_steps=2), Keeping(tmp_path, save_seconds=0), hooks)
    assert heard == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert kept == [1, 2, 3]
    # The state that was saved before the interruption is where the next run begins.
    whole, resumed = LineTask(), LineTask()
    run(whole, tmp_path / "whole", 4)
    run(resumed, tmp_path, 4)
    assert same(whole, resumed)


def small_gan() -> GanTask:
    stream = torch.Generator().manual_seed(0)
    pictures, labels = torch.randn(32, 1, 32, 32, generator=stream), torch.arange(32) % 10
    return GanTask(GanSettings(batch=4, calibration_batches=1), pictures, labels, tuple("abcdefghij"))


def test_two_gan_steps_in_two_runs_equal_two_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small_gan()
    run(whole, tmp_path / "whole", 2)
    half = small_gan()
    take_step, calls = half.train_step, itertools.count()

    def once(step: int, scale: float) -> dict[str, float]:
        if next(calls):
            raise KeyboardInterrupt
        return take_step(step, scale)

    monkeypatch.setattr(half, "train_step", once)
    with pytest.raises(KeyboardInterrupt):
        run(half, tmp_path / "half", 2)
    resumed = small_gan()
    run(resumed, tmp_path / "half", 2)
    assert same(whole, resumed)


def test_the_autoencoder_learns_only_its_decoder_when_told_so(sprites: Sprites, tmp_path: Path) -> None:
    settings = VaeSettings(batch=2)
    first = VaeTask(settings, *composites(settings, sprites))
    run(first, tmp_path / "first", 1)
    second = VaeTask(settings, *composites(settings, sprites), encoder_run=tmp_path / "first")
    before = {name: value.clone() for name, value in second.vae.state_dict().items()}
    second.train_step(0, 1.0)
    moved = {name for name, value in second.vae.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)


def test_budget_counts_the_nearer_end() -> None:
    assert Budget(steps=10).progress(5, 0) == 0.5
    assert Budget(minutes=1).progress(5, 30) == 0.5
    assert Budget(steps=10, minutes=1).progress(9, 30) == 0.9
    assert Budget(steps=10).progress(50, 0) == 1


def test_the_rate_warms_up_stays_and_falls() -> None:
    pace = Pace(warmup_steps=10, decay_from=0.5, floor=0.0)
    assert pace.scale(0, 0.0) == pytest.approx(0.1)
    assert pace.scale(100, 0.3) == 1
    assert pace.scale(100, 0.75) == pytest.approx(0.5)
    assert pace.scale(100, 1.0) == pytest.approx(0)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.5
    assert orthogonalised(matrix.T).shape == (30, 12)


def test_a_step_has_its_own_randomness() -> None:
    draws = [rng_of(1, step)[0].random() for step in (0, 1)] + [rng_of(2, 0)[0].random()]
    assert len(set(draws)) == 3
    assert rng_of(1, 0)[0].random() == draws[0]
    assert np.isclose(torch.rand(1, generator=rng_of(1, 3)[1]), torch.rand(1, generator=rng_of(1, 3)[1]))
