"""Foreign errors mapped where they enter: what torch and the model libraries raise becomes one of ours."""

from collections.abc import Callable
from typing import TypeVar

import torch

from models.errors import (
    CheckpointUnavailableError,
    OutOfMemoryError,
    PipelineFailedError,
    SafelightError,
)

T = TypeVar("T")

_SHORTAGES = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators (CUDA, MPS, CPU) say that there is no room, in lower case."""


def is_shortage(error: BaseException) -> bool:
    """Whether this is an allocator's refusal."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _SHORTAGES)


def guarded(work: Callable[[], T], failed: type[SafelightError] = PipelineFailedError) -> T:
    """Do `work`; our own errors pass, a shortage becomes `OutOfMemoryError`, all else becomes `failed`.

    The shortage is raised outside the handler on purpose: a chained exception would keep the frames of the failed call
    alive, and with them the very tensors that must go before a smaller batch is tried.
    """
    try:
        return work()
    except SafelightError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise failed(f"{type(error).__name__}: {_first_line(error)}") from error
        shortage = _first_line(error)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemoryError(shortage)


def guarded_load(work: Callable[[], T]) -> T:
    """`guarded` for `setup`: what cannot be loaded is an unavailable checkpoint."""
    return guarded(work, CheckpointUnavailableError)


def _first_line(error: BaseException) -> str:
    """Torch's messages run over pages of hints; the first line says what happened."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
