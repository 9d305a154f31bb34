"""Holds by the monotonic clock, the context's view of them, and the drain."""

from uuid import uuid4

import pytest

from models.errors import StoppedError
from models.jobs import Hold
from models.progress import Progress
from worker.context import PREVIEW_MOST_SECONDS, PREVIEW_SECONDS, PreviewPace, RunContext
from worker.drain import Drain
from worker.holds import Holds, Stop


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> list[tuple[Hold, Stop]]:
    return []


@pytest.fixture
def holds(clock: Clock, heard: list[tuple[Hold, Stop]]) -> Holds:
    return Holds(60, lambda hold, stop: heard.append((hold, stop)), clock)


def hold_of(attempt: int = 1) -> Hold:
    return Hold(uuid4(), attempt, "w")


def test_a_hold_is_good_for_one_lease_from_before_its_claim_was_sent(holds: Holds, clock: Clock) -> None:
    hold = hold_of()
    holds.add([hold], since=95.0)
    clock.now = 154.9
    assert holds.stop_of(hold) is None
    clock.now = 155.0
    assert holds.stop_of(hold) is Stop.LOST
    assert holds.current() == []


def test_a_heartbeat_extends_what_it_kept_and_loses_the_rest(
    holds: Holds, clock: Clock, heard: list[tuple[Hold, Stop]]
) -> None:
    kept, lost = hold_of(), hold_of()
    holds.add([kept, lost], since=100.0)
    clock.now = 150.0
    holds.beaten([kept, lost], frozenset({kept.job_id}), since=140.0)
    clock.now = 199.0
    assert holds.stop_of(kept) is None
    assert holds.stop_of(lost) is Stop.LOST
    assert heard == [(lost, Stop.LOST)]


def test_an_older_attempt_of_the_same_job_is_lost(holds: Holds) -> None:
    older = hold_of()
    newer = Hold(older.job_id, 2, "w")
    holds.add([older, newer], since=100.0)
    holds.beaten([older, newer], frozenset({older.job_id}), since=100.0)
    assert holds.stop_of(older) is Stop.LOST
    assert holds.stop_of(newer) is None


def test_a_lost_lease_outranks_a_cancel_and_each_is_heard_once(holds: Holds, heard: list[tuple[Hold, Stop]]) -> None:
    hold = hold_of()
    holds.add([hold], since=100.0)
    holds.cancel([hold.job_id])
    holds.cancel([hold.job_id])
    holds.beaten([hold], frozenset(), since=100.0)
    assert heard == [(hold, Stop.CANCELED), (hold, Stop.LOST)]


def test_what_was_never_held_or_is_forgotten_counts_as_lost(holds: Holds) -> None:
    assert holds.stop_of(hold_of()) is Stop.LOST


class Silent:
    said: list[Progress]

    def __init__(self) -> None:
        self.said = []

    def say(self, progress: dict[object, Progress]) -> None:
        self.said.extend(progress.values())

    def show(self, job_id: object, pixels: object) -> None: ...


def test_a_draining_context_stops_what_cannot_end_in_time(holds: Holds) -> None:
    hold = hold_of()
    holds.add([hold], since=100.0)
    drain = Drain(grace_seconds=0.05)
    context = RunContext([hold], holds, drain, Silent())  # type: ignore[arg-type]
    context.raise_if_all_stopped()
    drain.request()
    context._remaining_seconds = 10.0
    with pytest.raises(StoppedError):
        context.raise_if_all_stopped()
    assert holds.stop_of(hold) is Stop.DRAINED


def test_the_second_request_to_drain_means_now() -> None:
    drain = Drain(grace_seconds=100)
    assert not drain.leaves_no_time_for(1000)
    drain.request()
    assert not drain.leaves_no_time_for(1)
    drain.request()
    assert drain.leaves_no_time_for(0.001)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_preview_that_costs_much_comes_less_often() -> None:
    """Given a decoder that takes 50 ms, then the next preview is due when that is one hundredth of the time."""
    clock = Clock()
    pace = PreviewPace(clock)
    pace.begins()
    assert not pace.due()
    clock.now += PREVIEW_SECONDS
    assert pace.due()
    clock.now += 0.05
    pace.made()
    clock.now += 4.9
    pace.begins()  # the next batch does not start afresh
    assert not pace.due()
    clock.now += PREVIEW_SECONDS
    assert pace.due()
    pace.made()
    clock.now += PREVIEW_SECONDS
    assert pace.due()
    clock.now += 60.0  # a fit, once
    pace.made()
    clock.now += PREVIEW_MOST_SECONDS
    assert pace.due()
    assert not pace.due()
