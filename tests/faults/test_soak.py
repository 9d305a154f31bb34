"""The soak in short: every kind of fault, few jobs. `make soak` runs the long one."""

import pytest

from models.states import JobState
from tests.faults.chaos import OUTAGES, draw_acts, span_of
from tests.faults.orders import POISON_JOBS, draw_orders
from tests.faults.soak import Plan, run

SHORT = Plan(seed=1, jobs=300, outage_seconds=5, max_crashes=3)


@pytest.mark.slow
def test_every_job_ends_once_whatever_happens() -> None:
    """Given a fleet under kills and outages, when 300 jobs were accepted, then each one's books are in order."""
    result = run(SHORT)
    assert not result.complaints, "\n".join(result.complaints)
    assert len(result.books.orders) == SHORT.jobs
    assert result.books.count(JobState.FAILED) - len(result.books.unlucky()) == POISON_JOBS
    # Not of a quiet run.
    assert {*OUTAGES, "postgres restart", "kill sweeper", "kill worker main"} <= result.done.keys()
    assert result.ledger.troubles


def test_a_seed_is_a_plan() -> None:
    span = span_of(300, 5)
    assert draw_orders(7, 300, 4, span) == draw_orders(7, 300, 4, span) != draw_orders(8, 300, 4, span)
    assert draw_acts(7, span, 5) == draw_acts(7, span, 5) != draw_acts(8, span, 5)
    assert sum(order.poison for order in draw_orders(7, 300, 4, span)) == POISON_JOBS


@pytest.mark.parametrize("seed", range(5))
def test_every_plan_has_every_outage(seed: int) -> None:
    names = [act.name for act in draw_acts(seed, span_of(300, 5), 5)]
    assert all(names.count(name) == 1 for name in (*OUTAGES, "postgres restart"))
    assert {"kill worker", "zombie", "kill api", "kill sweeper", "flushall", "tickets"} <= set(names)
