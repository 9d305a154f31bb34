"""One batch through a pipeline, down the memory ladder if need be. Knows nothing of Postgres, S3 or threads.

Out of memory: split in halves, then let the pipeline slim as far as it can, then fail that item alone. An item that
can never succeed fails alone and the rest runs again. Whatever else goes wrong fails the items that were not finished
by then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError, RunError, StoppedError
from models.failpoints import reach
from worker.faults import as_run_error
from worker.pipelines.base import Context, Facts, File, Item, Output, Picture, Pipeline

Finished = Callable[[Item, list[Output]], None]
Failed = Callable[[Item, RunError], None]


@dataclass
class BatchRun:
    """Runs items to their ends; each one is reported once, as finished or as failed, unless it was stopped."""

    pipeline: Pipeline
    context_for: Callable[[Sequence[Item]], Context]
    finished: Finished
    failed: Failed
    empty_cache: Callable[[], None] = lambda: None
    watched: Callable[[Iterator[Output], Sequence[Item]], Iterator[Output]] = lambda outputs, _items: outputs
    """Goes between the pipeline and this loop, to see how long each call takes."""
    max_items: int | None = None
    """What is known to fit from an earlier batch of this shape; shrinks when that was too much."""
    ladder: list[str] = field(default_factory=list)
    """The steps taken down the memory ladder, in words."""
    error: RunError | None = None
    """The last error, whoever it belonged to."""
    _ended: set[UUID] = field(default_factory=set)

    @property
    def ended(self) -> frozenset[UUID]:
        """The items that were reported."""
        return frozenset(self._ended)

    def run(self, items: Sequence[Item]) -> None:
        """Take every item to its end. Never raises what a pipeline can raise."""
        size = self.max_items or len(items)
        if size < len(items):
            self.ladder.append(f"split to {size} as before")
        for start in range(0, len(items), size):
            self._run(items[start : start + size])

    def _run(self, items: Sequence[Item]) -> None:
        """Run, and again in a smaller or slimmer way, until all have ended or are stopped."""
        error = self._once(items)
        if error is None:
            return
        self.error = error
        rest = self._unended(items)
        if isinstance(error, OutOfMemoryError):
            self.empty_cache()
            self._smaller(rest, error)
        elif isinstance(error, InvalidInputError):
            self._without_guilty(rest, error)
        else:
            self._fail(rest, error)

    def _once(self, items: Sequence[Item]) -> RunError | None:
        """One call of the pipeline. Its error is returned bare, so that no frame keeps a tensor alive."""
        context = self.context_for(items)
        partial: dict[UUID, dict[object, Output]] = {item.job_id: {} for item in items}
        wanted = {item.job_id: item for item in items}
        try:
            reach("before_pass")
            for output in self.watched(self.pipeline.run(items, context), items):
                if isinstance(output, Picture):
                    _check(output)
                outputs = partial[output.job_id]
                outputs[_place(output)] = output
                item = wanted[output.job_id]
                if _complete(item, outputs, output) and output.job_id not in self._ended:
                    self.finished(item, list(outputs.values()))
                    self._ended.add(output.job_id)
        except StoppedError:
            return None
        except Exception as error:  # noqa: BLE001  # a family may raise anything
            return as_run_error(error, _written_by_client(items))
        for item in self._unended(items):
            if not context.stopped(item.job_id):
                made, of = len(partial[item.job_id]), item.params.outputs()
                told = f"The pipeline made {made} of {of} outputs." if of else "The pipeline did not come to an end."
                self._fail([item], PipelineFailedError(told))
        return None

    def _smaller(self, items: Sequence[Item], error: OutOfMemoryError) -> None:
        if len(items) > 1:
            half = (len(items) + 1) // 2
            self.max_items = min(half, self.max_items or half)
            self.ladder.append(f"split {len(items)} to {half}")
            for part in (items[:half], items[half:]):
                self._run(part)
        elif error.extra.get("slimmer_helps", True) and (step := self.pipeline.slim()):
            self.ladder.append(step)
            self._run(items)
        else:
            self._fail(items, error)

    def _without_guilty(self, items: Sequence[Item], error: InvalidInputError) -> None:
        named = str(error.extra.get("job_id", ""))
        guilty = [item for item in items if str(item.job_id) == named] or (list(items) if len(items) == 1 else [])
        if guilty:
            self._fail(guilty, error)
            if rest := self._unended(items):
                self._run(rest)
            return
        for item in items:  # nobody was named: each alone, and the guilty one shows itself
            self._run([item])

    def _fail(self, items: Sequence[Item], error: RunError) -> None:
        self.error = error
        for item in items:
            self._ended.add(item.job_id)
            self.failed(item, error)

    def _unended(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if item.job_id not in self._ended]


def _place(output: Output) -> object:
    """An output that comes again, after a retry within the pipeline, takes the place of the earlier one."""
    return output.index if isinstance(output, Picture | File) else type(output)


def _complete(item: Item, outputs: Mapping[object, Output], newest: Output) -> bool:
    expected = item.params.outputs()
    return isinstance(newest, Facts) if expected is None else len(outputs) == expected


def _check(picture: Picture) -> None:
    shape = picture.pixels.shape
    if len(shape) != 3 or shape[2] != 3 or picture.pixels.dtype.name != "uint8":  # noqa: PLR2004  # (H, W, RGB)
        raise PipelineFailedError(f"The pipeline made {picture.pixels.dtype} {shape} instead of uint8 (H, W, 3).")
    if not picture.pixels.flags.c_contiguous:
        raise PipelineFailedError("The pipeline made a picture that is not contiguous.")


def _written_by_client(items: Sequence[Item]) -> list[str]:
    """Every text of the params, to keep it out of error messages."""
    return [text for item in items for text in item.params.texts().values()]
