"""Grading portraits: the judge chooses among the checkpoint's classes only, and small pictures are enlarged for it."""

import torch

from worker.nets.judge import Judge
from worker.training.class_diffusion import codepoints_of
from worker.training.evaluate_portraits import Portrayed, enlarged, share_named
from worker.training.nouns import nouns
from worker.training.portraits import Look
from worker.training.sprites import STYLES

NAMES = ("panda", "apple")


def test_a_picture_counts_when_its_class_scores_highest_among_the_classes() -> None:
    shown = Portrayed(NAMES, codepoints_of(NAMES), 64, Look())
    torch.manual_seed(0)
    judge = Judge(len(nouns()), len(STYLES)).eval()
    panda, apple = ([noun.english for noun in nouns()].index(name) for name in NAMES)
    with torch.no_grad():
        judge.noun.weight.zero_()
        judge.noun.bias.fill_(9.0)  # every other noun scores higher, and is not asked for
        judge.noun.bias[[panda, apple]] = torch.tensor([1.0, 0.0])
        report = share_named(judge, torch.zeros(4, 3, 64, 64), torch.tensor([0, 0, 0, 1]), shown)
    assert report["share"] == 0.75
    assert report["each"] == {"panda": 1.0, "apple": 0.0}
    assert report["count"] == 4


def test_small_pictures_are_enlarged_and_large_ones_left() -> None:
    small, large = torch.full((1, 3, 32, 32), 0.5), torch.rand(1, 3, 64, 64)
    assert enlarged(small).shape == (1, 3, 64, 64)
    assert torch.allclose(enlarged(small), torch.tensor(0.5), atol=1e-5)
    assert torch.equal(enlarged(large), large)
