"""The GAN's networks: shapes, ranges, and a round trip through a folder."""

import json
from pathlib import Path

import pytest
import torch

from worker.nets.conditional_gan import ConditionalGenerator, GeneratorConfig, ProjectionDiscriminator

CONFIG = GeneratorConfig(("left", "right"), num_classes=2, latent_dim=8, widths=(16, 12, 8, 8), class_dim=4)


def test_generator_and_discriminator_fit_together() -> None:
    torch.manual_seed(0)
    pictures = ConditionalGenerator(CONFIG)(torch.randn(3, 8), torch.tensor([0, 1, 1]))
    assert pictures.shape == (3, 1, 32, 32)
    assert pictures.abs().max() <= 1
    assert ProjectionDiscriminator(2, widths=(8, 8, 8, 8))(pictures, torch.tensor([0, 1, 1])).shape == (3,)


def test_the_class_changes_the_picture() -> None:
    torch.manual_seed(0)
    generator = ConditionalGenerator(CONFIG).eval()
    latents = torch.randn(1, 8)
    left, right = (generator(latents, torch.tensor([label])) for label in (0, 1))
    assert not torch.equal(left, right)


def test_a_saved_generator_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = ConditionalGenerator(CONFIG).eval()
    generator.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = ConditionalGenerator.from_pretrained(tmp_path)
    latents, labels = torch.randn(2, 8), torch.tensor([0, 1])
    assert torch.equal(loaded(latents, labels), generator(latents, labels))
    assert loaded.config == CONFIG


def test_a_foreign_config_is_refused(tmp_path: Path) -> None:
    ConditionalGenerator(CONFIG).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "Other"}))
    with pytest.raises(ValueError, match="Other"):
        ConditionalGenerator.from_pretrained(tmp_path)


def test_a_config_must_agree_with_itself() -> None:
    with pytest.raises(ValueError, match="class names"):
        GeneratorConfig(("one",), num_classes=2)
    with pytest.raises(ValueError, match="do not grow"):
        GeneratorConfig(("one",), num_classes=1, image_size=64)
