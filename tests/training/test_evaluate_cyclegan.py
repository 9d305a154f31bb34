"""Grading the CycleGAN: pairs of unseen nouns, alike in all but style, and figures that tell nothing from something."""

import torch
from torch import Tensor, nn

from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator
from worker.nets.judge import Judge
from worker.training.cyclegan import HELD_OUT_NOUNS, is_unseen, pile
from worker.training.evaluate_cyclegan import measure, pairs
from worker.training.nouns import nouns
from worker.training.sprites import STYLES, Sprites


class Unchanged(CycleGanGenerator):
    """A generator that gives back what it gets."""

    def __init__(self) -> None:
        super().__init__(CycleGanConfig(ngf=4, n_blocks=0))
        self.model = nn.Sequential(nn.Identity())

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures


def test_pairs_differ_in_the_sprite_alone(sprites: Sprites) -> None:
    flat, round_ = pairs(sprites, 12)
    assert flat.shape == round_.shape == (12, 3, 64, 64)
    assert torch.equal(flat[:, :, 0], round_[:, :, 0])  # the upper edge is ground
    assert not torch.equal(flat[:, :, 32, 32], round_[:, :, 32, 32])
    assert torch.equal(flat, pairs(sprites, 12)[0])


def test_the_piles_never_show_an_unseen_noun(sprites: Sprites) -> None:
    unseen = [noun for noun in range(len(nouns())) if is_unseen(noun)]
    assert len(unseen) == -(-len(nouns()) // HELD_OUT_NOUNS)
    colours = {
        tuple(round(value * 255) for value in sprites.scaled(noun, STYLES.index("flat"), 48)[24, 24, :3].tolist())
        for noun in unseen
    }
    shown = ((pile(sprites, "flat", 60, 0)[:, :, 32, 32] + 1) * 127.5).round().int().tolist()
    assert colours.isdisjoint({tuple(colour) for colour in shown})


def test_a_generator_that_changes_nothing_is_told_so(sprites: Sprites) -> None:
    torch.manual_seed(0)
    judge = Judge(len(nouns()), len(STYLES)).eval()
    report = measure(Unchanged(), Unchanged(), judge, ("flat", "3d"), pairs(sprites, 6))
    assert report["psnr_db there and back"] == 100
    assert report["mean absolute error to the real pair"] == report["mean absolute error before translation"]
    assert report["judge sees 3d"] == report["judge sees 3d before translation"]
    kept = report["judge names the noun as before"]
    assert isinstance(kept, dict)
    assert kept["share"] == 1
    assert kept["low"] < 1
