"""Fixtures of the training tests: a small stand-in for the sprite packages, one thread."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from worker.training import sources
from worker.training.nouns import nouns
from worker.training.sprites import FOLDERS, STYLES, Sprites


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Sprites:
    """Sprites of every noun and style, drawn as coloured discs instead of fetched."""
    root = tmp_path_factory.mktemp("sprites")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32] - 15.5
    disc = (rows**2 + columns**2 < 200)[..., None] * 255
    for style in STYLES:
        folder = root / style / FOLDERS[style]
        folder.mkdir(parents=True)
        for noun in nouns():
            colour = np.broadcast_to(rng.integers(0, 256, 3), (32, 32, 3))
            Image.fromarray(np.concatenate([colour, disc], axis=2).astype(np.uint8)).save(
                folder / f"{noun.codepoints}.png"
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "fetch", lambda style, _: root / style)
        return Sprites(root)
