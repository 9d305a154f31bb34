"""The GANs' trainings on plain tensors: a killed run resumed equals an uninterrupted one; what is kept generates."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from worker.nets.biggan import BigGan, truncated_noise
from worker.nets.conditional_gan import ConditionalGenerator
from worker.nets.cyclegan import CycleGanConfig
from worker.nets.dcgan import DcganGenerator
from worker.nets.stylegan2 import StyleGan2Config, StyleGan2Generator
from worker.training.adversarial import Augmentation
from worker.training.biggan import BigGanSettings, BigGanTask
from worker.training.conditional_gan import GanSettings, GanTask
from worker.training.cyclegan import CycleGanSettings, CycleGanTask, FakePool
from worker.training.dcgan import DcganSettings, DcganTask
from worker.training.loop import Budget, Keeping, Pace, Task, tensors_of, train
from worker.training.stylegan2 import StyleGan2Settings, StyleGan2Task

GENTLE = Augmentation(shift_pixels=1, cutout_pixels=4, brightness=0.1, contrast=0.1, saturation=0.1)


def pictures(count: int = 24, side: int = 16, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def labels(count: int = 24, classes: int = 3) -> torch.Tensor:
    return torch.arange(count) % classes


def dcgan() -> DcganTask:
    settings = DcganSettings(batch=4, latent_dim=8, last_width=4, widest=8, augmentation=GENTLE, calibration_batches=1)
    return DcganTask(settings, pictures())


def stylegan2() -> StyleGan2Task:
    config = StyleGan2Config(latent_dim=8, style_dim=8, mapping_layers=2, image_size=16, widths=(8, 8, 4))
    settings = StyleGan2Settings(
        batch=4,
        config=config,
        discriminator_widths=(4, 8, 8),
        r1_steps=2,
        path_weight=1.0,
        path_steps=2,
        augmentation=GENTLE,
        mean_latents=64,
    )
    return StyleGan2Task(settings, pictures())


def biggan() -> BigGanTask:
    settings = BigGanSettings(
        batch=4,
        z_dim=6,
        channel_width=4,
        layers=((True, 16, 8), (True, 8, 4), (False, 4, 2), (False, 2, 1)),
        attention_layer_position=1,
        discriminator_widths=(4, 8, 8),
        augmentation=GENTLE,
        measured_pictures=12,
    )
    return BigGanTask(settings, pictures(), labels(), ("one", "two", "three"))


def cyclegan() -> CycleGanTask:
    config = CycleGanConfig(ngf=4, n_blocks=1, upsampling="resize")
    settings = CycleGanSettings(batch=2, config=config, discriminator_width=4, pool=3)
    return CycleGanTask(settings, pictures(), -pictures())


def conditional_gan() -> GanTask:
    settings = GanSettings(batch=4, latent_dim=6, class_dim=3, widths=(12, 8, 6, 4), calibration_batches=1)
    return GanTask(settings, pictures(), labels(), ("one", "two", "three"))


MAKERS: tuple[Callable[[], Task], ...] = (dcgan, stylegan2, biggan, cyclegan, conditional_gan)


def run(task: Task, folder: Path, steps: int) -> None:
    train(task, Budget(steps=steps), Pace(warmup_steps=2), Keeping(folder, save_seconds=0))


@pytest.mark.parametrize("make", MAKERS)
def test_a_killed_run_resumed_equals_an_uninterrupted_one(
    make: Callable[[], Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make()
    run(whole, tmp_path / "whole", 4)
    killed = make()
    take_step, calls = killed.train_step, itertools.count()

    def twice(step: int, scale: float) -> dict[str, float]:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return take_step(step, scale)

    monkeypatch.setattr(killed, "train_step", twice)
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "killed", 4)
    resumed = make()
    run(resumed, tmp_path / "killed", 4)
    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_finished_generators_are_saved_and_draw(tmp_path: Path) -> None:
    noise = torch.randn(2, 8)
    task = dcgan()
    run(task, tmp_path / "run-1", 1)
    task.calibrated().save_pretrained(tmp_path / "dcgan")
    assert DcganGenerator.from_pretrained(tmp_path / "dcgan")(noise).shape == (2, 3, 16, 16)
    styled = stylegan2()
    run(styled, tmp_path / "run-2", 1)
    styled.finished().save_pretrained(tmp_path / "stylegan2")
    loaded = StyleGan2Generator.from_pretrained(tmp_path / "stylegan2")
    assert loaded(noise, 0.7).shape == (2, 3, 16, 16)
    assert loaded.w_mean.abs().max() > 0


def test_a_finished_biggan_knows_its_classes_and_its_statistics(tmp_path: Path) -> None:
    task = biggan()
    run(task, tmp_path / "run", 1)
    task.finished().save_pretrained(tmp_path / "biggan")
    model = BigGan.from_pretrained(tmp_path / "biggan")
    assert model.config.class_names == ("one", "two", "three")
    means = model.generator.bn.get_buffer("running_means")
    assert means.shape == (51, 4)
    assert not torch.equal(means[10], means[50])
    noise = truncated_noise([torch.Generator().manual_seed(0)], 6, 0.5)
    assert model(noise, torch.tensor([2]), 0.5).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (64, 1), (16, 3)])
def test_the_conditional_gan_takes_grey_or_colour_of_any_size(side: int, channels: int, tmp_path: Path) -> None:
    settings = GanSettings(batch=2, latent_dim=6, class_dim=3, widths=(8, 8, 6, 4), calibration_batches=1)
    task = GanTask(settings, pictures(6, side, channels), labels(6), ("left", "middle", "right"))
    run(task, tmp_path / "run", 1)
    task.calibrated().save_pretrained(tmp_path / "gan")
    made = ConditionalGenerator.from_pretrained(tmp_path / "gan")(torch.randn(2, 6), torch.tensor([0, 2]))
    assert made.shape == (2, channels, side, side)


def test_stylegan2_refuses_pictures_of_another_size() -> None:
    with pytest.raises(ValueError, match="the config says"):
        StyleGan2Task(StyleGan2Settings(), pictures(side=16))


def test_the_pool_shows_new_fakes_until_it_is_full_and_then_some_older_ones() -> None:
    pool = FakePool(4, (1, 1, 1))
    stream = torch.Generator().manual_seed(0)
    first = torch.arange(4.0).view(4, 1, 1, 1)
    assert torch.equal(pool.exchange(first, stream), first)
    shown = pool.exchange(torch.arange(4.0, 36.0).view(32, 1, 1, 1), stream)
    older = [value for place, value in enumerate(shown.flatten().tolist()) if value != place + 4]
    assert 0 < len(older) < 32
    # Nothing is shown twice by the exchange, and nothing is lost but what was shown.
    every = sorted(shown.flatten().tolist() + pool.pictures.flatten().tolist())
    assert every == [float(value) for value in range(36)]


def test_the_cycle_comes_closer_in_a_few_steps() -> None:
    settings = CycleGanSettings(batch=4, config=CycleGanConfig(ngf=8, n_blocks=1), discriminator_width=4, rate=2e-3)
    smooth = torch.linspace(-1, 1, 16).expand(8, 3, 16, 16)
    task = CycleGanTask(settings, smooth, -smooth)
    figures = [task.train_step(step, 1.0)["cycle"] for step in range(25)]
    assert sum(figures[-3:]) < 0.8 * sum(figures[:3])
