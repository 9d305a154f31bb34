"""One diffusers call: the sampler fresh, the steps watched, shortages mapped, the pictures as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from models.errors import InvalidInputError, PipelineFailedError
from models.params import SchedulerName
from worker.pipelines.diffusers.watching import Watch
from worker.pipelines.failures import guarded
from worker.pipelines.pixels import to_pixels

if TYPE_CHECKING:
    from models.params import CheckpointProfile, DiffusionParams
    from worker.pipelines.base import Item, Pixels
    from worker.pipelines.diffusers.memory import MemoryLadder
    from worker.pipelines.diffusers.previews import LatentPreviewer
    from worker.pipelines.diffusers.prompts import PromptReader
    from worker.pipelines.diffusers.sisters import Sister, Sisters
    from worker.pipelines.diffusers.sizes import SizeRule
    from worker.pipelines.schedulers import SamplerBook


@dataclass
class Denoiser:
    """A loaded checkpoint as every task of this family sees it."""

    sisters: "Sisters"
    samplers: "SamplerBook"
    sizes: "SizeRule"
    prompts: "PromptReader"
    previewer: "LatentPreviewer"
    ladder: "MemoryLadder"
    profile: "CheckpointProfile"

    @property
    def pipe(self) -> Any:
        """The pipeline as it was loaded."""
        return self.sisters.main.pipe

    def call(
        self,
        sister: "Sister",
        keywords: dict[str, Any],
        watch: Watch,
        size: tuple[int, int],
        scheduler: SchedulerName = SchedulerName.DEFAULT,
    ) -> "Pixels":
        """Call diffusers once. Returns `(B, H, W, 3)` of the (width, height) for the rows in `watch.kept`.

        Raises:
            OutOfMemoryError: it did not fit.
            PipelineFailedError: the class failed, or made another size.
        """
        self.ladder.begins(len(watch.kept), size[0] * size[1])
        pixels = guarded(lambda: self._generate(sister, keywords, watch, scheduler))
        asked = (len(watch.kept), size[1], size[0], 3)
        if pixels.shape != asked:
            name = type(sister.pipe).__name__
            raise PipelineFailedError(f"{name} made {pixels.shape} where {asked} was asked for.")
        return pixels

    def check(self, items: "Sequence[Item]", params: "DiffusionParams") -> None:
        """Refuse at once what would fail, or be changed in silence, later. All items share size and sampler."""
        self.prompts.check(items)
        fields = {"scheduler": self.samplers.problem(params), "width": self.sizes.problem(params)}
        for name, problem in fields.items():
            if problem:
                raise InvalidInputError(problem, job_id=str(items[0].job_id), field=f"/params/{name}")

    def _generate(self, sister: "Sister", keywords: dict[str, Any], watch: Watch, scheduler: SchedulerName) -> "Pixels":
        sampler = self.samplers.fresh(scheduler)
        sister.pipe.scheduler = sampler
        watch.begins(sampler)
        device = self.pipe._execution_device  # noqa: SLF001  # where its parts run, also when they are offloaded
        try:
            with torch.inference_mode(), torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(watch.kept[0].generator().initial_seed())  # for what a class draws without asking us
                return to_pixels(sister.pipe(**keywords, **watch.keywords(sister.style.arguments))[0])
        finally:
            watch.ends()
            self.pipe.maybe_free_model_hooks()
