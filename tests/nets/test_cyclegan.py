"""CycleGAN: the public layout of its tensors, each norm and upsampling, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator, NormName, PatchDiscriminator, UpsamplingName
from worker.nets.folders import FolderError

CONFIG = CycleGanConfig(ngf=4, n_blocks=2)


def public_generator(width: int) -> nn.Sequential:
    """The layers of the public implementation with two blocks and instance norm, in its order, without its blocks."""
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.InstanceNorm2d(4 * width), nn.ReLU(),
        nn.Identity(), nn.Identity(),
        nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), nn.InstanceNorm2d(width), nn.ReLU(),
        nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh(),
    )  # fmt: skip


def test_a_public_state_dict_loads_and_gives_the_same_picture() -> None:
    """Blocks that add nothing make the generator equal to the layers round them."""
    torch.manual_seed(0)
    theirs = public_generator(4).eval()
    tensors = {f"module.model.{name}": value for name, value in theirs.state_dict().items()}
    for block in (10, 11):
        for place in (1, 5):
            tensors[f"module.model.{block}.conv_block.{place}.weight"] = torch.zeros(16, 16, 3, 3)
            tensors[f"module.model.{block}.conv_block.{place}.bias"] = torch.zeros(16)
        tensors[f"module.model.{block}.conv_block.2.running_mean"] = torch.zeros(16)  # as old files have
    ours = CycleGanGenerator.from_state_dict(CONFIG, tensors)
    pictures = torch.rand(2, 3, 16, 24) * 2 - 1
    assert torch.allclose(ours(pictures), theirs(pictures), atol=1e-6)


def test_the_public_shapes_of_nine_blocks() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in CycleGanGenerator(CycleGanConfig()).state_dict().items()}
    assert len(shapes) == 2 * 24
    assert shapes["model.1.weight"] == (64, 3, 7, 7)
    assert shapes["model.10.conv_block.5.bias"] == (256,)
    assert shapes["model.19.weight"] == (256, 128, 3, 3)
    assert shapes["model.26.weight"] == (3, 64, 7, 7)
    with torch.device("meta"):
        affine = CycleGanGenerator(CycleGanConfig(norm="instance_affine")).state_dict()
    assert len(affine) == 94
    assert "model.10.conv_block.2.weight" in affine


@pytest.mark.parametrize("norm", ["instance", "instance_affine", "batch"])
@pytest.mark.parametrize("upsampling", ["transpose", "resize"])
def test_each_kind_keeps_size_and_range_and_comes_back(
    tmp_path: Path, norm: NormName, upsampling: UpsamplingName
) -> None:
    torch.manual_seed(0)
    config = CycleGanConfig(ngf=4, n_blocks=1, norm=norm, upsampling=upsampling, dropout=True)
    generator = CycleGanGenerator(config).eval()
    pictures = torch.rand(1, 3, 12, 20) * 2 - 1
    made = generator(pictures)
    assert made.shape == pictures.shape
    assert made.abs().max() <= 1
    generator.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = CycleGanGenerator.from_pretrained(tmp_path)
    assert loaded.config == config
    assert torch.equal(loaded(pictures), made)


def test_sides_must_be_multiples_of_four() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        CycleGanGenerator(CONFIG)(torch.zeros(1, 3, 16, 18))


def test_patches_are_scored_one_by_one() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(3, width=4, levels=2)
    pictures = torch.rand(1, 3, 64, 64)
    scores = critic(pictures)
    assert scores.shape[:2] == (1, 1)
    assert scores.shape[2] > 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm": "layer"}, "norm must be"),
        ({"upsampling": "shuffle"}, "upsampling"),
        ({"ngf": 8}, "another shape"),
        ({"n_blocks": 3}, "missing"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    CycleGanGenerator(CONFIG).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FolderError, match=said):
        CycleGanGenerator.from_pretrained(tmp_path)
