"""Named places where a test may make a process die, stop, wait or fail. Compiled in, and off unless armed.

    SAFELIGHT_FAILPOINTS="before_publish=kill@0.02,after_claim=wait" SAFELIGHT_FAILPOINT_FOLDER=/tmp/points

`reach(name)` costs one look at an empty dictionary while nothing is armed. An armed point acts with its probability
(1 when none is given):

    kill       SIGKILL to this process
    stop       SIGSTOP to this process, until somebody sends SIGCONT
    raise      a `FailpointError`
    sleep:S    S seconds
    oom:N      a `MemoryError`, in each process the first N times
    wait       writes `<folder>/<name>.<pid>.reached` and waits until `<folder>/<name>.go` is there
    once-*     any of these, by the first process that gets here (`<folder>/<name>.used` marks it)

Tests arm them through the environment of the processes that they start; production never sets either variable.
"""

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from models.settings import Settings

POINTS: frozenset[str] = frozenset({
    "after_submit",  # API: the job is committed, its ticket is not sent
    "after_claim",  # worker: the claim is committed, nothing ran
    "before_run",  # worker: the checkpoint is loaded, the pipeline is about to run
    "before_pass",  # worker: the pipeline is about to be called, for a batch or a part of one
    "after_run",  # worker: the pictures are there, the courier has not got them
    "before_put",  # courier: encoded, not stored
    "after_put",  # courier: stored, not published
    "before_publish",  # courier: inside the publishing transaction, after its guard passed
    "after_commit",  # courier: published, the receipt is not sent
    "before_fail",  # worker or courier: inside the failing transaction, after its guard passed
    "before_delivery",  # dispatcher: a webhook is claimed, not sent
    "after_delivery",  # dispatcher: the target answered, the outcome is not written
})  # fmt: skip
WAIT_SECONDS = 300.0
"""A `wait` that nobody ends goes on by itself."""
_FORM = re.compile(
    r"(?P<once>once-)?(?P<kind>kill|stop|raise|sleep|oom|wait)(:(?P<figure>[\d.]+))?(@(?P<chance>[\d.]+))?"
)


class FailpointError(RuntimeError):
    """What an armed `raise` raises: an error that no code of ours expects."""


@dataclass(frozen=True)
class _Action:
    kind: str
    once: bool
    figure: float
    """Seconds of a sleep, times of a shortage."""
    chance: float


log = structlog.get_logger()

_armed: dict[str, _Action] = {}
_shortages: Counter[str] = Counter()
_folder = Path()


def arm(settings: Settings) -> None:
    """Take the points that the settings name.

    Raises:
        ValueError: an unknown point or action, or one that needs a folder and has none.
    """
    global _folder  # noqa: PLW0603  # once per process, at its start
    _armed.clear()
    _shortages.clear()
    _armed.update(_parse(settings.failpoints))
    if settings.failpoint_folder is not None:
        _folder = settings.failpoint_folder
    elif any(action.once or action.kind == "wait" for action in _armed.values()):
        raise ValueError("SAFELIGHT_FAILPOINT_FOLDER is needed by `wait` and `once-`")


def reach(name: str) -> None:
    """The process is at this point."""
    action = _armed.get(name)
    if action is None or random.random() >= action.chance:
        return
    if action.once and not _first(name):
        return
    log.warning("a failpoint acts", point=name, what=action.kind)
    _ACTIONS[action.kind](name, action)


def _parse(text: str) -> Mapping[str, _Action]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, how = part.partition("=")
        match = _FORM.fullmatch(how)
        if name not in POINTS or match is None:
            raise ValueError(f"not a failpoint: {part!r}; known are {', '.join(sorted(POINTS))}")
        chance, figure = match["chance"], match["figure"]
        found[name] = _Action(match["kind"], match["once"] is not None, float(figure or 0), float(chance or 1))
    return found


def _first(name: str) -> bool:
    try:
        (_folder / f"{name}.used").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _signal(number: int) -> Callable[[str, _Action], None]:
    return lambda _name, _action: os.kill(os.getpid(), number)


def _raise(name: str, _action: _Action) -> None:
    raise FailpointError(name)


def _sleep(_name: str, action: _Action) -> None:
    time.sleep(action.figure)


def _oom(name: str, action: _Action) -> None:
    if _shortages[name] < action.figure:
        _shortages[name] += 1
        raise MemoryError(f"a failpoint: {name}")


def _wait(name: str, _action: _Action) -> None:
    mark = _folder / f"{name}.{os.getpid()}.reached"
    mark.touch()
    until = time.monotonic() + WAIT_SECONDS
    while not (_folder / f"{name}.go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    with suppress(OSError):
        mark.unlink()


_ACTIONS: dict[str, Callable[[str, _Action], None]] = {
    "kill": _signal(signal.SIGKILL),
    "stop": _signal(signal.SIGSTOP),
    "raise": _raise,
    "sleep": _sleep,
    "oom": _oom,
    "wait": _wait,
}
