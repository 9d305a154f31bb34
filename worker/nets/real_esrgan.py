"""The two nets of Real-ESRGAN (Wang et al. 2021): RRDBNet, and the compact SRVGGNet that is thirty times as fast.

Parameter names are those of the public state dicts, so that these load too. Tiles, sizes and packages are no concern
of theirs: `(B, 3, H, W)` in [0, 1] goes in, `(B, 3, 4H, 4W)` about [0, 1] comes out.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.ncnn_weights import BadNcnnError, Layer, read_layers

SCALE: Final = 4
CHANNELS: Final = 64
GROWTH: Final = 32
RESIDUAL: Final = 0.2
"""What of each block is added: deep stacks of blocks without normalisation need it small."""
SLOPE: Final = 0.2
CONVOLUTIONS_PER_BLOCK: Final = 15
CONVOLUTIONS_BESIDE: Final = 6


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(channels + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        seen = [features]
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(F.leaky_relu(convolution(torch.cat(seen, 1)), SLOPE))
        added: Tensor = self.conv5(torch.cat(seen, 1)) * RESIDUAL + features
        return added


class ResidualBlock(nn.Module):
    """Three dense blocks within one residual (RRDB, Wang et al. 2018)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        added: Tensor = self.rdb3(self.rdb2(self.rdb1(features))) * RESIDUAL + features
        return added


class RRDBNet(nn.Module):
    """Works at the small size, and enlarges twice at the end."""

    def __init__(self, blocks: int = 23, channels: int = CHANNELS, growth: int = GROWTH) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_up1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_up2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 3, 4H, 4W)``."""
        first = self.conv_first(pictures)
        features = first + self.conv_body(self.body(first))
        for convolution in (self.conv_up1, self.conv_up2):
            features = F.leaky_relu(convolution(F.interpolate(features, scale_factor=2, mode="nearest")), SLOPE)
        enlarged: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(features), SLOPE))
        return enlarged

    @classmethod
    def from_ncnn(cls, param: Path, weights: Path) -> Self:
        """With the weights of ncnn's files, which tell how many blocks there are.

        Raises:
            BadNcnnError: they hold another net.
        """
        layers = read_layers(param, weights)
        blocks, left = divmod(len(layers) - CONVOLUTIONS_BESIDE, CONVOLUTIONS_PER_BLOCK)
        if left or blocks < 1:
            raise BadNcnnError(f"{param.name} with {len(layers)} layers of weights is no RRDBNet")
        net = cls(blocks, channels=len(layers[0].weight), growth=len(layers[1].weight))
        _fill(net, layers)
        return net.eval().requires_grad_(requires_grad=False)


class SRVGGNetCompact(nn.Module):
    """Convolutions in a row at the small size, shuffled into the large one, on top of the enlarged picture."""

    def __init__(self, convolutions: int = 16, channels: int = CHANNELS) -> None:
        super().__init__()
        sizes = [3, *[channels] * (convolutions + 1)]
        body: list[nn.Module] = []
        for before, after in pairwise(sizes):
            body += [nn.Conv2d(before, after, 3, padding=1), nn.PReLU(after)]
        self.body = nn.ModuleList([*body, nn.Conv2d(channels, 3 * SCALE**2, 3, padding=1)])

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 3, 4H, 4W)``."""
        features = pictures
        for layer in self.body:
            features = layer(features)
        return F.pixel_shuffle(features, SCALE) + F.interpolate(pictures, scale_factor=SCALE, mode="nearest")

    @classmethod
    def from_ncnn(cls, param: Path, weights: Path) -> Self:
        """With the weights of ncnn's files, which tell how many layers there are.

        Raises:
            BadNcnnError: they hold another net.
        """
        layers = read_layers(param, weights)
        net = cls(len(layers) // 2 - 1, channels=len(layers[0].weight))
        _fill(net, layers)
        return net.eval().requires_grad_(requires_grad=False)


def _fill(net: nn.Module, layers: Sequence[Layer]) -> None:
    """Layer by layer: both sides list them in the order in which they run."""
    own = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    shapes = [(type(module).__name__, tuple(module.weight.shape)) for module in own]
    if shapes != [(layer.kind.replace("Convolution", "Conv2d"), tuple(layer.weight.shape)) for layer in layers]:
        raise BadNcnnError(f"the layers are not those of a {type(net).__name__}")
    with torch.no_grad():
        for module, layer in zip(own, layers, strict=True):
            module.weight.copy_(layer.weight)
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                if layer.bias is None:
                    raise BadNcnnError("a convolution has no bias")
                module.bias.copy_(layer.bias)
