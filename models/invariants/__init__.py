"""The invariant monitor: what must always hold of the rows, asked of the rows themselves. It only reads.

`table` names the checks, `figures` are the gauges beside them, `examine` asks all of it in one snapshot, so that a
transaction in flight is never seen half done. It runs wherever somebody looks (API, `safelight doctor`), not in the
sweeper: a monitor must not live in what it watches. `python -m models.invariants` prints it as JSON.
"""

from models.invariants.examination import NEWEST, examine
from models.invariants.health import Figures, Health, Invariant, Severity, Violation
from models.invariants.table import INVARIANTS

__all__ = ["INVARIANTS", "NEWEST", "Figures", "Health", "Invariant", "Severity", "Violation", "examine"]
