"""One fresh process for each upload that is decoded: what breaks a decoder, or takes it over, ends with that process.

A fresh one costs some 40 ms of start-up, nearly all of it Pillow's import; a pool would save that, and let one
client's picture meet the next one's in a process that may have been taken over. How many run at a time is
`Services.decoders`.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from api.uploads import decoder
from models.errors import UnavailableError

PROGRAM = Path(decoder.__file__)
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "SYSTEMROOT")
"""All that the child sees of the environment, which holds passwords: where a Python may need to find its libraries."""
_REASON = re.compile(rb"[A-Za-z]{1,60}")
_REASON_BYTES = 64


class Ending(Enum):
    """How the child ended."""

    DONE = "done"
    BROKEN = "broken"
    """Pillow raised an error."""
    TOO_LARGE = "too_large"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    """By a signal, or in a way that the program does not know."""


@dataclass(frozen=True)
class Limits:
    """Of one child."""

    memory_bytes: int
    seconds: float
    output_bytes: int


@dataclass(frozen=True)
class Outcome:
    """`body` is what the child wrote: to be checked, since the child may have been taken over."""

    ending: Ending
    body: bytes = b""
    reason: str = ""


_STATUSES = {
    0: Ending.DONE,
    decoder.BROKEN_STATUS: Ending.BROKEN,
    decoder.MEMORY_STATUS: Ending.OUT_OF_MEMORY,
    decoder.TOO_LARGE_STATUS: Ending.TOO_LARGE,
    -signal.SIGXCPU: Ending.TIMED_OUT,
}


def run_decoder(data: bytes, format_name: str, max_pixels: int, limits: Limits) -> Outcome:
    """Decode in a child.

    Raises:
        UnavailableError: this machine cannot start one now.
    """
    try:
        # Files in memory instead of pipes: neither side can make the other wait, and the answer's length is limited.
        with _memory_file("picture") as given, _memory_file("answer") as answer:
            given.write(data)
            given.seek(0)
            ending = _run(given.fileno(), answer.fileno(), format_name, max_pixels, limits)
            answer.seek(0)
            if ending is Ending.DONE:
                return Outcome(ending, answer.read(limits.output_bytes))
            reason = _REASON.fullmatch(answer.read(_REASON_BYTES)) if ending is Ending.BROKEN else None
            return Outcome(ending, reason=reason[0].decode() if reason else ending.value)
    except OSError as error:
        raise UnavailableError("No process can be started to decode the picture; try again in a moment.") from error


def _run(given: int, answer: int, format_name: str, max_pixels: int, limits: Limits) -> Ending:
    numbers = (max_pixels, limits.memory_bytes, max(1, round(limits.seconds)), limits.output_bytes)
    process = subprocess.Popen(
        [sys.executable, "-I", str(PROGRAM), format_name, *map(str, numbers)],
        stdin=given,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
    )
    try:
        if not _ends_within(process, limits.seconds):
            return Ending.TIMED_OUT
    finally:
        process.kill()
        process.wait()
    return _STATUSES.get(process.returncode, Ending.CRASHED)


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Without polling, as `Popen.wait` with a timeout does."""
    until = time.monotonic() + seconds
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
    finally:
        os.close(handle)


def _memory_file(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name, os.MFD_CLOEXEC), "w+b")
