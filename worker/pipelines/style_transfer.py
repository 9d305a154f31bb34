"""Style transfer by the packaged networks: any picture as the style, or one of their own."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import StyleTransferParams
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Item, Output, Picture, Pipeline
from worker.pipelines.failures import guarded, guarded_load

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.packaged.style_transfer import StyleTransfer
    from worker.pipelines.base import Pixels

HELD_BYTES = 40 << 20
"""What the three networks take when loaded; their files are a tenth of that."""


class PackagedStyles(Pipeline):
    """`worker.packaged.style_transfer` on the CPU, one picture at a time: company changes nothing."""

    family: ClassVar[str] = "style_transfer"
    tasks: ClassVar[frozenset[str]] = frozenset({"style_transfer"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    def __init__(self, painter: "StyleTransfer") -> None:
        """`painter` is loaded."""
        self._painter = painter

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:  # noqa: ARG003  # always the CPU
        """Load the networks; the profile's styles must be theirs."""
        from worker.packaged.style_transfer import STYLE_NAMES, StyleTransfer

        unknown = set(files.profile.style_names) - set(STYLE_NAMES)
        if unknown:
            raise CheckpointUnavailableError(f"{files.name}: the package has no style {min(unknown)!r}.")
        return cls(guarded_load(StyleTransfer))

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One after the other."""
        context.raise_if_all_stopped()
        for number, item in enumerate(items):
            context.raise_if_all_stopped()
            if not context.stopped(item.job_id):
                painted = guarded(partial(self._painted, item))
                context.step(number + 1, len(items))
                yield Picture(item.job_id, 0, painted, item.seed)

    @classmethod
    def estimate_bytes(cls, files: CheckpointFiles, device: "Device") -> int:  # noqa: ARG003  # always the same three
        """About."""
        return HELD_BYTES

    @property
    def memory_bytes(self) -> int:
        """About; onnxruntime does not tell."""
        return HELD_BYTES

    def _painted(self, item: Item) -> "Pixels":
        params = item.params
        assert isinstance(params, StyleTransferParams)  # noqa: S101  # the claim matched task and checkpoint
        pixels = item.picture("image")
        if params.style_image is not None:
            return self._painter.like(pixels, item.picture("style_image"), params.strength)
        if params.style is not None:
            return self._painter.named(pixels, params.style, params.strength)
        text = "This checkpoint reads no prompt: send style or style_image."
        raise InvalidInputError(text, job_id=str(item.job_id), field="/params/prompt")
