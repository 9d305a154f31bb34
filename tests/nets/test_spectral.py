"""Spectral normalisation: the largest singular value is one, and torch's older hook stores the same tensors."""

import torch
from torch import nn

from worker.nets.spectral import SpectralConv, SpectralLinear


def test_the_largest_singular_value_becomes_one() -> None:
    torch.manual_seed(0)
    layer = SpectralLinear(20, 12).eval()
    with torch.no_grad():
        layer.weight_orig.normal_(std=3)
        layer.iterate(100)
        assert abs(torch.linalg.svdvals(layer.weight())[0] - 1) < 1e-3


def test_training_improves_the_vectors_and_evaluation_leaves_them() -> None:
    torch.manual_seed(0)
    layer = SpectralConv(3, 5, 3)
    with torch.no_grad():
        layer.weight_orig.normal_()
    before = layer.weight_u.clone()
    layer.eval()(torch.randn(1, 3, 4, 4))
    assert torch.equal(layer.weight_u, before)
    layer.train()(torch.randn(1, 3, 4, 4))
    assert not torch.equal(layer.weight_u, before)


def test_the_older_hook_of_torch_stores_the_same_tensors() -> None:
    torch.manual_seed(0)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 5, 3, padding=1), eps=1e-4)
    theirs(torch.randn(2, 3, 6, 6))
    ours = SpectralConv(3, 5, 3)
    ours.load_state_dict(theirs.state_dict())
    pictures = torch.randn(2, 3, 6, 6)
    assert torch.allclose(ours.eval()(pictures), theirs.eval()(pictures), atol=1e-6)
