"""BigGAN: the public layout, truncation, standing statistics, blending of classes, and what is refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from worker.nets.biggan import BigGan, BigGanConfig, Norm, truncated_noise
from worker.nets.folders import FolderError

CONFIG = BigGanConfig(
    output_dim=16,
    z_dim=6,
    class_embed_dim=6,
    channel_width=4,
    num_classes=3,
    layers=((True, 16, 8), (False, 8, 4), (True, 4, 2), (False, 2, 1)),
    attention_layer_position=1,
    n_stats=5,
    class_names=("one", "two", "three"),
)


@pytest.fixture(scope="module")
def model() -> BigGan:
    """A small one with random weights and measured statistics."""
    torch.manual_seed(0)
    net = BigGan(CONFIG).requires_grad_(requires_grad=False)
    stream = torch.Generator().manual_seed(0)
    net.measure(range(5), truncated_noise([stream] * 48, 6), torch.arange(48) % 3)
    return net.eval()


def noise(count: int, truncation: float = 1.0, seed: int = 1) -> torch.Tensor:
    return truncated_noise([torch.Generator().manual_seed(seed)] * count, 6, truncation)


def test_shapes_range_and_classes(model: BigGan) -> None:
    pictures = model(noise(3), torch.tensor([0, 1, 2]))
    assert pictures.shape == (3, 3, 16, 16)
    assert pictures.abs().max() <= 1
    same = noise(1).expand(3, -1)
    assert model(same, torch.tensor([0, 1, 2])).std(dim=0).mean() > 0.01


def test_noise_is_cut_off_and_scaled_and_seeded() -> None:
    streams = [torch.Generator().manual_seed(seed) for seed in (1, 2, 1)]
    rows = truncated_noise(streams, 4000)
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    assert rows.abs().max() <= 2
    assert rows.std() == pytest.approx(0.88, abs=0.02)  # of a normal cut off at two deviations
    mixed = truncated_noise([torch.Generator().manual_seed(1) for _ in range(2)], 50, torch.tensor([1.0, 0.5]))
    assert torch.allclose(mixed[1], mixed[0] / 2)
    assert truncated_noise([torch.Generator().manual_seed(1)], 4000, 0.3)[0] == pytest.approx(0.3 * rows[0], abs=1e-5)


def test_truncation_draws_the_pictures_of_a_class_together(model: BigGan) -> None:
    labels = torch.zeros(48, dtype=torch.long)
    wide, narrow = (model(noise(48, truncation), labels, truncation).std(dim=0).mean() for truncation in (1.0, 0.25))
    assert narrow < 0.8 * wide


def test_statistics_are_measured_per_truncation_and_interpolated(model: BigGan) -> None:
    norm = model.generator.bn
    assert isinstance(norm, Norm)
    assert not torch.allclose(norm.running_vars[1], norm.running_vars[4])
    mean, variance = norm.statistics(torch.tensor([0.25, 0.375, 1.0]))
    assert torch.allclose(mean[0], norm.running_means[1])
    assert torch.allclose(variance[1], (norm.running_vars[1] + norm.running_vars[2]) / 2)
    assert torch.allclose(mean[2], norm.running_means[4])


def test_measured_statistics_whiten_what_they_were_measured_on(model: BigGan) -> None:
    stream = torch.Generator().manual_seed(0)
    values = truncated_noise([stream] * 48, 6)
    seen: list[torch.Tensor] = []
    norm = next(module for name, module in model.named_modules() if name == "generator.layers.0.bn_1")
    assert isinstance(norm, Norm)
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(values, torch.arange(48) % 3)
    hook.remove()
    assert torch.allclose(seen[0].mean(dim=(0, 2, 3)), norm.running_means[4], atol=1e-4)


def test_each_picture_may_have_its_own_truncation(model: BigGan) -> None:
    values, labels = noise(2), torch.tensor([0, 1])
    both = model(values, labels, torch.tensor([0.5, 1.0]))
    assert torch.allclose(both[:1], model(values[:1], labels[:1], 0.5), atol=1e-5)
    assert torch.allclose(both[1:], model(values[1:], labels[1:], 1.0), atol=1e-5)


def test_classes_blend(model: BigGan) -> None:
    values = noise(1)
    pure = model(values, torch.tensor([1]))
    assert torch.allclose(model(values, torch.tensor([[0.0, 1.0, 0.0]])), pure, atol=1e-5)
    assert not torch.allclose(model(values, torch.tensor([[0.5, 0.5, 0.0]])), pure, atol=1e-3)


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.01])
def test_a_truncation_out_of_range_is_refused(model: BigGan, truncation: float) -> None:
    with pytest.raises(ValueError, match="truncation"):
        model(noise(1), torch.tensor([0]), truncation)


def test_a_saved_model_comes_back_and_is_laid_out_as_the_public_ones(model: BigGan, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = BigGan.from_pretrained(tmp_path)
    assert loaded.config == CONFIG
    values, labels = noise(2, 0.6), torch.tensor([0, 2])
    assert torch.equal(loaded(values, labels, 0.6), model(values, labels, 0.6))
    public = {"embeddings.weight", "generator.gen_z.weight_u", "generator.layers.0.bn_3.scale.weight_orig"}
    public |= {"generator.layers.1.snconv1x1_o_conv.weight_v", "generator.layers.1.gamma"}
    public |= {"generator.layers.2.conv_0.bias", "generator.bn.running_vars", "generator.conv_to_rgb.weight_orig"}
    assert public <= loaded.state_dict().keys()


def test_a_public_config_builds_the_public_shapes() -> None:
    """biggan-deep-128's config.json, without class names, on no memory at all."""
    config = {key: value for key, value in asdict(BigGanConfig()).items() if key != "class_names"}
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in BigGan(BigGanConfig(**config)).state_dict().items()}
    assert shapes["embeddings.weight"] == (128, 1000)
    assert shapes["generator.gen_z.weight_orig"] == (32768, 256)
    assert shapes["generator.layers.3.conv_3.weight_orig"] == (1024, 512, 1, 1)
    assert shapes["generator.layers.8.snconv1x1_theta.weight_orig"] == (32, 256, 1, 1)
    assert shapes["generator.layers.10.bn_0.running_means"] == (51, 256)
    assert shapes["generator.bn.weight"] == (128,)
    assert len([name for name in shapes if name.endswith("weight_orig")]) == 1 + 10 * 12 + 4 + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output_dim": 32}, "do not grow"),
        ({"layers": ((True, 16, 8), (True, 4, 2), (False, 2, 1))}, "takes the width"),
        ({"layers": ((True, 16, 2), (True, 2, 1))}, "halves"),
        ({"class_embed_dim": 8}, "class_embed_dim"),
        ({"num_classes": 4}, "class names"),
        ({"n_stats": 1}, "n_stats"),
        ({"channel_width": 2}, "colours"),
    ],
)
def test_a_config_must_agree_with_itself(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **change)


def test_a_folder_of_something_else_is_refused(model: BigGan, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"channel_width": 8}))
    with pytest.raises(FolderError, match="another shape"):
        BigGan.from_pretrained(tmp_path)
    path.write_text(json.dumps({"_class_name": "DcganGenerator"}))
    with pytest.raises(FolderError, match="no BigGAN"):
        BigGan.from_pretrained(tmp_path)
