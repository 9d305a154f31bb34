"""The ControlNet's training: what it begins as, what learns, what is written; its maps; the figures that grade it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from worker.media.edges import canny
from worker.training.composites import as_bytes, combinations
from worker.training.controlnet import ControlNetSettings, ControlNetTask, build, led, write
from worker.training.evaluate import EvaluationSettings
from worker.training.evaluate_controlnet import agreement, drawn, trial
from worker.training.loop import Budget, Keeping, Pace, tensors_of, train
from worker.training.lora import load_pipeline
from worker.training.mapped import Mapped, as_maps, edges_of, encode
from worker.training.sprites import Sprites

STARTER = Path(__file__).parents[2] / "worker" / "starter" / "emoji-64"
SMALL = ControlNetSettings(batch=2, map_channels=(4, 4, 4, 4), sheet_steps=1)


@pytest.fixture(scope="module")
def mapped(sprites: Sprites) -> Mapped:
    return encode(load_pipeline(STARTER).vae, sprites, combinations(held_out=False)[:3], count=5, seed=1)


def task(mapped: Mapped) -> ControlNetTask:
    return ControlNetTask(SMALL, load_pipeline(STARTER), mapped)


def test_pictures_and_maps_belong_together_and_all_choices_come_before_one_comes_again(mapped: Mapped) -> None:
    assert mapped.values.shape == (5, 16, 8, 8)
    assert mapped.edges.shape == (5, 64, 64)
    assert len({tuple(row) for row in mapped.shown[:3].tolist()}) == 3
    clean, maps, shown = mapped.rows(torch.arange(5))
    assert clean.dtype == torch.float32
    assert [[item.noun, item.style, item.background] for item in shown] == mapped.shown.tolist()
    with torch.no_grad():
        decoded = load_pipeline(STARTER).vae.decode(clean).sample.permute(0, 2, 3, 1).numpy() / 2 + 0.5
    seen = edges_of(np.clip(decoded, 0, 1))
    assert agreement(mapped.edges, seen).mean() > agreement(mapped.edges.roll(1, dims=0), seen).mean()
    assert maps.unique().tolist() == [0.0, 1.0]


def test_maps_are_those_of_the_task_control() -> None:
    picture = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    theirs = torch.from_numpy(canny(as_bytes(picture))).permute(2, 0, 1).float() / 255
    assert torch.equal(as_maps(edges_of(picture[None]))[0], theirs)


def test_a_cache_comes_back_as_it_was(mapped: Mapped, tmp_path: Path) -> None:
    mapped.save(tmp_path / "mapped.safetensors")
    again = Mapped.load(tmp_path / "mapped.safetensors")
    assert torch.equal(again.values, mapped.values)
    assert torch.equal(again.edges, mapped.edges)
    assert torch.equal(again.shown, mapped.shown)


@torch.no_grad()
def test_it_begins_with_the_unets_weights_and_changes_nothing() -> None:
    base = load_pipeline(STARTER)
    net = build(base.unet, SMALL)
    theirs = base.unet.state_dict()
    assert torch.equal(net.mid_block.resnets[0].conv1.weight, theirs["mid_block.resnets.0.conv1.weight"])
    noisy, time, context = torch.randn(1, 16, 8, 8), torch.tensor([600]), torch.randn(1, 32, 192)
    down, middle = net(noisy, time, context, torch.ones(1, 3, 64, 64), return_dict=False)
    assert [tuple(part.shape[1:]) for part in (*down, middle)] == [
        (128, 8, 8), (128, 8, 8), (128, 4, 4), (192, 4, 4), (192, 4, 4)
    ]  # fmt: skip
    assert not any(part.any() for part in (*down, middle))


def test_steps_change_it_alone_and_a_resumed_run_equals_an_uninterrupted_one(mapped: Mapped, tmp_path: Path) -> None:
    whole = task(mapped)
    before = {name: value.clone() for name, value in whole.pipeline.unet.state_dict().items()}
    train(whole, Budget(steps=3), Pace(), Keeping(tmp_path / "whole"))
    assert whole.net.controlnet_mid_block.weight.any()
    assert all(torch.equal(value, before[name]) for name, value in whole.pipeline.unet.state_dict().items())

    pace = Pace()
    killed = task(mapped)
    train(killed, Budget(steps=1), pace, Keeping(tmp_path / "killed"))
    resumed = task(mapped)
    train(resumed, Budget(steps=3), pace, Keeping(tmp_path / "killed"))
    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@torch.no_grad()
def test_what_is_written_is_small_and_diffusers_reads_it_as_plain_floats(tmp_path: Path) -> None:
    net = build(load_pipeline(STARTER).unet, SMALL)
    write(tmp_path, net)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    size = sum(parameter.numel() for parameter in net.parameters())
    assert (tmp_path / "diffusion_pytorch_model.safetensors").stat().st_size < 1.3 * size

    again = ControlNetModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    for name, parameter in net.named_parameters():
        kept = again.get_parameter(name)
        assert torch.allclose(kept, parameter, rtol=0.07, atol=2e-3), name  # e4m3: three bits, steps of 2^-9 near zero


def test_agreement_forgives_a_pixel_and_no_more() -> None:
    line = torch.zeros(3, 16, 16, dtype=torch.bool)
    line[:, 4] = True
    moved = torch.stack([line[0].roll(1, dims=0), line[0].roll(2, dims=0), torch.zeros_like(line[0])])
    assert agreement(line, moved).tolist() == [1.0, 0.0, 0.0]
    half = line.clone()
    half[:, :, 8:] = False
    assert agreement(line, half)[0].item() == pytest.approx(2 * 1.0 * (9 / 16) / (1 + 9 / 16))
    assert agreement(half * False, half * False).tolist() == [1.0, 1.0, 1.0]


def test_at_scale_zero_the_map_says_nothing(mapped: Mapped, sprites: Sprites) -> None:
    settings = EvaluationSettings(count=2, steps=1)
    trained = task(mapped)
    torch.nn.init.normal_(trained.average.controlnet_mid_block.weight)
    torch.nn.init.normal_(trained.average.controlnet_cond_embedding.conv_out.weight)
    pipeline, wanted = led(trained.pipeline, trained.average), trial(sprites, settings)
    assert len(wanted.prompts) == len(wanted.items) == len(wanted.real) == 2
    nothing = torch.zeros_like(wanted.edges)
    free = drawn(pipeline, wanted, wanted.edges, 0.0, settings)
    assert np.array_equal(free, drawn(pipeline, wanted, nothing, 0.0, settings))
    assert not np.array_equal(free, drawn(pipeline, wanted, wanted.edges, 1.0, settings))
    assert trained.sheet().size == (2 * 64 * 5, 2 * 64 * 3)
