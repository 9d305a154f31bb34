"""Text to image with any diffusers folder: SD 1.x and 2.x, SDXL, SD3, Flux and what else diffusers can call.

The net, its guidance and its decoding are diffusers' own `__call__`; this file batches jobs into it, gives every
picture its generator, watches its steps, and takes its pictures.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from models.errors import InvalidInputError, PipelineFailedError
from worker.pipelines.base import CheckpointFiles, Context, Item, Output, Picture, Pipeline
from worker.pipelines.diffusers.calls import CallStyle, Row, rows_of
from worker.pipelines.estimates import EstimateKeeper
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.diffusers.loading import held_bytes, open_folder
from worker.pipelines.diffusers.memory import MemoryLadder
from worker.pipelines.pixels import to_pixels
from worker.pipelines.diffusers.previews import LatentPreviewer
from worker.pipelines.diffusers.prompts import PromptReader
from worker.pipelines.schedulers import SamplerBook
from worker.pipelines.diffusers.sizes import SizeRule
from worker.pipelines.diffusers.watching import Watch

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels


class Diffusers(Pipeline):
    """One diffusers checkpoint on one device."""

    family: ClassVar[str] = "diffusers"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_to_image"})

    def __init__(self, pipe: Any, files: CheckpointFiles, device: "Device") -> None:
        """`pipe` is a loaded diffusers pipeline, on its device."""
        self._pipe = pipe
        self._style = CallStyle.of(pipe)
        self._samplers = SamplerBook(pipe)
        self._sizes = SizeRule.of(pipe)
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

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One diffusers call; more where memory or a class's view of negative prompts asks for it."""
        rows = rows_of(items)
        self._check(items, rows)
        first = rows[0].params
        calls = self._style.split(rows, self._ladder.max_rows(first.pixels()))
        for number, call in enumerate(calls):
            context.raise_if_all_stopped()
            self._ladder.begins(len(call), first.pixels())
            watch = Watch(call, context, self._previewer, call_number=number, calls=len(calls))
            pixels = guarded(partial(self._generate, call, watch))
            for row, picture in zip(watch.kept, pixels, strict=True):
                yield Picture(row.item.job_id, row.index, picture, row.seed)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers on the device; after offloading, its largest part."""
        return held_bytes(self._pipe, largest_only=self._ladder.offloaded)

    def slim(self) -> bool:
        """See `MemoryLadder`."""
        return self._ladder.step()

    def _check(self, items: Sequence[Item], rows: Sequence[Row]) -> None:
        """Refuse at once what would fail, or be changed in silence, later."""
        self._style.check(rows)
        self._prompts.check(items)
        first = rows[0]
        fields = {"scheduler": self._samplers.problem(first.params), "width": self._sizes.problem(first.params)}
        for name, problem in fields.items():
            if problem:
                raise InvalidInputError(problem, job_id=str(first.item.job_id), field=f"/params/{name}")

    def _generate(self, rows: Sequence[Row], watch: Watch) -> "Pixels":
        """Call diffusers once. Returns `(B, H, W, 3)` for the rows in `watch.kept`."""
        first = rows[0].params
        self._pipe.scheduler = self._samplers.fresh(first.scheduler)
        watch.keeper = EstimateKeeper(self._pipe.scheduler)
        keywords = self._style.keywords(rows) | watch.keywords(self._style.arguments)
        try:
            with torch.inference_mode():
                pixels = to_pixels(self._pipe(**keywords)[0])
        finally:
            watch.keeper.close()
            self._pipe.maybe_free_model_hooks()
        asked = (len(watch.kept), first.height, first.width, 3)
        if pixels.shape != asked:
            raise PipelineFailedError(f"{type(self._pipe).__name__} made {pixels.shape} where {asked} was asked for.")
        return pixels
