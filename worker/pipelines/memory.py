"""The memory ladder of a diffusers pipeline: each step costs a little time and saves some of the device's memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.devices import Device


class MemoryLadder:
    """Taken one step at a time, never back: a checkpoint that did not fit once will not fit again."""

    def __init__(self, pipe: Any, device: "Device") -> None:
        """Only steps that this pipeline and device have are on the ladder."""
        self._pipe = pipe
        self._device = device
        self.offloaded = False
        vae = getattr(pipe, "vae", None)
        steps: list[Callable[[], None]] = []
        steps += [getattr(vae, name) for name in ("enable_slicing", "enable_tiling") if hasattr(vae, name)]
        if device.kind != "cuda" and hasattr(getattr(pipe, "unet", None), "set_attention_slice"):
            # On CUDA attention is computed blockwise anyway; slices would only slow it down.
            steps.append(pipe.enable_attention_slicing)
        if device.kind == "cuda" and pipe.model_cpu_offload_seq:
            steps.append(self._offload)
        self._steps = iter(steps)

    def step(self) -> bool:
        """Take the next step. False when there is none left."""
        taken = next(self._steps, None)
        if taken is None:
            return False
        taken()
        return True

    def _offload(self) -> None:
        """Each net moves to the device for its own turn only."""
        self._pipe.enable_model_cpu_offload(device=self._device.torch_device)
        self.offloaded = True
