"""StyleGAN2's discriminator: residual blocks that halve the side, and the minibatch deviation. For training only."""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.equalised import GAIN, SLOPE, EqualConv, EqualLinear
from worker.nets.stylegan2 import FIRST_SIDE

GROUP: Final = 4
"""Over how many pictures the minibatch deviation is taken."""


def active(features: Tensor) -> Tensor:
    """Leaky ReLU that keeps the variance."""
    return F.leaky_relu(features, SLOPE) * GAIN


class HalvingBlock(nn.Module):
    """Two 3x3 convolutions with a halving between them, beside a 1x1 one."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv_1 = EqualConv(width_in, width_in, 3)
        self.conv_2 = EqualConv(width_in, width_out, 3)
        self.skip = EqualConv(width_in, width_out, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H/2, W/2)``."""
        inner = active(self.conv_2(F.avg_pool2d(active(self.conv_1(features)), 2)))
        halved: Tensor = (inner + self.skip(F.avg_pool2d(features, 2))) / GAIN
        return halved


def minibatch_deviation(features: Tensor) -> Tensor:
    """One map of how much the pictures of a group differ: ``(B, C, H, W)`` to ``(B, 1, H, W)``."""
    count, _, height, width = features.shape
    group = GROUP if count % GROUP == 0 else count
    grouped = features.float().reshape(group, count // group, -1)
    spread = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)
    maps: Tensor = spread.repeat(group)[:, None, None, None].expand(-1, 1, height, width).to(features.dtype)
    return maps


class StyleGan2Discriminator(nn.Module):
    """A picture to a realness score. ``widths`` are the channels at the picture's side, half of it, … down to 4."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.first = EqualConv(channels, widths[0], 1)
        self.blocks = nn.ModuleList(HalvingBlock(width_in, width_out) for width_in, width_out in pairwise(widths))
        last = widths[-1]
        self.final = EqualConv(last + 1, last, 3)
        self.hidden = EqualLinear(last * FIRST_SIDE**2, last)
        self.score = EqualLinear(last, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, channels, side, side)`` in [-1, 1] to logits ``(B,)``, positive for real."""
        features = active(self.first(pictures))
        for block in self.blocks:
            features = block(features)
        features = active(self.final(torch.cat([features, minibatch_deviation(features)], dim=1)))
        logits: Tensor = self.score(active(self.hidden(features.flatten(1)))).flatten(0)
        return logits
