"""What a failed run tells: no word of the client's, whoever raised it and however it was quoted."""

import pytest

from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError
from worker.faults import as_run_error

PROMPT = "a fox\nwith a 'quoted' tail"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"cannot draw {PROMPT}"),
        RuntimeError(f"cannot draw {PROMPT!r}"),
        InvalidInputError(f"cannot draw {PROMPT}"),
        OutOfMemoryError(f"no room for {PROMPT!r}"),
        PipelineFailedError(f"{PROMPT}{PROMPT}"),
        MemoryError(f"out of memory at {PROMPT}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_prompt_is_in_no_error(error: Exception) -> None:
    found = as_run_error(error, [PROMPT])
    assert "fox" not in found.detail
    assert "quoted" not in found.detail
    assert "…" in found.detail
    assert found.__cause__ is None
    assert found.__traceback__ is None


def test_the_rest_of_a_typed_error_stays() -> None:
    found = as_run_error(InvalidInputError("The prompt is 90 tokens long.", job_id="x"), [PROMPT])
    assert (found.detail, found.extra) == ("The prompt is 90 tokens long.", {"job_id": "x"})
