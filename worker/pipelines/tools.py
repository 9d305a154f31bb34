"""Score without a net of its own: every figure but the text-image score. Its checkpoint is built in."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from worker.pipelines.base import CheckpointFiles, Context, Determinism, Facts, Item, Output, Pipeline
from worker.pipelines.measuring import Measures

if TYPE_CHECKING:
    from worker.devices import Device


class Tools(Pipeline):
    """Arithmetic, and the packaged safety score."""

    family: ClassVar[str] = "tools"
    tasks: ClassVar[frozenset[str]] = frozenset({"score"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    def __init__(self) -> None:
        """Nothing is loaded."""
        self._measures = Measures()

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:  # noqa: ARG003  # there are no weights
        """Nothing is loaded."""
        return cls()

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One item after the other."""
        for done, item in enumerate(items):
            context.raise_if_all_stopped()
            if context.stopped(item.job_id):
                continue
            figures, notes = self._measures.of(item)
            yield Facts(item.job_id, {"scores": figures, "notes": notes})
            context.step(done + 1, len(items))

    @property
    def memory_bytes(self) -> int:
        """The safety score's few megabytes are not counted: they come when they are asked for."""
        return 0
