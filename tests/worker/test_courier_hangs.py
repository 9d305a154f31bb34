"""A courier that lives and does not work: its worker kills it, and the parcels go out by another."""

import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.test_courier import HOLD, parcel, pixels
from tests.worker.test_processes import attempts_of, child_of, courier_of, stored
from worker.courier.client import MAX_TRIES, CourierClient
from worker.courier.frames import PARCELS_AT_ONCE, Delivery, Receipt

PARCEL_SECONDS = 5.0
"""More than a courier takes to start on a busy machine."""
THREADED = """
import sys, threading, time
from pathlib import Path
from worker.courier.frames import *

def serve(hold):
    with Path(sys.argv[1]).open("a") as log:
        log.write(str(hold.attempt))
    if {hangs}:
        time.sleep(3600)
    line = write_receipt(Receipt(hold, Delivery.PUBLISHED))
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()

while frame := read_frame(sys.stdin.buffer):
    threading.Thread(target=serve, args=[frame[0].hold], daemon=True).start()
"""


@pytest.fixture
def receipts() -> list[Receipt]:
    return []


class Started:
    """A client over a courier that hangs as told, and what its couriers were given."""

    def __init__(self, receipts: list[Receipt], log: Path, hangs: str) -> None:
        log.touch()
        self.log = log
        argv = (sys.executable, "-c", THREADED.format(hangs=hangs), str(log))
        self.client = CourierClient(receipts.append, 64, argv, PARCEL_SECONDS)
        self.client.start()

    def hand_over(self, *numbers: int) -> None:
        for number in numbers:
            assert self.client.hand_over(parcel(replace(HOLD, attempt=number)), pixels(), lambda: False)

    def tries(self, number: int) -> int:
        return self.log.read_text().count(str(number))


@pytest.fixture
def started() -> Iterator[list[Started]]:
    made: list[Started] = []
    yield made
    for one in made:
        one.client.close(0)


def test_a_parcel_that_hangs_once_goes_out_by_the_next_courier(
    receipts: list[Receipt], started: list[Started], tmp_path: Path
) -> None:
    once = "hold.attempt == 1 and Path(sys.argv[1]).read_text().count('1') == 1"
    started.append(Started(receipts, tmp_path / "log", once))
    (one,) = started
    one.hand_over(1, 2)
    assert one.client.flush(30)
    assert sorted(receipt.hold.attempt for receipt in receipts) == [1, 2]
    assert {receipt.delivery for receipt in receipts} == {Delivery.PUBLISHED}
    assert one.tries(1) == 2


@pytest.mark.slow
def test_a_parcel_that_hangs_every_courier_is_given_up_and_takes_no_other_with_it(
    receipts: list[Receipt], started: list[Started], tmp_path: Path
) -> None:
    """Given others beside it and behind it each time, then only the one that hangs is to blame."""
    started.append(Started(receipts, tmp_path / "log", "hold.attempt == 1"))
    (one,) = started
    one.hand_over(1)
    until(lambda: one.tries(1) == MAX_TRIES, 90, what="the last try")
    one.hand_over(*range(2, 2 + PARCELS_AT_ONCE))
    assert one.client.flush(30)
    deliveries = {receipt.hold.attempt: receipt.delivery for receipt in receipts}
    assert deliveries.pop(1) is Delivery.CRASHED
    assert set(deliveries.values()) == {Delivery.PUBLISHED}
    assert len(receipts) == 1 + PARCELS_AT_ONCE


@pytest.mark.slow
def test_while_every_parcel_comes_to_its_end_nobody_is_killed(
    receipts: list[Receipt], started: list[Started], tmp_path: Path
) -> None:
    """Given parcels that together take longer than one may, when each comes to its end in time, then all is well."""
    started.append(Started(receipts, tmp_path / "log", "time.sleep(0.5)"))
    (one,) = started
    until(lambda: one.client.pid, what="the courier")
    pid = one.client.pid
    for first in range(1, 25, 2):
        one.hand_over(first, first + 1)
        assert one.client.flush(30)
    assert one.client.pid == pid
    assert len(receipts) == 24


@pytest.mark.slow
def test_a_courier_process_that_was_stopped_is_replaced_and_the_job_ends_once(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage
) -> None:
    """Given a courier that hangs with the pictures, then the device does not run again for them."""
    quick = {"SAFELIGHT_STORE_BUDGET_SECONDS": "1", "SAFELIGHT_STORE_GRACE_SECONDS": "1"}
    worker = crew.worker(**quick)
    courier = courier_of(child_of(worker))
    assert courier is not None
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.3"})
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the run")
    courier.send_signal(signal.SIGSTOP)

    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert [attempt.outcome for attempt in attempts_of(sessions, job)] == [AttemptOutcome.SUCCEEDED]
    assert stored(sessions, storage, job) == 1
    until(lambda: not psutil.pid_exists(courier.pid), what="the end of the stopped one")
