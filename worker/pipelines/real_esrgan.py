"""Upscale with Real-ESRGAN: its packaged weights by ncnn on a CPU, the same nets in torch on anything else."""

from typing import TYPE_CHECKING, ClassVar, Self

from worker.packaged.real_esrgan import MARGIN, SCALE, TILE, Enlarger, NcnnEnlarger, Net, TorchEnlarger, net_of
from worker.pipelines.base import CheckpointFiles
from worker.pipelines.enlarging import Upscaler
from worker.pipelines.failures import guarded_load

if TYPE_CHECKING:
    from worker.devices import Device

TILES = {Net.PHOTO: TILE, Net.DRAWING: TILE, Net.FAST: 256}
"""Pixels of the small picture: the large nets take 1.3 GiB for one, and seconds on a CPU; between tiles a job can be
canceled."""
GPU_TILE = 512
PARAMETERS = {Net.PHOTO: 16_700_000, Net.DRAWING: 4_470_000, Net.FAST: 621_000}
BYTES = 4
"""Of a parameter, in float32."""


class RealEsrgan(Upscaler):
    """One of the package's three nets, whichever the card names the files of."""

    family: ClassVar[str] = "real_esrgan"

    def __init__(self, enlarger: Enlarger, files: CheckpointFiles, net: Net, tile: int) -> None:
        """`enlarger` is loaded."""
        super().__init__(enlarger, files, scale=SCALE, tile=tile, margin=MARGIN)
        self._net = net

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the net."""
        import torch

        net = net_of(files.config.get("files", ()))
        if device.kind == "cpu":
            threads = torch.get_num_threads()
            return cls(guarded_load(lambda: NcnnEnlarger(net, threads)), files, net, TILES[net])
        enlarger = guarded_load(lambda: TorchEnlarger(net, device.torch_device, device.dtype))
        return cls(enlarger, files, net, GPU_TILE)

    @classmethod
    def estimate_bytes(cls, files: CheckpointFiles, device: "Device") -> int:  # noqa: ARG003  # float16 only on a GPU
        """As `memory_bytes`."""
        return PARAMETERS[net_of(files.config.get("files", ()))] * BYTES

    @property
    def memory_bytes(self) -> int:
        """In float32, as ncnn holds them; half of that on a GPU."""
        return PARAMETERS[self._net] * BYTES
