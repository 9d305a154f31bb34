"""The memory ladder and the typed errors of one batch, without services."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError, RunError, StoppedError
from models.params import TextToImageParams
from tests.worker.slow import Slow
from worker.batch import BatchRun
from worker.faults import as_run_error
from worker.pipelines.base import Item


class FreeContext:
    """Nobody stops anything, unless told so."""

    def __init__(self, stopped: frozenset[UUID] = frozenset()) -> None:
        self._stopped = stopped

    def step(self, done: int, total: int) -> None: ...

    def stopped(self, job_id: UUID) -> bool:
        return job_id in self._stopped

    def raise_if_all_stopped(self) -> None:
        if self._stopped:
            raise StoppedError("all")

    def wants_preview(self) -> bool:
        return False

    def preview(self, job_id: UUID, pixels: Any) -> None: ...


class Outcome:
    def __init__(self, **options: Any) -> None:
        self.pipeline = Slow(0)
        self.finished: list[UUID] = []
        self.failed: dict[UUID, RunError] = {}
        stopped = options.pop("stopped", frozenset())
        self.run = BatchRun(
            self.pipeline,
            context_for=lambda _items: FreeContext(stopped),
            finished=lambda item, _pictures: self.finished.append(item.job_id),
            failed=lambda item, error: self.failed.__setitem__(item.job_id, error),
            **options,
        )


def items(*prompts: str, **params: Any) -> list[Item]:
    given = {"seed": 1, "width": 8, "height": 8, "num_inference_steps": 1, **params}
    return [Item(uuid4(), "text_to_image", TextToImageParams(prompt=prompt, **given)) for prompt in prompts]


def ids(batch: Sequence[Item]) -> list[UUID]:
    return [item.job_id for item in batch]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    batch, outcome = items(*["oom 2"] * 8), Outcome()
    outcome.run.run(batch)

    assert outcome.finished == ids(batch)
    assert outcome.pipeline.batches == [8, 4, 2, 2, 4, 2, 2]
    assert outcome.run.ladder == ["split 8 to 4", "split 4 to 2", "split 4 to 2"]
    assert outcome.run.max_items == 2


def test_what_did_not_fit_once_is_not_tried_again() -> None:
    batch, outcome = items(*["oom 2"] * 5), Outcome(max_items=2)
    outcome.run.run(batch)

    assert outcome.finished == ids(batch)
    assert outcome.pipeline.batches == [2, 2, 1]


def test_a_single_item_slims_the_pipeline() -> None:
    batch, outcome = items("oom slim 1"), Outcome()
    outcome.run.run(batch)

    assert outcome.finished == ids(batch)
    assert outcome.run.ladder == ["slim"]


def test_after_the_last_step_of_the_ladder_that_item_fails_alone() -> None:
    batch, outcome = items("a cat", "oom 0"), Outcome()
    outcome.run.run(batch)

    assert outcome.finished == [batch[0].job_id]
    assert isinstance(outcome.failed[batch[1].job_id], OutOfMemoryError)
    assert outcome.run.ladder == ["split 2 to 1", "slim", "slim"]


def test_an_invalid_item_fails_alone_and_the_rest_runs_again() -> None:
    batch, outcome = items("a cat", "invalid", "a dog"), Outcome()
    outcome.run.run(batch)

    assert outcome.finished == [batch[0].job_id, batch[2].job_id]
    assert isinstance(outcome.failed[batch[1].job_id], InvalidInputError)


def test_a_foreign_exception_fails_the_batch_without_paths_and_prompts() -> None:
    batch, outcome = items("raise", "a secret prompt"), Outcome()
    outcome.run.run(batch)

    assert set(outcome.failed) == set(ids(batch))
    error = outcome.failed[batch[0].job_id]
    assert isinstance(error, PipelineFailedError)
    assert error.detail == "RuntimeError: …: …, in …"


def test_missing_pictures_fail_their_item() -> None:
    batch, outcome = items("a cat", "missing", num_images=2), Outcome()
    outcome.run.run(batch)

    assert outcome.finished == [batch[0].job_id]
    assert outcome.failed[batch[1].job_id].detail == "The pipeline made 0 of 2 outputs."


def test_a_stopped_batch_reports_nothing() -> None:
    batch = items("a cat", "a dog")
    outcome = Outcome(stopped=frozenset(ids(batch)))
    outcome.run.run(batch)

    assert not outcome.finished
    assert not outcome.failed


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_every_allocators_refusal_is_out_of_memory(error: Exception) -> None:
    assert isinstance(as_run_error(error), OutOfMemoryError)


def test_torchs_own_class_is_out_of_memory() -> None:
    import torch

    assert isinstance(as_run_error(torch.OutOfMemoryError("no")), OutOfMemoryError)


def test_a_broken_cuda_context_asks_for_a_fresh_process() -> None:
    error = as_run_error(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert error.extra == {"corrupt": True}
