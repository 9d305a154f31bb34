"""The life of jobs as a state machine, on real Postgres: whatever verbs come in whatever order, the promises hold.

`make fuzz` runs it for longer: FUZZ_EXAMPLES says how many lives.
"""

import os
import uuid
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, func, select, text, update

from models.artifacts import Artifact
from models.checkpoints import Checkpoint
from models.clients import Client
from models.errors import ConflictError, NotFoundError, QuotaExceededError
from models.events import JobEvent
from models.jobs import (
    Attempt,
    FairClock,
    Hold,
    Job,
    Output,
    Published,
    Submission,
    cancel,
    delete_expired_results,
    delete_final,
    expire_overdue,
    extend,
    fail,
    needs_of,
    publish,
    reap_lost,
    release_canceled,
    release_drained,
    submit,
    submit_chain,
)
from models.settings import Settings
from models.states import AttemptOutcome, JobState
from tests.models.life import ERRORS, MAX_CRASHES, MAX_ERRORS, Known, follow, lone
from tests.seeding import Seeder

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
STEPS = 40
PHASES = [phase for phase in Phase if phase is not Phase.shrink or "FUZZ_EXAMPLES" in os.environ]
"""Making a failing life shorter takes minutes: only where somebody looks for one."""
MAX_LIVE = 5
OWNERS = st.sampled_from(["one", "two"])
FINAL_EVENTS = ("job.succeeded", "job.failed", "job.canceled", "job.expired")


