"""Text to image with any diffusers folder: SD 1.x and 2.x, SDXL, SD3, Flux and what else diffusers can call.

The net, its guidance and its decoding are diffusers' own `__call__`; this file batches jobs into it, gives every
picture its generator, watches its steps, and takes its pictures.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from models.errors import InvalidInputError, PipelineFailedError
from worker.pipelines.base import CheckpointFiles, Context, Item, Picture, Pipeline
from worker.pipelines.calls import CallStyle, params_of
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.loading import held_bytes, open_folder
from worker.pipelines.memory import MemoryLadder
from worker.pipelines.pixels import to_pixels
from worker.pipelines.previews import LatentPreviewer
from worker.pipelines.prompts import PromptReader
from worker.pipelines.schedulers import SamplerBook
from worker.pipelines.watching import Watch

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels


class DiffusersTextToImage(Pipeline):
    """One diffusers checkpoint on one device."""

    family: ClassVar[str] = "diffusers"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_to_image"})

    def __init__(self, pipe: Any, files: CheckpointFiles, device: "Device") -> None:
        """`pipe` is a loaded diffusers pipeline, on its device."""
        self._pipe = pipe
        self._style = CallStyle.of(pipe)
        self._samplers = SamplerBook(pipe.scheduler, gives_sigmas=self._style.gives_sigmas)
        self._prompts = PromptReader(pipe, self._style.max_sequence_length)
        self._previewer = LatentPreviewer(pipe, files.folder)
        self._ladder = MemoryLadder(pipe, device)

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder. Nothing is fetched, no code of the folder runs, weights are safetensors.

        `{"compile": true}` in the checkpoint's config has torch compile the denoiser.
        """
        compiled = bool(files.config.get("compile"))
        pipe = guarded_load(lambda: open_folder(files.folder, device, compiled=compiled))
        return guarded_load(lambda: cls(pipe, files, device))

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Picture]:
        """One diffusers call, or two where some items have a negative prompt and the class tells these apart."""
        self._check(items)
        calls = self._style.split(items)
        steps = params_of(items[0]).num_inference_steps or 1
        for number, call in enumerate(calls):
            context.raise_if_all_stopped()
            watch = Watch(call, context, self._previewer, done_before=number * steps, total=len(calls) * steps)
            pixels = guarded(lambda call=call, watch=watch: self._generate(call, watch))  # type: ignore[misc]
            yield from _pictures(watch.kept, pixels)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers on the device; after offloading, its largest part."""
        return held_bytes(self._pipe, largest_only=self._ladder.offloaded)

    def slim(self) -> bool:
        """Decode one by one, then in tiles, then slice attention, then keep only the part at work on the device."""
        return self._ladder.step()

    def _check(self, items: Sequence[Item]) -> None:
        """Refuse at once what would fail or be changed in silence later."""
        self._style.check(items)
        self._prompts.check(items)
        steps = params_of(items[0]).num_inference_steps or 1
        if steps > self._samplers.max_steps:
            text = f"This checkpoint has {self._samplers.max_steps} timesteps; {steps} steps cannot be taken."
            raise InvalidInputError(text, job_id=str(items[0].job_id), field="/params/num_inference_steps")

    def _generate(self, items: Sequence[Item], watch: "Watch") -> "Pixels":
        """Call diffusers once. Returns `(B, H, W, 3)` for the rows in `watch.kept`."""
        first = params_of(items[0])
        self._pipe.scheduler = self._samplers.fresh(first.scheduler)
        keywords = self._style.keywords(items) | watch.keywords(self._style.arguments)
        try:
            with torch.inference_mode():
                pixels = to_pixels(self._pipe(**keywords)[0])
        finally:
            self._pipe.maybe_free_model_hooks()
        if pixels.shape[:3] != (len(watch.kept), first.height, first.width):
            raise PipelineFailedError(f"Asked for {len(watch.kept)} × {first.height} × {first.width}: {pixels.shape}")
        return pixels


def _pictures(rows: Sequence[tuple[Item, int]], pixels: "Pixels") -> Iterator[Picture]:
    for (item, index), picture in zip(rows, pixels, strict=True):
        yield Picture(item.job_id, index, picture, params_of(item).seed or 0)
