"""The vocabulary of the monitor: a check, what was found, and how the whole installation is. A leaf."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models.states import Pool


class Severity(StrEnum):
    """How bad it is if the check finds something."""

    WARNING = "warning"
    """It works, slower or with less room than it should; nothing is wrong with the rows."""
    BROKEN = "broken"
    """A promise of the protocol does not hold."""


@dataclass(frozen=True)
class Invariant:
    """One check. `sql` gives a row (`subject`, `seconds`) for each thing of which the promise does not hold."""

    name: str
    severity: Severity
    promise: str
    advice: str
    sql: str


@dataclass(frozen=True)
class Violation:
    """A check that found something."""

    invariant: Invariant
    count: int
    """Up to `table.MOST`; more were not counted."""
    examples: tuple[str, ...]
    """Ids and names of the first few. For operators: they may name clients."""
    seconds: float | None
    """How long the worst of them has been so, where that is known."""


@dataclass(frozen=True)
class Figures:
    """Gauges that are neither good nor bad by themselves. Ages are in seconds; None where there is nothing."""

    queue_oldest: Mapping[Pool, float | None]
    """Since when the oldest claimable job of each pool waits."""
    webhooks_due: int
    """Deliveries that could be sent now, counted up to `figures.DUE_CAP`."""
    webhooks_oldest: float | None
    sweep_age: float | None
    """Since the last sign of life of any sweeper."""
    sweepers: int
    dispatchers: int


@dataclass(frozen=True)
class Health:
    """What one examination found, at one moment."""

    examined_at: datetime
    violations: tuple[Violation, ...]
    figures: Figures

    def violation(self, name: str) -> Violation | None:
        """What this check found."""
        return next((found for found in self.violations if found.invariant.name == name), None)

    @property
    def broken(self) -> bool:
        """Whether a promise does not hold; warnings do not count."""
        return any(found.invariant.severity is Severity.BROKEN for found in self.violations)
