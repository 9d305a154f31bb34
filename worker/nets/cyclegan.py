"""CycleGAN's generator, picture to picture, and the PatchGAN that judges it (Zhu et al. 2017, arXiv:1703.10593).

The generator is the residual one of Johnson et al. 2016 (arXiv:1603.08155). Its tensors have the names of the public
PyTorch implementation (``model.1.weight``, ``model.10.conv_block.1.weight``, …), so public state dicts load once they
are safetensors and a ``config.json`` beside them says what they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

import torch
from torch import Tensor, nn

from worker.nets.folders import FolderError, fit, read_own_config, read_weights, write_folder

NormName = Literal["instance", "instance_affine", "batch"]
UpsamplingName = Literal["transpose", "resize"]
# Left behind by parallel training and by old instance norms that kept statistics which nobody used.
FOREIGN_PREFIX: Final = "module."
UNUSED_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")

NORMS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "instance": lambda width: nn.InstanceNorm2d(width, affine=False),
    "instance_affine": lambda width: nn.InstanceNorm2d(width, affine=True),
    "batch": nn.BatchNorm2d,
}


@dataclass(frozen=True, slots=True)
class CycleGanConfig:
    """What ``config.json`` says. The public generators are ``ngf`` 64 with 9 (256 px) or 6 (128 px) blocks."""

    in_channels: int = 3
    out_channels: int = 3
    ngf: int = 64
    n_blocks: int = 9
    n_downsampling: int = 2
    norm: NormName = "instance"
    upsampling: UpsamplingName = "transpose"
    dropout: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("norm", self.norm, get_args(NormName)),
            ("upsampling", self.upsampling, get_args(UpsamplingName)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")

    @property
    def multiple(self) -> int:
        """Sides must be a multiple of this many pixels."""
        return int(2**self.n_downsampling)


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions beside nothing."""

    def __init__(self, width: int, config: CycleGanConfig) -> None:
        super().__init__()
        bias, norm = config.norm != "batch", NORMS[config.norm]
        middle = [nn.Dropout(0.5)] if config.dropout else []
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm(width),
            nn.ReLU(),
            *middle,
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same."""
        result: Tensor = features + self.conv_block(features)
        return result


def growing(width: int, config: CycleGanConfig) -> list[nn.Module]:
    """What doubles the side and halves the width."""
    bias, norm = config.norm != "batch", NORMS[config.norm]
    if config.upsampling == "transpose":
        grow: list[nn.Module] = [
            nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
        ]
    else:
        grow = [nn.Upsample(scale_factor=2.0), nn.ReflectionPad2d(1), nn.Conv2d(width, width // 2, 3, bias=bias)]
    return [*grow, norm(width // 2), nn.ReLU()]


class CycleGanGenerator(nn.Module):
    """A picture of one kind to a picture of another."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.config = config
        bias, norm, width = config.norm != "batch", NORMS[config.norm], config.ngf
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(config.in_channels, width, 7, bias=bias),
            norm(width),
            nn.ReLU(),
        ]
        for _ in range(config.n_downsampling):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias), norm(2 * width), nn.ReLU()]
            width *= 2
        layers += [ResnetBlock(width, config) for _ in range(config.n_blocks)]
        for _ in range(config.n_downsampling):
            layers += growing(width, config)
            width //= 2
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, config.out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` in [-1, 1] to ``(B, out_channels, H, W)`` in [-1, 1].

        Raises:
            ValueError: a side that is no multiple of ``config.multiple``.
        """
        height, width = pictures.shape[2:]
        if height % self.config.multiple or width % self.config.multiple:
            raise ValueError(f"{width}x{height} pixels: both sides must be multiples of {self.config.multiple}")
        result: Tensor = self.model(pictures)
        return result

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        write_folder(folder, {"_class_name": type(self).__name__} | asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_state_dict(cls, config: CycleGanConfig, tensors: Mapping[str, Tensor]) -> Self:
        """Build from a public state dict, as float32 and ready to translate.

        Raises:
            FolderError: the tensors do not fit the config.
        """
        generator = cls(config)
        named = {name.removeprefix(FOREIGN_PREFIX): value for name, value in tensors.items()}
        if config.norm != "batch":
            named = {name: value for name, value in named.items() if not name.endswith(UNUSED_STATISTICS)}
        fit(generator, named)
        return generator.float().eval().requires_grad_(requires_grad=False)

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Build from ``config.json`` and load the weights, as float32 and ready to translate.

        Raises:
            FolderError: files that are missing, unreadable, or do not fit each other.
        """
        try:
            config = CycleGanConfig(**read_own_config(folder, cls.__name__))
        except (TypeError, ValueError) as error:
            raise FolderError(str(error)) from error
        return cls.from_state_dict(config, read_weights(folder))


class PatchDiscriminator(nn.Module):
    """Scores for every patch of a picture; ``levels`` halvings set how large a patch is."""

    def __init__(self, channels: int = 3, width: int = 64, levels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, levels + 1):
            stride = 2 if level < levels else 1
            wider = min(2 * width, 512)
            layers += [nn.Conv2d(width, wider, 4, stride=stride, padding=1), nn.InstanceNorm2d(wider)]
            layers += [nn.LeakyReLU(0.2)]
            width = wider
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, channels, H, W)`` in [-1, 1] to scores ``(B, 1, h, w)``, towards 1 for real."""
        scores: Tensor = self.model(pictures)
        return scores
