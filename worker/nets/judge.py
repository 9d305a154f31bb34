"""The judge: a small convolutional classifier that tells which noun, and which style, a 64 px picture shows.

It measures the text-to-image starter; it never guides it.
"""

import json
from pathlib import Path
from typing import Final, Self

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
WIDTHS: Final = (24, 48, 80, 104)
STYLE_HIDDEN: Final = 96


class JudgeBlock(nn.Module):
    """A residual block of a depthwise 5x5 and two 1x1 convolutions, then a halving of the side."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width_in, width_in, 3, padding=1, groups=width_in)
        self.norm = nn.BatchNorm2d(width_in)
        self.widen = nn.Conv2d(width_in, 2 * width_in, 1)
        self.narrow = nn.Conv2d(2 * width_in, width_in, 1)
        self.shrink = nn.Conv2d(width_in, width_out, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H/2, W/2)``."""
        features = features + self.narrow(F.gelu(self.widen(self.norm(self.mix(features)))))
        shrunk: Tensor = self.shrink(features)
        return shrunk


class Judge(nn.Module):
    """A picture to the scores of its nouns and of its styles."""

    def __init__(self, nouns: int, styles: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.sizes = {"nouns": nouns, "styles": styles, "widths": list(widths)}
        self.first = nn.Conv2d(3, widths[0], 4, stride=2, padding=1)
        pairs = zip(widths, (*widths[1:], widths[-1]), strict=True)
        self.blocks = nn.Sequential(*(JudgeBlock(width_in, width_out) for width_in, width_out in pairs))
        self.norm = nn.BatchNorm1d(widths[-1] * 4)
        self.noun = nn.Linear(widths[-1] * 4, nouns)
        # Style shows against what the noun looks like in the other styles, so it takes a layer more.
        self.style = nn.Sequential(nn.Linear(widths[-1] * 4, STYLE_HIDDEN), nn.GELU(), nn.Linear(STYLE_HIDDEN, styles))

    def features(self, images: Tensor) -> Tensor:
        """``(B, 3, 64, 64)`` in [-1, 1] to normalised features ``(B, 4 * widths[-1])``."""
        normal: Tensor = self.norm(self.blocks(self.first(images)).flatten(1))
        return normal

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, 3, 64, 64)`` in [-1, 1] to noun scores ``(B, nouns)`` and style scores ``(B, styles)``."""
        features = self.features(images)
        return self.noun(features), self.style(features)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and float16 ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps({"_class_name": "Judge"} | self.sizes, indent=2) + "\n")
        tensors = {
            name: value.half() if value.is_floating_point() else value for name, value in self.state_dict().items()
        }
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors writes files for their owner alone

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Load for judging, as float32."""
        config = json.loads((folder / CONFIG_FILE).read_text())
        judge = cls(config["nouns"], config["styles"], tuple(config["widths"]))
        judge.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return judge.float().eval().requires_grad_(requires_grad=False)
