"""Translate a picture into another domain with a CycleGAN generator: any folder of one, or the vintage package's."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from models.params import TranslateParams
from models.params.data_sets import Resize
from worker.media.colours import greyscale
from worker.media.transforms import resize
from worker.packaged.files import VINTAGE
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Item, Output, Picture, Pipeline
from worker.pipelines.draws import bytes_of
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.pixels import from_pixels, to_pixels

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

MOST_PIXELS = 4 * 512 * 512
"""In one pass, about 1.5 GB of activations of the public generator; one picture always passes."""
COLOURS = 3


class CycleGan(Pipeline):
    """A `CycleGanGenerator`, in float32. Pictures keep their shape, but for rounding to sides that it takes."""

    family: ClassVar[str] = "cyclegan"
    tasks: ClassVar[frozenset[str]] = frozenset({"translate"})
    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE
    in_float32: ClassVar[bool] = True

    def __init__(self, net: Any, device: "Device") -> None:
        """`net` is loaded, in eval mode, on the device."""
        self._net = net
        self._device = device.torch_device
        self._most_pixels = MOST_PIXELS

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`, or the package's weights where the card names them."""
        return cls(guarded_load(lambda: _load(files).to(device.torch_device)), device)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One pass for all pictures of one size, as far as they fit."""
        context.raise_if_all_stopped()
        seen = [self._seen(item) for item in items]
        done = 0
        for size in dict.fromkeys(pixels.shape[:2] for pixels in seen):
            group = [(item, pixels) for item, pixels in zip(items, seen, strict=True) if pixels.shape[:2] == size]
            most = max(1, self._most_pixels // (size[0] * size[1]))
            for part in (group[start : start + most] for start in range(0, len(group), most)):
                context.raise_if_all_stopped()
                made = guarded(partial(self._translated, [pixels for _, pixels in part]))
                done += len(part)
                context.step(done, len(items))
                for (item, _), picture in zip(part, made, strict=True):
                    if not context.stopped(item.job_id):
                        yield Picture(item.job_id, 0, picture, item.seed)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(self._net)

    def slim(self) -> str:
        """Half as much in one pass, down to a small picture."""
        if self._most_pixels == 1:
            return ""
        self._most_pixels = max(1, self._most_pixels // 4)
        return f"at most {self._most_pixels} pixels at once"

    def _seen(self, item: Item) -> "Pixels":
        """The picture at the size that is worked at: its longer side as asked for, both sides as the net takes them."""
        assert isinstance(item.params, TranslateParams)  # noqa: S101  # the claim matched task and checkpoint
        pixels = item.picture("image")
        height, width = pixels.shape[:2]
        scale = (item.params.size or max(height, width)) / max(height, width)
        multiple = self._net.config.multiple
        # Its blocks mirror one pixel of what is left of a side, which takes two of them.
        sides = [max(2 * multiple, round(side * scale / multiple) * multiple) for side in (width, height)]
        return resize(pixels, sides[0], sides[1], Resize.STRETCH)

    def _translated(self, seen: "Sequence[Pixels]") -> "Pixels":
        """`(B, H, W, 3)` uint8."""
        if self._net.config.in_channels != COLOURS:
            seen = [greyscale(pixels) for pixels in seen]
        with torch.inference_mode():
            given = 2 * from_pixels(seen)[:, : self._net.config.in_channels] - 1
            return to_pixels(self._net(given.to(self._device)) / 2 + 0.5)


def _load(files: CheckpointFiles) -> Any:
    from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator

    if VINTAGE.path not in files.config.get("files", ()):
        return CycleGanGenerator.from_pretrained(files.folder)
    from worker.packaged.vintage import load_vintage

    config, tensors = load_vintage()
    return CycleGanGenerator.from_state_dict(CycleGanConfig(**config), tensors)
