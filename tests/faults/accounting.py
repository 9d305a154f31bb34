"""The books of a soak: what every accepted job must have come to, read from Postgres and S3 when all is quiet again.

Nothing here is about one fault: whatever happened, these hold.
"""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from PIL import Image
from sqlalchemy import select

from models.artifacts import RESULTS_PREFIX, Artifact
from models.clients import Client
from models.errors import WORKER_LOST, NotFoundError
from models.events import JobEvent
from models.jobs import Attempt, Job
from models.session import Sessions
from models.states import FINAL_STATES, AttemptOutcome, JobState
from models.storage import Storage
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookMessage
from tests.faults.orders import Order
from tests.faults.receiver import Inbox
from tests.faults.submitters import Ledger
from tests.worker.slow import pixels_of

READERS = 4
FINAL_KINDS = frozenset(f"job.{state.value}" for state in FINAL_STATES)


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and by which job."""

    promise: str
    job_id: UUID | None
    detail: str


@dataclass
class Books:
    """Everything that was written of the jobs of a run."""

    orders: Mapping[UUID, Order]
    """Of the jobs that clients know of."""
    jobs: Mapping[UUID, Job]
    attempts: Mapping[UUID, Sequence[Attempt]]
    events: Mapping[UUID, Sequence[JobEvent]]
    artifacts: Mapping[UUID, Sequence[Artifact]]
    clients: Sequence[Client]
    endpoints: Mapping[UUID, WebhookEndpoint]
    messages: Sequence[WebhookMessage]
    deliveries: Sequence[WebhookDelivery]
    canceled: frozenset[UUID]
    """Those that a cancel was sent for."""
    max_crashes: int
    orphans: int = 0
    """Objects that no row names: garbage, which the sweeper collects after a day."""
    broken: list[Violation] = field(default_factory=list)

    def no(self, promise: str, job_id: UUID | None, detail: str) -> None:
        """Note a violation."""
        self.broken.append(Violation(promise, job_id, detail))

    def count(self, state: JobState) -> int:
        """Jobs in this state."""
        return sum(job.state is state for job in self.jobs.values())

    def outcomes(self) -> Counter[AttemptOutcome]:
        """Attempts by outcome."""
        return Counter(attempt.outcome for attempts in self.attempts.values() for attempt in attempts)

    def unlucky(self) -> list[UUID]:
        """Harmless jobs that random kills alone took to the crash cap."""
        return [
            job.id
            for job in self.jobs.values()
            if job.state is JobState.FAILED and job.error_code == WORKER_LOST and not self._poison(job.id)
        ]

    def worst_luck(self) -> Job | None:
        """The harmless job that random kills gave the most lone crashes."""
        harmless = [job for job in self.jobs.values() if not self._poison(job.id)]
        return max(harmless, key=lambda job: job.crash_count, default=None)

    def story(self, job_id: UUID) -> str:
        """What happened to one job, for people."""
        job = self.jobs.get(job_id)
        lines = [f"{job_id}: {job.state if job else 'no row'}, {self.orders.get(job_id)}"]
        lines += [
            f"  attempt {a.number} by {a.worker}, {a.batch_jobs} together: {a.outcome} {a.error_code or ''}"
            f" {a.started_at:%H:%M:%S.%f}–{f'{a.finished_at:%H:%M:%S.%f}' if a.finished_at else ''}"
            for a in self.attempts.get(job_id, ())
        ]
        lines += [f"  {e.created_at:%H:%M:%S.%f} {e.kind} {e.data}" for e in self.events.get(job_id, ())]
        lines += [f"  artifact {a.index} of attempt {a.attempt}: {a.key}" for a in self.artifacts.get(job_id, ())]
        return "\n".join(lines)

    def _poison(self, job_id: UUID) -> bool:
        order = self.orders.get(job_id)
        return order is not None and order.poison


def read_books(sessions: Sessions, orders: Sequence[Order], ledger: Ledger, max_crashes: int) -> Books:
    """All rows, as they stand."""
    by_number = {order.number: order for order in orders}
    with sessions() as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        attempts, events, artifacts = defaultdict(list), defaultdict(list), defaultdict(list)
        for attempt in session.scalars(select(Attempt).order_by(Attempt.job_id, Attempt.number)):
            attempts[attempt.job_id].append(attempt)
        for event in session.scalars(select(JobEvent).order_by(JobEvent.id)):
            events[event.job_id].append(event)
        for artifact in session.scalars(select(Artifact).order_by(Artifact.job_id, Artifact.index)):
            artifacts[artifact.job_id].append(artifact)
        return Books(
            orders={job_id: by_number[number] for number, job_id in ledger.jobs.items()},
            jobs=jobs,
            attempts=attempts,
            events=events,
            artifacts=artifacts,
            clients=session.scalars(select(Client)).all(),
            endpoints={endpoint.id: endpoint for endpoint in session.scalars(select(WebhookEndpoint))},
            messages=session.scalars(select(WebhookMessage)).all(),
            deliveries=session.scalars(select(WebhookDelivery)).all(),
            canceled=frozenset(ledger.jobs[number] for number in ledger.cancels if number in ledger.jobs),
            max_crashes=max_crashes,
        )


def check_books(books: Books) -> None:
    """Every promise that Postgres alone can show."""
    _check_none_lost(books)
    for job in books.jobs.values():
        for check in (_check_end, _check_attempts, _check_events, _check_artifacts, _check_failure):
            check(books, job)
    for client in books.clients:
        if client.live_jobs:
            books.no("the quota is given back", None, f"{client.name}: {client.live_jobs} live jobs")


def _check_none_lost(books: Books) -> None:
    for job_id in books.orders.keys() - books.jobs.keys():
        books.no("no accepted job is lost", job_id, "there is no row")
    for job_id in books.jobs.keys() - books.orders.keys():
        books.no("no job without a request", job_id, "no client was told of it")


def _check_end(books: Books, job: Job) -> None:
    if job.state not in FINAL_STATES:
        books.no("every job ends", job.id, f"{job.state}")
    if job.lease_owner is not None:
        books.no("no lease is left", job.id, job.lease_owner)
    if job.state is JobState.CANCELED and job.id not in books.canceled:
        books.no("only a canceled job is canceled", job.id, "nobody asked")


def _check_attempts(books: Books, job: Job) -> None:
    attempts = books.attempts.get(job.id, ())
    if [attempt.number for attempt in attempts] != list(range(1, job.attempt + 1)):
        books.no("attempts append", job.id, f"{[attempt.number for attempt in attempts]} of {job.attempt}")
    if any(attempt.outcome is AttemptOutcome.RUNNING for attempt in attempts):
        books.no("every attempt has an outcome", job.id, "one still runs")
    won = [attempt.number for attempt in attempts if attempt.outcome is AttemptOutcome.SUCCEEDED]
    wanted = [job.attempt] if job.state is JobState.SUCCEEDED else []
    if won != wanted:
        books.no("published once", job.id, f"{job.state} at attempt {job.attempt}, succeeded attempts {won}")
    lost = [attempt for attempt in attempts if attempt.outcome is AttemptOutcome.LOST]
    lone = sum(bool(attempt.measures["alone"]) for attempt in lost)
    if any(attempt.measures["alone"] and attempt.batch_jobs != 1 for attempt in lost):
        books.no("only lone crashes count", job.id, "one of a batch was counted")
    if lone != job.crash_count:
        books.no("only lone crashes count", job.id, f"{lone} lone lost attempts, {job.crash_count} counted")


def _check_events(books: Books, job: Job) -> None:
    kinds = [event.kind for event in books.events.get(job.id, ())]
    final = [kind for kind in kinds if kind in FINAL_KINDS]
    if job.state in FINAL_STATES and final != [f"job.{job.state.value}"]:
        books.no("one terminal event", job.id, f"{job.state}: {final}")
    if kinds.count("job.running") != job.attempt:
        books.no("one event for each attempt", job.id, f"{kinds.count('job.running')} of {job.attempt}")


def _check_artifacts(books: Books, job: Job) -> None:
    artifacts = books.artifacts.get(job.id, ())
    wanted = list(range(job.images)) if job.state is JobState.SUCCEEDED else []
    if [artifact.index for artifact in artifacts] != wanted:
        books.no("one set of artifacts", job.id, f"{job.state}: {[artifact.index for artifact in artifacts]}")
    if {artifact.attempt for artifact in artifacts} - {job.attempt}:
        books.no("artifacts of the attempt that succeeded", job.id, "of another")


def _check_failure(books: Books, job: Job) -> None:
    order = books.orders.get(job.id)
    if order is not None and order.poison and job.state is not JobState.FAILED:
        books.no("poison fails", job.id, f"{job.state}")
    if job.state is not JobState.FAILED:
        return
    if job.error_code != WORKER_LOST:
        books.no("nothing fails for another reason", job.id, f"{job.error_code}: {job.error_detail}")
    elif job.crash_count != books.max_crashes:
        books.no("exactly as many crashes as allowed", job.id, f"{job.crash_count} of {books.max_crashes}")


def check_objects(books: Books, storage: Storage) -> int:
    """Read every published object again: its hash, and the pixels that (params, seed) must give. How many there are."""
    found = [artifact for artifacts in books.artifacts.values() for artifact in artifacts]
    with ThreadPoolExecutor(READERS) as readers:
        for artifact, wrong in zip(found, readers.map(lambda one: _wrong(books, storage, one), found), strict=True):
            if wrong:
                books.no("every object is what was published", artifact.job_id, wrong)
    named = {artifact.key for artifact in found}
    books.orphans = sum(blob.key not in named for blob in storage.listing(RESULTS_PREFIX))
    return len(found)


def _wrong(books: Books, storage: Storage, artifact: Artifact) -> str:
    try:
        body = storage.get(artifact.key)
    except NotFoundError:
        return f"{artifact.key} is missing"
    if hashlib.sha256(body).hexdigest() != artifact.sha256:
        return f"{artifact.key} has another hash"
    order = books.orders.get(artifact.job_id)
    if order is None:
        return ""
    pixels = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    right = np.array_equal(pixels, pixels_of(order.wanted(), artifact.index))
    return "" if right else f"{artifact.key} shows other pixels"


def check_outbox(books: Books) -> None:
    """One message per job, one delivery per message: every client has one target."""
    _compare(books, "one outbox row per job", Counter((message.job_id, message.kind) for message in books.messages))
    by_message = Counter(delivery.message_id for delivery in books.deliveries)
    for message in books.messages:
        if by_message[message.id] != 1:
            books.no("one delivery per message", message.job_id, f"{by_message[message.id]}")


def check_told(books: Books, inboxes: Mapping[str, Inbox]) -> None:
    """Every delivery came to its end, and the targets were told of each job what is stored, and nothing else."""
    for delivery in books.deliveries:
        if delivery.state is not DeliveryState.DELIVERED:
            books.no("every webhook is delivered", None, f"{delivery.id} is {delivery.state}")
    told: Counter[tuple[UUID | None, str]] = Counter()
    for path, inbox in inboxes.items():
        told += Counter({(UUID(job), kind): times for (job, kind), times in inbox.jobs().items()})
        for what in inbox.forged:
            books.no("every signature is valid", None, f"{path}: {what}")
        for name, bodies in inbox.told.items():
            if len(bodies) != 1:
                books.no("every try says the same", None, f"{name}: {len(bodies)} bodies")
    _compare(books, "every target was told once of each job", told)


def _compare(books: Books, promise: str, found: Counter[tuple[UUID | None, str]]) -> None:
    wanted: Counter[tuple[UUID | None, str]] = Counter()
    wanted.update((job.id, f"job.{job.state.value}") for job in _ended(books))
    for (job_id, kind), times in ((found - wanted) + (wanted - found)).items():
        books.no(promise, job_id, f"{kind}: {times} too many or missing")


def _ended(books: Books) -> Iterator[Job]:
    return (job for job in books.jobs.values() if job.state in FINAL_STATES)


def all_quiet(sessions: Sessions) -> Callable[[], bool]:
    """Whether every job has ended, and every delivery."""
    live = select(Job.id).where(Job.state.not_in(FINAL_STATES)).limit(1)
    pending = select(WebhookDelivery.id).where(WebhookDelivery.state == DeliveryState.PENDING).limit(1)

    def quiet() -> bool:
        with sessions() as session:
            return session.scalar(live) is None and session.scalar(pending) is None

    return quiet
