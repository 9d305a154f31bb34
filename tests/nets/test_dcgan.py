"""DCGAN: shapes for any power of two, and a round trip through a folder."""

import json
from pathlib import Path

import pytest
import torch

from worker.nets.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator
from worker.nets.folders import FolderError

CONFIG = DcganConfig(latent_dim=6, image_size=16, channels=3, widths=(12, 8))


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3), (64, 3)])
def test_any_power_of_two_fits(side: int, channels: int) -> None:
    torch.manual_seed(0)
    config = DcganConfig.for_size(side, channels, last_width=4, widest=16)
    pictures = DcganGenerator(config).eval()(torch.randn(2, config.latent_dim))
    assert pictures.shape == (2, channels, side, side)
    assert pictures.abs().max() <= 1
    assert DcganDiscriminator(config).eval()(pictures).shape == (2,)


def test_a_saved_generator_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = DcganGenerator(CONFIG).eval()
    generator.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = DcganGenerator.from_pretrained(tmp_path)
    latents = torch.randn(3, 6)
    assert loaded.config == CONFIG
    assert torch.equal(loaded(latents), generator(latents))


def test_one_latent_gives_one_picture_whatever_stands_beside_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    DcganGenerator(CONFIG).save_pretrained(tmp_path)
    generator = DcganGenerator.from_pretrained(tmp_path)
    latents = torch.randn(4, 6)
    assert torch.allclose(generator(latents)[:1], generator(latents[:1]), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"_class_name": "Other"}, "Other"), ({"image_size": 64}, "do not grow"), ({"widths": [8, 8]}, "another shape")],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    DcganGenerator(CONFIG).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FolderError, match=said):
        DcganGenerator.from_pretrained(tmp_path)
