"""What a picture is about, as 1280 numbers: EfficientNet-Lite0 on ImageNet before its last layer (Tan & Le 2019).

For near-duplicates that are no copies, and for distances between sets of pictures, which must then name this network:
they are no Inception distances.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import CheckpointUnavailableError
from models.packages import install_command
from worker.packaged.files import IMAGE_FEATURES

if TYPE_CHECKING:
    import torch

SIDE: Final = 224
DIMENSIONS: Final = 1280
MEAN, DEVIATION = 127.0, 128.0
"""Of the Lite family, whose inputs were made for integer arithmetic."""
MAX_BATCH: Final = 16
EXTRACTOR: Final = f"efficientnet-lite0@{IMAGE_FEATURES.sha256[:12]}"
"""How a metric names it."""
NET_DISTRIBUTION: Final = ("efficientnet-lite-pytorch", "0.1.0")


class ImageFeatures:
    """Loaded once; reads many."""

    def __init__(self, device: "torch.device | str" = "cpu") -> None:
        self._device = device
        self._net = _net().to(device)

    def features(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 RGB pictures of any sizes to (N, 1280); each is squashed to a square first."""
        import torch

        found = np.empty((len(pictures), DIMENSIONS), np.float32)
        for start in range(0, len(pictures), MAX_BATCH):
            batch = np.stack([_prepared(picture) for picture in pictures[start : start + MAX_BATCH]])
            with torch.inference_mode():
                maps = self._net.extract_features(torch.from_numpy(batch).to(self._device))
                found[start : start + len(batch)] = maps.mean((2, 3)).cpu().numpy()
        return found


def _net() -> Any:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        command = install_command(*NET_DISTRIBUTION)
        raise CheckpointUnavailableError(
            f"The package {NET_DISTRIBUTION[0]} is not installed here: {command}"
        ) from None
    from worker.packaged.state_dicts import read_state_dict

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(read_state_dict(IMAGE_FEATURES))
    return net.eval().requires_grad_(requires_grad=False)


def _prepared(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(3, 224, 224) around zero."""
    squashed = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(((np.asarray(squashed, np.float32) - MEAN) / DEVIATION).transpose(2, 0, 1))
