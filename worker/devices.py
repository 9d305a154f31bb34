"""The device of this process: which one, in what precision, with how much memory. One process, one device."""

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from models.settings import Settings
from models.states import Pool

if TYPE_CHECKING:
    import torch

CPU = "cpu"


@dataclass(frozen=True)
class Device:
    """Where pipelines of this process run, and in what precision their denoisers do."""

    torch_device: "torch.device"
    dtype: "torch.dtype"
    """bfloat16 where CUDA computes in it, float16 on older CUDA and on MPS, else float32."""
    name: str
    """For people: `cpu`, or the accelerator's product name."""
    total_bytes: int
    """Of the accelerator's memory, or of the host's."""

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return str(self.torch_device.type)

    def free_bytes(self) -> int:
        """What could be allocated now."""
        import torch

        if self.kind == "cuda":
            return int(torch.cuda.mem_get_info(self.torch_device)[0])
        return int(psutil.virtual_memory().available)

    def empty_cache(self) -> None:
        """Give freed blocks back, after something large was dropped."""
        import torch

        if self.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.kind == "mps":
            torch.mps.empty_cache()
        else:
            _trim_heap()

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards is honest."""
        import torch

        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch_device)
        elif self.kind == "mps":
            torch.mps.synchronize()


def open_device(settings: Settings, pool: Pool = Pool.GPU) -> Device:
    """The device that the settings name, set up once per process. The CPU pool never takes an accelerator."""
    import torch

    wanted = CPU if pool is Pool.CPU else settings.device
    if wanted == "auto":
        wanted = _best_there_is()
    device = torch.device(wanted)
    _set_threads(settings.cpu_threads)
    if device.type == "cuda":
        return _open_cuda(device)
    dtype = torch.float16 if device.type == "mps" else torch.float32
    return Device(device, dtype, device.type, int(psutil.virtual_memory().total))


def memory_budget_bytes(settings: Settings, device: Device) -> int:
    """What loaded checkpoints may take of the device: the setting, or 80 % of all it has."""
    if settings.memory_budget_mib:
        return settings.memory_budget_mib << 20
    return device.total_bytes * 8 // 10


def _best_there_is() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else CPU


def _open_cuda(device: "torch.device") -> Device:
    import torch

    torch.cuda.set_device(device)
    device = torch.device("cuda", torch.cuda.current_device())
    # TF32 and cuDNN's autotuner change last bits between shapes, not between runs of one shape: the contract of
    # Determinism.SAME_BATCH_SHAPE needs the autotuner off, since it may choose another kernel in another process.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = False
    facts = torch.cuda.get_device_properties(device)
    # is_bf16_supported() also says yes to slow emulation; Ampere (8.0) is the first that computes in it.
    dtype = torch.bfloat16 if facts.major >= 8 else torch.float16  # noqa: PLR2004
    return Device(device, dtype, str(facts.name), int(facts.total_memory))


def _trim_heap() -> None:
    """Tensors of less than some MiB lie in glibc's heap, which stays as large as it once was until it is told."""
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)  # raises once parallel work has begun; by then it is 1 already
