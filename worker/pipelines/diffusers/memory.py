"""The memory ladder of a diffusers pipeline: each step costs a little time and saves some of the device's memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.devices import Device

_UNLIMITED = 1 << 20


class MemoryLadder:
    """Taken one step at a time, never back: what did not fit once will not fit again.

    First fewer pictures at a time, counted in pixels so that small pictures keep their large batches; then the decoder
    in slices and tiles; then attention in slices; then only the net at work on the device.
    """

    def __init__(self, pipe: Any, device: "Device") -> None:
        """Only steps that this pipeline and device have are on the ladder."""
        self._pipe = pipe
        self._device = device
        self.offloaded = False
        self._pixels_at_once: int | None = None
        self._rows, self._pixels = 1, 1
        vae = getattr(pipe, "vae", None)
        steps: list[tuple[str, Callable[[], None]]] = []
        decoder = (("slices", "enable_slicing"), ("tiles", "enable_tiling"))
        steps += [(f"decoder in {parts}", getattr(vae, name)) for parts, name in decoder if hasattr(vae, name)]
        if device.kind != "cuda" and hasattr(getattr(pipe, "unet", None), "set_attention_slice"):
            # On CUDA attention is computed blockwise anyway; slices would only slow it down.
            steps.append(("attention in slices", pipe.enable_attention_slicing))
        if device.kind == "cuda" and pipe.model_cpu_offload_seq:
            steps.append(("offload", self._offload))
        self._steps = iter(steps)

    def max_rows(self, pixels: int) -> int:
        """How many pictures of so many pixels to make at a time."""
        return _UNLIMITED if self._pixels_at_once is None else max(1, self._pixels_at_once // pixels)

    def begins(self, rows: int, pixels: int) -> None:
        """Note what is tried now: `step` starts from there when it does not fit."""
        self._rows, self._pixels = rows, pixels

    def step(self) -> str:
        """Take the next step and say which; empty when there is none left."""
        if self._rows > 1:
            self._rows //= 2
            self._pixels_at_once = self._rows * self._pixels
            return f"at most {self._rows} at once"
        words, take = next(self._steps, ("", lambda: None))
        take()
        return words

    def _offload(self) -> None:
        """Each net moves to the device for its own turn only."""
        self._pipe.enable_model_cpu_offload(device=self._device.torch_device)
        self.offloaded = True
