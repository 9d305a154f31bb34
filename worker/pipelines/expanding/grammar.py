"""The family `grammar`: prompts by a seeded grammar. Its checkpoint is built in, and it reads English and Chinese."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from worker.pipelines.base import CheckpointFiles, Context, Determinism, Facts, Item, Output, Pipeline
from worker.pipelines.expanding.by_grammar import expand
from worker.pipelines.expanding.expanded import params_of

if TYPE_CHECKING:
    from worker.devices import Device


class Grammar(Pipeline):
    """Has word lists and no weights."""

    family: ClassVar[str] = "grammar"
    tasks: ClassVar[frozenset[str]] = frozenset({"expand_prompt"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:  # noqa: ARG003  # nothing is loaded
        """Nothing is loaded."""
        return cls()

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One item after the other; a prompt takes well under a millisecond."""
        for done, item in enumerate(items):
            context.raise_if_all_stopped()
            if not context.stopped(item.job_id):
                yield Facts(item.job_id, expand(item, params_of(item)).facts())
            context.step(done + 1, len(items))

    @property
    def memory_bytes(self) -> int:
        """A few kilobytes of words."""
        return 0
