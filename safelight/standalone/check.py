"""The vocabulary of ``doctor``: one check, its level, and what to do.  A leaf."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a warning works and may surprise, a failure does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    level: Level
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Check:
    """It is as it should be."""
    return Check(name, Level.OK, detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    """It works, and somebody should know this."""
    return Check(name, Level.WARN, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name, Level.FAIL, detail, remedy)


def attempt(name: str, check: Callable[[], Check], remedy: str) -> Check:
    """Run a check; whatever it raises is a failure of what it looked at."""
    return attempt_all(name, lambda: [check()], remedy)[0]


def attempt_all(name: str, checks: Callable[[], list[Check]], remedy: str) -> list[Check]:
    """The same for one that finds several things."""
    try:
        return checks()
    except Exception as error:  # noqa: BLE001  a doctor that stumbles over a patient has found something
        return [fail(name, f"{type(error).__name__}: {error}".splitlines()[0], remedy)]
