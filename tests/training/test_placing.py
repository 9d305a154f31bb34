"""Trainings on a device that is not the CPU: everything is where it belongs, and the numbers are those of the CPU.

Gradients of subclasses are summed in another order, so what is compared may differ by what last bits grow to in a step.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests.elsewhere import CPU, ELSEWHERE, Elsewhere
from tests.training import test_diffusion, test_gans, test_gaussian_vae
from worker.training.conditional_gan import GanTask
from worker.training.dcgan import DcganTask
from worker.training.diffusion import DiffusionTask
from worker.training.gaussian_vae import GaussianVaeTask
from worker.training.loop import Task, load_state, pace_optimizers, save_state, tensors_of
from worker.training.placing import figures_of, sent

Maker = Callable[[torch.device], Task]


def dcgan(device: torch.device) -> DcganTask:
    small = test_gans.dcgan()
    return DcganTask(small.settings, small.pictures.half(), device)


def conditional_gan(device: torch.device) -> GanTask:
    small = test_gans.conditional_gan()
    return GanTask(small.settings, small.pictures, small.labels, small.config.class_names, device)


def vae(device: torch.device) -> GaussianVaeTask:
    return GaussianVaeTask(test_gaussian_vae.SMALL, test_gaussian_vae.discs(), device)


def class_diffusion(device: torch.device) -> DiffusionTask:
    return DiffusionTask(test_diffusion.SMALL, *test_diffusion.shades(), test_diffusion.NAMES, device)


def diffusion(device: torch.device) -> DiffusionTask:
    return DiffusionTask(test_diffusion.SMALL, test_diffusion.shades()[0], None, device=device)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    """The device is there; autocast is off on both."""
    with Elsewhere(monkeypatch) as entered:
        yield entered


def steps(task: Task, first: int, count: int) -> list[dict[str, float]]:
    figures = []
    for step in range(first, first + count):
        pace_optimizers(task, 1.0)
        figures.append(task.train_step(step, 1.0))
    return figures


def levels(sheet: Image.Image) -> NDArray[np.int16]:
    return np.asarray(sheet, np.int16)


def places(task: Task) -> dict[torch.device, list[str]]:
    """Which weights, averages, statistics and moments are on which device."""
    found: dict[torch.device, list[str]] = {}
    named: dict[str, Tensor] = {}
    for kind in (task.modules, task.averages):
        for name, module in kind.items():
            named |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in task.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            named |= {f"{name}.{index}.{key}": value for key, value in moments.items() if key != "step"}
    for name, tensor in named.items():
        found.setdefault(tensor.device, []).append(name)
    return found


@pytest.mark.parametrize("make", [dcgan, conditional_gan, vae, class_diffusion, diffusion])
def test_a_training_elsewhere_is_that_of_the_cpu(make: Maker, elsewhere: Elsewhere) -> None:
    theirs = make(ELSEWHERE)
    before = elsewhere.waits
    figures = steps(theirs, 0, 2)
    assert elsewhere.waits - before == 2, "a step waits for the device once, to read its figures"
    assert places(theirs).keys() == {ELSEWHERE}
    drawn = levels(theirs.sheet())
    assert elsewhere.autocasts == {ELSEWHERE.type}
    ours = make(CPU)
    assert figures == [pytest.approx(expected, rel=0.01) for expected in steps(ours, 0, 2)]
    assert places(ours).keys() == {CPU}
    assert np.abs(levels(ours.sheet()) - drawn).max() <= 2


@pytest.mark.parametrize("make", [dcgan, conditional_gan, vae])
def test_a_state_goes_on_on_another_device(make: Maker, elsewhere: Elsewhere, tmp_path: Path) -> None:
    before = make(CPU)
    steps(before, 0, 1)
    for step, device in enumerate((ELSEWHERE, CPU), start=1):
        save_state(before, tmp_path, step, 1.0)
        resumed = make(device)
        assert load_state(resumed, tmp_path) == (step, 1.0)
        assert places(resumed).keys() == {device}
        ours, theirs = tensors_of(before), tensors_of(resumed)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
        assert steps(resumed, step, 1) == [pytest.approx(figures, rel=0.01) for figures in steps(before, step, 1)]
        before = resumed


def test_the_device_that_is_not_here_mixes_with_nothing(elsewhere: Elsewhere) -> None:
    here = torch.arange(3.0)
    there = sent(here, ELSEWHERE)
    assert there.device == ELSEWHERE
    assert torch.equal((there * 2 + torch.tensor(1.0)).cpu(), here * 2 + 1)
    for mixed in (
        lambda: there + here,
        lambda: here.add_(there),
        lambda: there[here.long()],
        lambda: here[there.long()],
    ):
        with pytest.raises(RuntimeError, match="tensors of lazy and of the CPU"):
            mixed()
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    assert elsewhere.waits == 1
    assert figures_of(one=there[1], two=there[2]) == {"one": 1.0, "two": 2.0}
