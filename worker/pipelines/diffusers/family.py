"""The family's class: a loaded checkpoint, and which file does which of its tasks."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from worker.pipelines.base import CheckpointFiles, Context, Item, Output, Pipeline
from worker.pipelines.diffusers.denoiser import Denoiser
from worker.pipelines.diffusers.loading import held_bytes, open_folder
from worker.pipelines.diffusers.memory import MemoryLadder
from worker.pipelines.diffusers.painting import paint, restyle
from worker.pipelines.diffusers.previews import LatentPreviewer
from worker.pipelines.diffusers.prompts import PromptReader
from worker.pipelines.diffusers.reconstructing import reconstruct
from worker.pipelines.diffusers.sisters import Sisters
from worker.pipelines.diffusers.sizes import SizeRule
from worker.pipelines.diffusers.upscaling import upscale
from worker.pipelines.diffusers.walking import interpolate
from worker.pipelines.failures import guarded_load
from worker.pipelines.schedulers import SamplerBook

if TYPE_CHECKING:
    from worker.devices import Device

Work = Callable[[Denoiser, Sequence[Item], Context], Iterator[Output]]

WORKS: dict[str, Work] = {
    "text_to_image": paint,
    "image_to_image": paint,
    "edit": paint,
    "inpaint": paint,
    "outpaint": paint,
    "control": paint,
    "style_transfer": restyle,
    "upscale": upscale,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
}


class Diffusers(Pipeline):
    """One diffusers checkpoint on one device. Which of the tasks it does, its folder's class says."""

    family: ClassVar[str] = "diffusers"
    tasks: ClassVar[frozenset[str]] = frozenset(WORKS)

    def __init__(self, pipe: Any, files: CheckpointFiles, device: "Device") -> None:
        """`pipe` is a loaded diffusers pipeline, on its device."""
        self._pipe = pipe
        self._ladder = MemoryLadder(pipe, device)
        sisters = Sisters(pipe)
        self._denoiser = Denoiser(
            sisters,
            samplers=SamplerBook(pipe),
            sizes=SizeRule.of(pipe),
            prompts=PromptReader(pipe, sisters.main.style.max_sequence_length),
            previewer=LatentPreviewer(pipe, files.folder),
            ladder=self._ladder,
            profile=files.profile,
        )

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder. Nothing is fetched, no code of the folder runs, weights are safetensors.

        `{"compile": true}` in the checkpoint's config has torch compile the denoiser.
        """
        compiled = bool(files.config.get("compile"))
        pipe = guarded_load(lambda: open_folder(files.folder, device, compiled=compiled))
        return guarded_load(lambda: cls(pipe, files, device))

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """See the file of the task.

        Raises:
            CheckpointUnavailableError: this folder's class does not do it.
        """
        task = items[0].task
        self._denoiser.sisters.for_task(task)
        yield from WORKS[task](self._denoiser, items, context)

    @property
    def denoiser(self) -> Denoiser:
        """Its nets, for a ControlNet that runs over them."""
        return self._denoiser

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers on the device; after offloading, its largest part."""
        return held_bytes(self._pipe, largest_only=self._ladder.offloaded)

    def slim(self) -> str:
        """See `MemoryLadder`."""
        return self._ladder.step()
