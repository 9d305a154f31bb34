"""Portraits: what varies, what is repeated, and that hue turns keep grey and luminance."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.training import sources
from worker.training.portraits import LUMA, Look, PortraitSet, hue_matrix
from worker.training.sprites import FOLDERS


@pytest.fixture
def discs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PortraitSet:
    """A red and a blue disc, in one style."""
    folder = tmp_path / FOLDERS["flat"]
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:64, :64] - 31.5
    disc = (rows**2 + columns**2 < 1000)[..., None] * 255
    for name, colour in (("aa", (220, 20, 20)), ("bb", (20, 20, 220))):
        samples = np.concatenate([np.broadcast_to(colour, (64, 64, 3)), disc], axis=2)
        Image.fromarray(samples.astype(np.uint8)).save(folder / f"{name}.png")
    monkeypatch.setattr(sources, "fetch", lambda *_: tmp_path)
    return PortraitSet(tmp_path, ("aa", "bb"), styles=("flat",))


def test_a_batch_is_even_bounded_and_repeats(discs: PortraitSet) -> None:
    pictures, labels = discs.batch(8, 32, Look(), seed=3)
    assert pictures.shape == (8, 3, 32, 32)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert labels.tolist() == [0, 1] * 4
    middles = pictures[:, :, 16, 16]
    assert bool((middles[labels == 0][:, 0] > 0.5).all())
    assert bool((middles[labels == 1][:, 2] > 0.5).all())
    assert pictures.equal(discs.batch(8, 32, Look(), seed=3)[0])
    assert not pictures.equal(discs.batch(8, 32, Look(), seed=4)[0])


def test_the_ground_varies_and_the_sprite_moves(discs: PortraitSet) -> None:
    pictures, _ = discs.batch(16, 32, Look(), seed=0)
    corners = pictures[:, :, 0, 0]
    assert corners.std(dim=0).min() > 0.05
    edges = (pictures[::2, 0, 16] - pictures[::2, 2, 16] > 1).float().argmax(dim=1)
    assert len(set(edges.tolist())) > 1


def test_hue_turns_reach_other_colours_only_when_asked(discs: PortraitSet) -> None:
    plain, _ = discs.batch(16, 32, Look(), seed=0)
    turned, _ = discs.batch(16, 32, Look(hue_turns=0.5), seed=0)
    assert plain[::2, :, 16, 16].std(dim=0).max() < 0.05
    assert turned[::2, :, 16, 16].std(dim=0).min() > 0.2


@pytest.mark.parametrize("turns", [0.0, 0.1, 0.5, -0.3])
def test_a_hue_turn_keeps_grey_and_luminance(turns: float) -> None:
    matrix = hue_matrix(turns)
    assert matrix @ np.full(3, 0.4) == pytest.approx(np.full(3, 0.4), abs=1e-5)
    colour = np.array([0.9, 0.3, 0.1])
    assert LUMA @ matrix @ colour == pytest.approx(LUMA @ colour, abs=1e-5)
    if turns == 0:
        assert matrix == pytest.approx(np.eye(3), abs=1e-6)
