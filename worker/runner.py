"""From a ticket to the queue's end: claim a batch, run it, hand it to the courier, claim the next at once.

The device's thread does nothing else: leases, progress, storing, publishing and tickets all happen beside it.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from models.errors import InvalidInputError, RunError, RunTimedOutError, TransientError
from models.failpoints import reach
from models.jobs import ClaimedJob, Hold, claim, fail, pools_woken, release_canceled, release_drained, work_waits
from models.jobs.order import advance
from models.jobs.queries import learn_speed
from models.params import TASKS, TaskParams
from models.progress import Progress
from models.queue import TicketSender
from models.session import Sessions
from models.settings import Settings
from models.states import Pool
from worker.aside import Aside
from worker.batch import BatchRun
from worker.context import PreviewPace, RunContext
from worker.courier.client import CourierClient
from worker.courier.frames import Delivery, Receipt
from worker.devices import Device
from worker.drain import Drain
from worker.faults import as_run_error
from worker.holds import Holds, Stop
from worker.inputs import Fetched, InputReader, make_item
from worker.packing import pack
from worker.pipelines.base import Item, Library, Output, Shelf
from worker.reporter import Reporter
from worker.residency import Residency, Resident
from worker.watchdog import Watchdog

SETTLE_PAUSE_SECONDS = 0.5
SUSPECT_PAUSE_SECONDS = 0.25
"""How often a worker that still stores pictures looks whether something other than a suspect waits."""
MOMENT_SECONDS = 0.01

log = structlog.get_logger()


@dataclass
class Batch:
    """What was claimed together, on its way."""

    jobs: dict[UUID, ClaimedJob]
    started_at: float = 0.0
    load_seconds: float = 0.0
    params: dict[UUID, TaskParams] = field(default_factory=dict)
    inputs: dict[UUID, Fetched] = field(default_factory=dict)
    ladder: list[str] = field(default_factory=list)

    @property
    def suspect(self) -> bool:
        """Whether a worker was lost with it: then nothing else may be held beside it."""
        return any(job.isolate for job in self.jobs.values())

    def measures(self, job_id: UUID, device: Device) -> dict[str, Any]:
        """What the attempt will remember of this run, as of now."""
        job = self.jobs[job_id]
        return {
            "device": device.name,
            "queued_seconds": round(job.queued_seconds, 4),
            "load_seconds": round(self.load_seconds, 4),
            "run_seconds": round(time.monotonic() - self.started_at - self.load_seconds, 4),
            "batch_jobs": len(self.jobs),
            "batch_images": sum(mate.images for mate in self.jobs.values()),
            "ladder": list(self.ladder),
        }


@dataclass
class Runner:
    """Everything that running a batch needs, once per process."""

    settings: Settings
    pool: Pool
    owner: str
    sessions: Sessions
    device: Device
    holds: Holds
    drain: Drain
    residency: Residency
    reporter: Reporter
    tickets: TicketSender
    aside: Aside
    inputs: InputReader
    library: Library
    shelf_of: Callable[[Hold], Shelf]
    courier: CourierClient = field(init=False)
    watchdog: Watchdog = field(init=False)
    phase: str = "idle"
    _previews: PreviewPace = field(default_factory=PreviewPace)
    _claimer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="claimer"))
    _ahead: "Future[Batch | None] | None" = None
    _running: Batch | None = None

    def __post_init__(self) -> None:
        self.courier = CourierClient(
            self.received,
            max_images=4 * self.settings.max_batch_images,
            parcel_seconds=self.settings.store_budget_seconds + self.settings.store_grace_seconds,
        )
        self.holds.on_stop = lambda hold, stop: self.courier.drop(hold) if stop in UNWANTED else None
        self.watchdog = Watchdog(self.settings.run_timeout_seconds, self.holds, self.settings.load_timeout_seconds)

    def run_until_empty(self) -> int:
        """Claim and run batches until nothing waits or the worker drains. Returns how many jobs it took."""
        taken = 0
        try:
            while not self.drain.requested and (batch := self._next()) is not None:
                taken += len(batch.jobs)
                self.run_batch(batch)
        except OperationalError as error:
            # The sweeper sends a ticket again once Postgres is back.
            log.warning("Postgres gives no work", error=type(error.orig).__name__)
        finally:
            self._give_back_ahead()
        return taken

    def run_batch(self, batch: Batch) -> None:
        """Take every job of the batch to its end, or into the courier's hands."""
        first = next(iter(batch.jobs.values()))
        batch.started_at = time.monotonic()
        try:
            self.phase = "loading"
            self._say(batch, "loading")
            self._running = batch
            with self.watchdog.loading([job.hold for job in batch.jobs.values()]):
                resident = self.residency.get(first.checkpoint_id)
            batch.load_seconds = time.monotonic() - batch.started_at
            self.phase = "running"
            reach("before_run")
            with self.residency.running(resident.row.id):
                self._run(batch, resident, self._items_of(batch, resident))
        except DBAPIError as error:
            self._fail_rest(batch, TransientError(f"Postgres did not answer: {type(error.orig).__name__}."))
        except Exception as error:  # noqa: BLE001  # a hold that nobody ends would be extended for ever
            self._fail_rest(batch, as_run_error(error))
        finally:
            self.phase = "idle"

    def fail_hung(self, holds: Sequence[Hold]) -> None:
        """Called by the watchdog, before the process ends: these did not come back."""
        if self._running is not None:
            self._fail_rest(self._running, self._timed_out(), holds)

    def give_back_unstored(self) -> None:
        """Called by the drain's deadline, from a thread of its own: nothing that is not made yet waits any longer."""
        for hold in self.holds.current():
            if not self.courier.has(hold):
                self._settle(hold, partial(release_drained, hold=hold))

    def received(self, receipt: Receipt) -> None:
        """The courier is done with a parcel."""
        hold, stop = receipt.hold, self.holds.stop_of(receipt.hold)
        if receipt.delivery is Delivery.CRASHED:
            error = RunError("The process that stores pictures died of this one.")
            self.aside.do("fail", lambda: self._settle(hold, lambda s: fail(s, hold, error, self.settings, {})))
        elif receipt.delivery is Delivery.DROPPED and stop in RELEASES:
            self.aside.do("release", lambda: self._settle(hold, lambda s: RELEASES[stop](s, hold)))
        else:
            self.holds.forget(hold)
        if receipt.delivery is Delivery.PUBLISHED:
            self.aside.do("wake what waited", partial(self._wake_waiting, hold.job_id))

    def _next(self) -> Batch | None:
        """What was claimed ahead, or what waits now. A suspect only when nothing else is held."""
        ahead, self._ahead = self._ahead, None
        batch = ahead.result() if ahead is not None else None
        while batch is None and not self.drain.requested:
            free = not self.holds.current()
            batch = self._claim(suspects=free)
            if batch is not None or free or not self._work_waits():
                break
            if self.courier.flush(SUSPECT_PAUSE_SECONDS):
                time.sleep(MOMENT_SECONDS)  # what is not the courier's is just being ended aside
        return batch

    def _claim_ahead(self) -> None:
        """Called while the last moments of a batch run: the device need not wait for the next claim."""
        alone = self._running is not None and self._running.suspect
        if self._ahead is None and not alone and not self.drain.requested:
            self._ahead = self._claimer.submit(self._claim, suspects=False)

    def _give_back_ahead(self) -> None:
        """What was claimed ahead will not run here."""
        ahead, self._ahead = self._ahead, None
        with suppress(OperationalError):
            batch = ahead.result() if ahead is not None else None
            for job in batch.jobs.values() if batch is not None else ():
                self._settle(job.hold, partial(release_drained, hold=job.hold))

    def _claim(self, *, suspects: bool) -> Batch | None:
        with self.sessions.begin() as session:
            session.connection()  # making one may take long, and no lease runs meanwhile
            since = self.holds.clock()
            jobs = claim(
                session,
                pool=self.pool,
                owner=self.owner,
                max_images=self.settings.max_batch_images,
                lease_seconds=self.settings.lease_seconds,
                resident=self.residency.ids,
                affinity_seconds=self.settings.affinity_seconds,
                suspects=suspects,
            )
        if not jobs:
            return None
        reach("after_claim")
        if self.holds.clock() - since > self.settings.lease_seconds / 2:
            # So late that a heartbeat may not save the leases. Nothing ran yet: they need not run out as a crash.
            with suppress(OperationalError), self.sessions.begin() as session:
                for job in jobs:
                    release_drained(session, job.hold)
            return None
        self.holds.add([job.hold for job in jobs], since)
        self.aside.do("after a claim", partial(self._after_claim, jobs[0]))
        batch = Batch({job.job_id: job for job in jobs})
        for job in jobs:
            with suppress(KeyError, ValidationError):  # `_items_of` says so, in its time
                batch.params[job.job_id] = TASKS[job.task].model_validate(job.params)
                batch.inputs[job.job_id] = self.inputs.fetch(job, batch.params[job.job_id])
        return batch

    def _after_claim(self, head: ClaimedJob) -> None:
        """Move the fair clock, and wake another worker while more waits."""
        with self.sessions.begin() as session:
            advance(session, self.pool, head.start_tag)
        if self._work_waits():
            self.tickets.send(self.pool, head.job_id)

    def _work_waits(self) -> bool:
        with self.sessions() as session:
            return work_waits(session, self.pool)

    def _wake_waiting(self, job_id: UUID) -> None:
        """A ticket for each pool where a job was queued that had waited for this one."""
        with self.sessions() as session:
            pools = pools_woken(session, job_id)
        for pool in pools:
            self.tickets.send(pool, job_id)

    def _items_of(self, batch: Batch, resident: Resident) -> list[Item]:
        items = []
        profile = resident.row.profile
        for job in batch.jobs.values():
            try:
                params = batch.params[job.job_id]
                items.append(make_item(job, params, batch.inputs[job.job_id], profile))
            except KeyError:
                error = InvalidInputError(f"This worker's version does not read the params of this {job.task} job.")
                self._fail(batch, job.hold, error)
            except RunError as error:
                self._fail(batch, job.hold, error)
        return items

    def _run(self, batch: Batch, resident: Resident, items: list[Item]) -> None:
        if not items:
            return
        shape = items[0].params.shape()
        run = BatchRun(
            resident.pipeline,
            context_for=lambda part: self._context(batch, part, whole=len(part) == len(items)),
            finished=lambda item, outputs: self._hand_over(batch, resident, item, outputs),
            failed=lambda item, error: self._fail(batch, batch.jobs[item.job_id].hold, error),
            empty_cache=self.device.empty_cache,
            watched=lambda outputs, part: self.watchdog.watch(
                outputs,
                [batch.jobs[item.job_id].hold for item in part],
                max(item.params.allowed_seconds() for item in part),
            ),
            max_items=resident.max_items.get(shape),
            ladder=batch.ladder,
        )
        started = time.monotonic()
        run.run(items)
        seconds = time.monotonic() - started
        if run.max_items is not None:
            resident.max_items[shape] = run.max_items
        stopped = [item for item in items if self._let_go(batch, item, run.ended)]
        if run.error is None and not stopped:
            cost = sum(job.cost for job in batch.jobs.values())
            self.aside.do("learn the speed", partial(self._learn, resident.row.id, seconds / max(cost, 1)))
        if run.error is not None and run.error.extra.get("corrupt"):
            log.critical("the device's state is corrupt; this process ends and a fresh one takes over")
            self.drain.request()
            raise SystemExit(1)

    def _context(self, batch: Batch, part: Sequence[Item], *, whole: bool) -> RunContext:
        """For one call of the pipeline. What the call before it was given from the library may go."""
        self.residency.release()
        return RunContext(
            [batch.jobs[item.job_id].hold for item in part],
            self.holds,
            self.drain,
            self.reporter,
            self._claim_ahead if whole else None,
            self._previews,
            self.library,
            self.shelf_of,
            frozenset(job.job_id for job in batch.jobs.values() if job.safety_threshold is not None),
        )

    def _learn(self, checkpoint_id: UUID, seconds_per_step: float) -> None:
        with self.sessions.begin() as session:
            learn_speed(session, checkpoint_id, seconds_per_step)

    def _hand_over(self, batch: Batch, resident: Resident, item: Item, outputs: Sequence[Output]) -> None:
        """All outputs of an item are there: the courier's business from here on."""
        reach("after_run")
        job = batch.jobs[item.job_id]
        hold = job.hold
        if self.holds.stop_of(hold) in UNWANTED:
            self._let_go(batch, item)
            return
        parcel, body = pack(job, item, resident.row, outputs, batch.measures(item.job_id, self.device))
        self.reporter.say({item.job_id: Progress(hold.attempt, "storing", 1, 1)})
        if not self.courier.hand_over(parcel, body, lambda: self.holds.stop_of(hold) in UNWANTED):
            self._let_go(batch, item)

    def _let_go(self, batch: Batch, item: Item, ended: frozenset[UUID] = frozenset()) -> bool:
        """Release an item that was stopped before its end. False when it was not."""
        if item.job_id in ended:
            return False
        hold = batch.jobs[item.job_id].hold
        stop = self.holds.stop_of(hold)
        if stop is Stop.TIMED_OUT:
            self._fail(batch, hold, self._timed_out())
        elif stop in RELEASES:
            self._settle(hold, lambda session: RELEASES[stop](session, hold))
        else:
            self.holds.forget(hold)
        return True

    def _fail(self, batch: Batch, hold: Hold, error: RunError) -> None:
        measures = batch.measures(hold.job_id, self.device)
        log.warning("an attempt failed", job=str(hold.job_id), attempt=hold.attempt, code=error.code)
        self._settle(hold, lambda session: fail(session, hold, error, self.settings, measures))

    def _fail_rest(self, batch: Batch, error: RunError, holds: Sequence[Hold] | None = None) -> None:
        """The batch (or these of it) came to nothing: fail what has neither ended nor reached the courier."""
        for hold in [job.hold for job in batch.jobs.values()] if holds is None else holds:
            if not self.courier.has(hold) and self.holds.has(hold):
                self._fail(batch, hold, error)

    def _timed_out(self) -> RunTimedOutError:
        if self.phase == "loading":
            return RunTimedOutError(
                f"The checkpoint took longer than {self.settings.load_timeout_seconds:g} s to load."
            )
        return RunTimedOutError(f"The batch ran longer than {self.settings.run_timeout_seconds:g} s.")

    def _settle(self, hold: Hold, verb: Callable[[Session], object]) -> None:
        """End a hold in Postgres, again while Postgres is away and the lease may still be ours. Never raises."""
        while self.holds.stop_of(hold) is not Stop.LOST:
            try:
                with self.sessions.begin() as session:
                    verb(session)
                break
            except OperationalError as error:
                log.warning("Postgres does not answer", error=type(error.orig).__name__)
                time.sleep(SETTLE_PAUSE_SECONDS)
            except SQLAlchemyError:
                log.exception("a job could not be ended; its lease will run out", job=str(hold.job_id))
                break
        self.holds.forget(hold)

    def _say(self, batch: Batch, phase: str) -> None:
        self.reporter.say({job.job_id: Progress(job.hold.attempt, phase, 0, 1) for job in batch.jobs.values()})


RELEASES: dict[Stop | None, Callable[[Session, Hold], bool]] = {
    Stop.CANCELED: release_canceled,
    Stop.DRAINED: release_drained,
}
"""How a stopped item is given back."""

UNWANTED = frozenset({Stop.CANCELED, Stop.LOST})
"""A finished item is not stored any more; one that only drains is."""
