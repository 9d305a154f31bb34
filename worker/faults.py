"""What went wrong in a pipeline, as one of ours: foreign exceptions are mapped here if a family let one through.

The detail of an error is stored and shown to the client, so it carries no path of this machine and no prompt.
"""

import re
import traceback
from collections.abc import Iterable

import structlog

from models.errors import OutOfMemoryError, PipelineFailedError, RunError

MAX_DETAIL_CHARS = 200
MIN_SECRET_CHARS = 4
"""Shorter prompts are parts of ordinary words."""
_SHORTAGES = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators (CUDA, MPS, CPU) say that there is no room, in lower case."""
_PATH = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?(?:[\\/][\w.@+-]+){2,}")
_CORRUPTING = ("cuda error", "device-side assert", "cublas_status_execution_failed")

log = structlog.get_logger()


def as_run_error(error: Exception, secrets: Iterable[str] = ()) -> RunError:
    """The typed error that ends the attempt. It holds no frame, so the failed run's tensors can go at once."""
    if isinstance(error, RunError):
        error.detail = without(error.detail, secrets)
        return _bare(error)
    name = type(error).__name__
    if is_shortage(error):
        return OutOfMemoryError(f"{name}: {clean(str(error), secrets)}")
    # The stack without the message: that may quote what the client sent.
    log.error("a pipeline failed", error=name, stack="".join(traceback.format_tb(error.__traceback__)))
    return PipelineFailedError(f"{name}: {clean(str(error), secrets)}", corrupt=is_corrupting(error))


def is_shortage(error: BaseException) -> bool:
    """Whether an allocator refused."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _SHORTAGES)


def is_corrupting(error: BaseException) -> bool:
    """Whether the CUDA context is of no use any more, so that only a fresh process helps."""
    return any(text in str(error).lower() for text in _CORRUPTING) and not is_shortage(error)


def clean(message: str, secrets: Iterable[str]) -> str:
    """The first line of a message, without paths and without what the client wrote."""
    # The whole of it first: of a prompt with several lines, the first would be left.
    line = without(message, secrets).strip().partition("\n")[0]
    return _PATH.sub("…", line)[:MAX_DETAIL_CHARS]


def without(message: str, secrets: Iterable[str]) -> str:
    """A message without what the client wrote, as it is and as Python would quote it."""
    for secret in sorted((text for text in secrets if len(text.strip()) >= MIN_SECRET_CHARS), key=len, reverse=True):
        message = message.replace(secret, "…").replace(repr(secret)[1:-1], "…")
    return message


def _bare(error: RunError) -> RunError:
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
