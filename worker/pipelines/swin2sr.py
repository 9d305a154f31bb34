"""Upscale with Swin2SR (Conde et al. 2022): any folder of transformers' Swin2SRForImageSuperResolution."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from models.errors import CheckpointUnavailableError
from worker.pipelines.base import CheckpointFiles
from worker.pipelines.draws import bytes_of
from worker.pipelines.enlarging import Upscaler
from worker.pipelines.failures import guarded_load
from worker.pipelines.pixels import from_pixels

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

TILE, MARGIN = 256, 32
"""Pixels of the small picture; what lies beyond the margin hardly counts in its shifted windows."""


class Swin2Sr(Upscaler):
    """One net, in the device's dtype."""

    family: ClassVar[str] = "swin2sr"

    def __init__(self, net: Any, files: CheckpointFiles, device: "Device") -> None:
        """`net` is loaded, in eval mode, on the device."""
        super().__init__(self._large, files, scale=int(net.config.upscale), tile=TILE, margin=MARGIN)
        self._net, self._device = net, device.torch_device

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder; the profile's scales are at most the net's."""
        net = guarded_load(lambda: _load(files.folder, device))
        if any(scale > net.config.upscale for scale in files.profile.scales):
            raise CheckpointUnavailableError(f"{files.name} enlarges {net.config.upscale} times, not more.")
        return cls(net, files, device)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(self._net)

    def _large(self, pixels: "Pixels") -> npt.NDArray[np.float32]:
        """`(h, w, 3)` uint8 to `(s·h, s·w, 3)` about [0, 1]: filled up to whole windows by its mirror image."""
        height, width = pixels.shape[:2]
        window = self._net.config.window_size
        padded = np.pad(pixels, ((0, -height % window), (0, -width % window), (0, 0)), mode="symmetric")
        with torch.inference_mode():
            given = from_pixels([padded]).to(self._device, self._net.dtype)
            made = self._net(pixel_values=given).reconstruction[0]
            large = made[:, : height * self._scale, : width * self._scale].permute(1, 2, 0).float().cpu().numpy()
        found: npt.NDArray[np.float32] = large
        return found


def _load(folder: Path, device: "Device") -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    net, told = transformers.Swin2SRForImageSuperResolution.from_pretrained(  # our folder  # nosec B615
        folder, local_files_only=True, use_safetensors=True, dtype=device.dtype, output_loading_info=True
    )
    if missing := sorted(told["missing_keys"]):
        raise CheckpointUnavailableError(f"{folder.name} has no weights for {missing[0]} and {len(missing) - 1} more.")
    if net.config.num_channels != 3:  # noqa: PLR2004  # RGB
        raise CheckpointUnavailableError(f"{folder.name} enlarges pictures of {net.config.num_channels} channels.")
    return net.eval().requires_grad_(requires_grad=False).to(device.torch_device)
