"""One fresh process for each upload that is looked into: what breaks it, or takes it over, ends with that process.

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
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, BinaryIO

from api.uploads import decoder, zip_checker
from models.errors import UnavailableError

PROGRAM = Path(decoder.__file__)
ZIP_PROGRAM = Path(zip_checker.__file__)
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


def run_decoder(data: bytes, format_name: str, max_pixels: int, limits: Limits, *mode: str) -> Outcome:
    """Decode a picture in a child; with the mode `hash` it answers with the hash of the pixels.

    Raises:
        UnavailableError: this machine cannot start one now.
    """
    try:
        with _memory_file("picture") as given:
            given.write(data)
            given.seek(0)
            return _run(PROGRAM, given, (format_name, max_pixels), limits, mode)
    except OSError as error:
        raise _cannot_start() from error


def run_zip_checker(archive: IO[bytes], most: Sequence[int], limits: Limits) -> Outcome:
    """Look through a zip in a child. `archive` is an open file of this machine; `most` is what the program takes.

    Raises:
        UnavailableError: this machine cannot start one now.
    """
    try:
        archive.seek(0)
        return _run(ZIP_PROGRAM, archive, most, limits)
    except OSError as error:
        raise _cannot_start() from error


def _run(
    program: Path, given: IO[bytes], arguments: Sequence[object], limits: Limits, mode: Sequence[str] = ()
) -> Outcome:
    # A file in memory instead of a pipe: neither side can make the other wait, and the answer's length is limited.
    with _memory_file("answer") as answer:
        ending = _ending_of(program, given.fileno(), answer.fileno(), arguments, limits, mode)
        answer.seek(0)
        if ending is Ending.DONE:
            return Outcome(ending, answer.read(limits.output_bytes))
        reason = _REASON.fullmatch(answer.read(_REASON_BYTES)) if ending is Ending.BROKEN else None
        return Outcome(ending, reason=reason[0].decode() if reason else ending.value)


def _ending_of(
    program: Path, given: int, answer: int, arguments: Sequence[object], limits: Limits, mode: Sequence[str]
) -> Ending:
    numbers = (limits.memory_bytes, max(1, round(limits.seconds)), limits.output_bytes)
    process = subprocess.Popen(
        [sys.executable, "-I", str(program), *map(str, (*arguments, *numbers, *mode))],
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


def _cannot_start() -> UnavailableError:
    return UnavailableError("No process can be started to look into the upload; try again in a moment.")
