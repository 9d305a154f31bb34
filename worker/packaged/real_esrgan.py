"""Super-resolution by Real-ESRGAN (Wang et al. 2021): on a CPU through ncnn, on other devices through torch.

Both read the very same weights. Every net enlarges four times; two and three times are that, shrunk again, which is
how the authors' own program does it.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import CheckpointUnavailableError, InvalidInputError, OutOfMemoryError
from worker.packaged.files import ESRGAN_DRAWING, ESRGAN_FAST, ESRGAN_PHOTO, PackagedFile, locate
from worker.packaged.tiles import enlarge_tiled

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]

SCALE: Final = 4
SCALES: Final = (2, 3, 4)
TILE: Final = 112
"""Pixels of the small picture; with its margins, a tile takes 1.3 GiB in the large nets and 0.2 in the fast one."""
MARGIN: Final = 24
"""Tiled and at once are then 49 dB PSNR apart or better in the large nets, and equal in the fast one."""


class Net(StrEnum):
    """Which weights."""

    PHOTO = "photo"
    """RRDBNet of 23 blocks, 16.7 M parameters: photographs, and anything."""
    DRAWING = "drawing"
    """RRDBNet of 6 blocks, 4.5 M: drawings with flat areas and clear lines."""
    FAST = "fast"
    """SRVGGNetCompact, 0.6 M: drawings, in a thirtieth of the time."""


FILES: Final[dict[Net, tuple[PackagedFile, PackagedFile]]] = {
    Net.PHOTO: ESRGAN_PHOTO,
    Net.DRAWING: ESRGAN_DRAWING,
    Net.FAST: ESRGAN_FAST,
}
"""Each net's `.param` and `.bin`."""


def net_of(paths: Iterable[str]) -> Net:
    """The net whose files a checkpoint's manifest lists.

    Raises:
        CheckpointUnavailableError: it lists another's, or those of several.
    """
    listed = set(paths)
    found = [net for net, files in FILES.items() if listed == {file.path for file in files}]
    if len(found) != 1:
        raise CheckpointUnavailableError("The checkpoint's files are not those of one Real-ESRGAN net.")
    return found[0]


class Enlarger(Protocol):
    """A loaded net."""

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(h, w, 3) uint8 RGB to (4h, 4w, 3) about [0, 1]."""


class NcnnEnlarger:
    """On the CPU, without torch. The same input gives the same bytes."""

    def __init__(self, net: Net, threads: int = 1) -> None:
        ncnn = _ncnn()
        param, weights = (locate(file) for file in FILES[net])
        self._ncnn = ncnn
        self._net: Any = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = threads
        for short in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(self._net.opt, short, False)  # some processors would round on the way, others not
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise CheckpointUnavailableError(f"ncnn does not take {param.name}.")

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(h, w, 3) uint8 RGB to (4h, 4w, 3) about [0, 1]."""
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
        # A Mat points into the array that it was made of, which must live for as long; a clone has its own memory.
        given = self._ncnn.Mat(planes).clone()
        extractor = self._net.create_extractor()
        extractor.input("data", given)
        failed, large = extractor.extract("output")
        if failed:  # its only cause here: an allocation that failed
            raise OutOfMemoryError(f"ncnn could not enlarge {pixels.shape[1]} × {pixels.shape[0]} pixels at once.")
        return np.array(large, np.float32).transpose(1, 2, 0)


class TorchEnlarger:
    """On any device that torch has."""

    def __init__(self, net: Net, device: "torch.device | str", dtype: "torch.dtype | None" = None) -> None:
        import torch

        from worker.nets.real_esrgan import RRDBNet, SRVGGNetCompact

        param, weights = (locate(file) for file in FILES[net])
        made = (SRVGGNetCompact if net is Net.FAST else RRDBNet).from_ncnn(param, weights)
        self._device, self._dtype = device, dtype or torch.float32
        self._net = made.to(device, self._dtype)

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(h, w, 3) uint8 RGB to (4h, 4w, 3) about [0, 1]."""
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(np.array(pixels)).to(self._device)
            large = self._net(given.permute(2, 0, 1)[None].to(self._dtype) / 255)
            found: npt.NDArray[np.float32] = large[0].permute(1, 2, 0).float().cpu().numpy()
        return found


def enlarge(
    enlarger: Enlarger,
    pixels: Pixels,
    scale: int = SCALE,
    *,
    tile: int = TILE,
    margin: int = MARGIN,
    on_tile: Callable[[int, int], None] | None = None,
) -> Pixels:
    """(H, W, 3) uint8 RGB to (scale·H, scale·W, 3), tile by tile; `on_tile(done, total)` may raise to stop.

    Raises:
        InvalidInputError: a scale that is none of `SCALES`.
    """
    if scale not in SCALES:
        raise InvalidInputError(f"The scale is one of {', '.join(map(str, SCALES))}.")
    large = enlarge_tiled(enlarger, pixels, scale=SCALE, tile=tile, margin=margin, on_tile=on_tile)
    if scale == SCALE:
        return large
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(large).resize((width * scale, height * scale), Image.Resampling.LANCZOS))


def _ncnn() -> Any:
    try:
        import ncnn
    except ImportError:
        raise CheckpointUnavailableError("ncnn is not installed here: pip install safelight[models]") from None
    return ncnn
