"""The judge: shapes and a round trip."""

from pathlib import Path

import torch

from worker.nets.judge import Judge


def test_a_saved_judge_judges_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Judge(nouns=5, styles=3, widths=(8, 8, 8, 8)).eval()
    judge.save_pretrained(tmp_path)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    noun, style = judge(images)
    assert noun.shape == (2, 5)
    assert style.shape == (2, 3)
    for ours, theirs in zip(Judge.from_pretrained(tmp_path)(images), (noun, style), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-2)