class Life(RuleBasedStateMachine):
    """Every verb of every process, in any order, with every hold that was ever given."""

    seed: Seeder
    settings: Settings

    jobs: Bundle[UUID] = Bundle("jobs")
    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[UUID, Known] = {}
        self.clients: list[UUID] = []
        self.tags: dict[UUID, float] = {}
        self.started: dict[UUID, list[float]] = {}

    @initialize()
    def empty(self) -> None:
        with self.seed.sessions.begin() as session:
            for table in (Job, Client, Checkpoint, FairClock):
                session.execute(delete(table))
        self.clients = [self.seed.client(max_live_jobs=MAX_LIVE, weight=weight) for weight in (1.0, 3.0)]
        self.card = self.seed.checkpoint()

    # --- the API -----------------------------------------------------------------------------------------------------

    @rule(
        target=jobs,
        client=st.integers(0, 1),
        images=st.integers(1, 3),
        alone=st.booleans(),
        priority=st.sampled_from([0, 0, 0, 5]),
    )
    def submit(self, client: int, images: int, alone: bool, priority: int) -> Any:
        params = {"prompt": "a cat", "num_images": images, "num_inference_steps": 10}
        wanted = self.seed.submission(
            self.clients[client], self.card, params=params, reproducible=alone, priority=priority,
            idempotency_key=uuid.uuid4().hex, request_sha256=b"1",
        )  # fmt: skip
        return self._submit(wanted, client, alone=alone, images=images)

    @rule(target=jobs, source=jobs, client=st.integers(0, 1))
    def retry(self, source: UUID, client: int) -> Any:
        wanted = self.seed.submission(
            self.clients[client], self.card, source_job_id=source if source in self.known else None
        )
        return self._submit(wanted, client, alone=False, images=1)

    @rule(target=jobs, source=jobs, client=st.integers(0, 1))
    def take_its_output(self, source: UUID, client: int) -> Any:
        params = {"prompt_from": {"job": str(source)}, "num_inference_steps": 10}
        wanted = self.seed.submission(self.clients[client], self.card, params=params)
        needed = self.known.get(source)
        if needed is None:
            with pytest.raises(NotFoundError):
                submit_chain(self.seed.sessions, [wanted])
            return multiple()
        if needed.final and needed.state is not JobState.SUCCEEDED:
            with pytest.raises(ConflictError):
                submit_chain(self.seed.sessions, [wanted])
            return multiple()
        made = self._submit(wanted, client, alone=False, images=1)
        if made in self.known:
            self.known[made].needs = source
            self.known[made].state = JobState.QUEUED if needed.final else JobState.WAITING
        return made

    @rule(job=jobs)
    def cancel(self, job: UUID) -> None:
        with self.seed.sessions.begin() as session:
            done = cancel(session, job)
        known = self.known.get(job)
        assert done == (known is not None and known.live)
        if known is None or not known.live:
            return
        known.cancel = True
        if known.state in {JobState.QUEUED, JobState.WAITING}:
            known.state = JobState.CANCELED

    @rule(job=jobs)
    def delete(self, job: UUID) -> None:
        known = self.known.get(job)
        if known and known.final and any(other.live and other.needs == job for other in self.known.values()):
            with self.seed.sessions.begin() as session, pytest.raises(ConflictError):
                delete_final(session, job)
            return
        with self.seed.sessions.begin() as session:
            keys = delete_final(session, job)
        if known is None or not known.final:
            assert keys is None
            return
        kept = known.images if known.state is JobState.SUCCEEDED and not known.results_gone else 0
        assert keys is not None
        assert len(keys) == kept
        del self.known[job]

    # --- workers, with any hold they ever had ------------------------------------------------------------------------

    @rule(target=holds, owner=OWNERS, room=st.integers(1, 6))
    def claim(self, owner: str, room: int) -> Any:
        before = self._queue()
        claimed = self.seed.claim(owner=owner, max_images=room)
        if not claimed:
            assert not before
            return multiple()
        assert claimed[0].job_id == before[0]
        head = self.known[claimed[0].job_id]
        if head.alone or head.isolate:
            assert len(claimed) == 1
        for job in claimed:
            known = self.known[job.job_id]
            assert known.claimable
            assert known.images == head.images
            known.claimed(owner, len(claimed))
            assert known.holds(job.hold)
        assert len(claimed) == 1 or head.images * len(claimed) <= room
        return multiple(*(job.hold for job in claimed))

    @rule(hold=holds)
    def heartbeat(self, hold: Hold) -> None:
        with self.seed.sessions.begin() as session:
            beat = extend(session, [hold], 60)
        current = self._current(hold)
        assert beat.kept == ({hold.job_id} if current else set())
        if current:
            assert bool(beat.cancel) == current.cancel
            current.lease_over = False

    @rule(hold=holds)
    def publish(self, hold: Hold) -> None:
        known, current = self.known.get(hold.job_id), self._current(hold)
        outputs = [
            Output(index, f"results/{hold.job_id}/a{hold.attempt}/{index}-{uuid.uuid4().hex}.png", uuid.uuid4().hex,
                   "image/png", 7, 64, 64, index)
            for index in range(known.images if known else 1)
        ]  # fmt: skip
        with self.seed.sessions.begin() as session:
            published = publish(session, hold, outputs, {})
        if current:
            assert published is Published.DONE
            current.ended(JobState.SUCCEEDED, AttemptOutcome.SUCCEEDED)
        else:
            ours = known is not None and known.state is JobState.SUCCEEDED and len(known.outcomes) == hold.attempt
            assert published is (Published.ALREADY if ours else Published.FENCED)

    @rule(hold=holds, kind=st.sampled_from(sorted(ERRORS)))
    def fail(self, hold: Hold, kind: str) -> None:
        with self.seed.sessions.begin() as session:
            became = fail(session, hold, ERRORS[kind]("no"), self.settings, {})
        current = self._current(hold)
        assert became.value == (current.failed(kind).value if current else "fenced")

    @rule(hold=consumes(holds), verb=st.sampled_from([release_drained, release_canceled]))
    def release(self, hold: Hold, verb: Any) -> None:
        with self.seed.sessions.begin() as session:
            done = verb(session, hold)
        current = self._current(hold)
        assert done == (current is not None and (verb is release_drained or current.cancel))
        if current and done:
            canceled = current.cancel
            current.ended(
                JobState.CANCELED if canceled else JobState.QUEUED,
                AttemptOutcome.CANCELED if canceled else AttemptOutcome.DRAINED,
            )

    @rule(target=holds, hold=holds)
    @precondition(lambda self: any(job.state is JobState.RUNNING for job in self.known.values()))
    def lose_it_and_claim_again(self, hold: Hold) -> Any:
        """As a worker that was frozen for long does: its old hold is in its hand when it has a new one."""
        if self._current(hold) is None:
            return multiple()
        self.time_passes(hold.job_id, "lease_expires_at")
        self.reap()
        return self.claim(hold.owner, 6)

    # --- time, and what the sweeper does about it --------------------------------------------------------------------

    @rule(job=jobs, column=st.sampled_from(["lease_expires_at", "deadline_at", "results_expire_at"]))
    def time_passes(self, job: UUID, column: str) -> None:
        known = self.known.get(job)
        if known is None:
            return
        if column == "lease_expires_at" and known.state is JobState.RUNNING:
            known.lease_over = True
        elif column == "deadline_at" and known.state in {JobState.QUEUED, JobState.WAITING}:
            known.deadline_over = True
        elif column == "results_expire_at" and known.state is JobState.SUCCEEDED:
            known.results_over = True
        else:
            return
        with self.seed.sessions.begin() as session:
            past = func.now() - text("interval '1 second'")
            session.execute(update(Job).where(Job.id == job).values({column: past}))

    @rule()
    @precondition(lambda self: any(job.lease_over for job in self.known.values()))
    def reap(self) -> None:
        with self.seed.sessions.begin() as session:
            reaped = reap_lost(session, MAX_CRASHES)
        lost = [job for job in self.known.values() if job.lease_over]
        verdicts = [lone(self.known, job) for job in lost]  # as they stood before any of them moved
        for job, alone in zip(lost, verdicts, strict=True):
            job.reaped(alone=alone)
        counts = [
            sum(job.state is state for job in lost) for state in (JobState.QUEUED, JobState.FAILED, JobState.CANCELED)
        ]
        assert [reaped.requeued, reaped.failed, reaped.canceled] == counts

    @rule()
    def expire(self) -> None:
        with self.seed.sessions.begin() as session:
            count = expire_overdue(session)
        idle = {JobState.QUEUED, JobState.WAITING}
        overdue = [job for job in self.known.values() if job.state in idle and job.deadline_over]
        assert count == len(overdue)
        for job in overdue:
            job.state = JobState.EXPIRED

    @rule()
    @precondition(lambda self: any(job.results_over for job in self.known.values()))
    def forget_results(self) -> None:
        with self.seed.sessions.begin() as session:
            keys = delete_expired_results(session)
        over = [job for job in self.known.values() if job.results_over and not job.results_gone]
        assert len(keys) == sum(job.images for job in over)
        for job in over:
            job.results_gone = True

    # --- what holds after every step ---------------------------------------------------------------------------------

    @invariant()
    def the_rows_are_as_known(self) -> None:
        follow(self.known)
        with self.seed.sessions() as session:
            rows = {row.id: row for row in session.scalars(select(Job))}
            attempts: dict[UUID, list[Attempt]] = {job_id: [] for job_id in rows}
            for attempt in session.scalars(select(Attempt).order_by(Attempt.number)):
                attempts[attempt.job_id].append(attempt)
        assert rows.keys() == self.known.keys()
        for job_id, known in self.known.items():
            row = rows[job_id]
            assert (row.state, row.lease_owner, row.attempt) == (known.state, known.owner, len(known.outcomes))
            assert (row.crash_count, row.error_count, row.isolate) == (known.crashes, known.errors, known.isolate)
            # Attempts append, one of them runs at the most, and what ended stays as it ended.
            assert [attempt.number for attempt in attempts[job_id]] == [*range(1, row.attempt + 1)]
            assert [attempt.outcome for attempt in attempts[job_id]] == known.outcomes

    @invariant()
    def every_job_ended_once_if_at_all(self) -> None:
        follow(self.known)
        ended = select(JobEvent.job_id, func.count()).where(JobEvent.kind.in_(FINAL_EVENTS)).group_by(JobEvent.job_id)
        pictures = select(Artifact.job_id, func.count()).group_by(Artifact.job_id)
        with self.seed.sessions() as session:
            events = dict(session.execute(ended).all())
            artifacts = dict(session.execute(pictures).all())
        assert events == {job_id: 1 for job_id, known in self.known.items() if known.final}
        assert artifacts == {
            job_id: known.images
            for job_id, known in self.known.items()
            if known.state is JobState.SUCCEEDED and not known.results_gone
        }

    @invariant()
    def quotas_and_tags_are_right(self) -> None:
        follow(self.known)
        with self.seed.sessions() as session:
            clients = {row.id: row for row in session.scalars(select(Client))}
        for number, client_id in enumerate(self.clients):
            row = clients[client_id]
            assert row.live_jobs == sum(known.live for known in self.known.values() if known.client == number)
            assert row.gpu_finish_tag >= self.tags.get(client_id, 0.0)
            self.tags[client_id] = row.gpu_finish_tag

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _submit(self, wanted: Submission, client: int, *, alone: bool, images: int) -> Any:
        live = sum(known.live for known in self.known.values() if known.client == client)
        if live == MAX_LIVE:
            with pytest.raises(QuotaExceededError):
                submit_chain(self.seed.sessions, [wanted])
            return multiple()
        chained = bool(needs_of(wanted.params))
        made = submit_chain(self.seed.sessions, [wanted])[0] if chained else submit(self.seed.sessions, wanted)
        # A client's jobs stand one behind the other.
        earlier = self.started.setdefault(self.clients[client], [])
        assert not earlier or made.start_tag > earlier[-1]
        earlier.append(made.start_tag)
        self.known[made.job_id] = Known(client, alone, images)
        if wanted.idempotency_key is not None:
            again = submit(self.seed.sessions, wanted)
            assert (again.job_id, again.replayed) == (made.job_id, True)
        return made.job_id

    def _queue(self) -> list[UUID]:
        """What may be claimed, in the order of the queue, sorted here."""
        with self.seed.sessions() as session:
            rows = session.scalars(select(Job).where(Job.state == JobState.QUEUED)).all()
        ready = [row for row in rows if self.known[row.id].claimable]
        return [row.id for row in sorted(ready, key=lambda row: (row.lane, -row.priority, row.start_tag, row.id))]

    def _current(self, hold: Hold) -> Known | None:
        known = self.known.get(hold.job_id)
        return known if known is not None and known.holds(hold) else None


def test_every_life_keeps_the_promises(seed: Seeder, impatient: Settings) -> None:
    class Here(Life):
        pass

    Here.seed, Here.settings = seed, impatient
    run_state_machine_as_test(
        Here,
        settings=profile(
            phases=PHASES,
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    """No pause before a retry, and short budgets."""
    return settings.model_copy(update={"retry_base_seconds": 0, "max_errors": MAX_ERRORS, "max_crashes": MAX_CRASHES})
