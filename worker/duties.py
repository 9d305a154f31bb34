"""What the sweeper does, one duty per function. Two sweepers may do any of them at the same time.

A duty takes a `Sweep`, commits what it does in small transactions, and returns how much it did, for the log.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import structlog
from celery import Celery
from sqlalchemy import delete, func, select, union
from sqlalchemy.orm import Session

from models import daemons
from models.artifacts import CHECKPOINTS_PREFIX, RESULTS_PREFIX, TRAINING_PREFIX, UPLOADS_PREFIX, Artifact, Upload
from models.checkpoints import Checkpoint, Source
from models.invariants import Severity, examine
from models.jobs import Job, delete_expired_results, expire_overdue, forget_idempotency_keys, reap_lost, work_waits
from models.queue import send_ticket
from models.session import Sessions
from models.settings import Settings
from models.states import LIVE_STATES, Pool
from models.storage import Storage
from models.webhooks.log import forget_old
from models.workers import forget_dead

GARBAGE_AGE = timedelta(days=1)
"""An object may wait this long for its row: no attempt stores for a day."""
PAGE_KEYS = 500
UPLOADS_AT_ONCE = 500
UUID_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRAINED = re.compile(rf"{CHECKPOINTS_PREFIX}{UUID_NAME.pattern}/a[0-9]+(?=/)")
"""Where an attempt puts its checkpoint: the location of the row, if there is one."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Sweep:
    """What duties work with."""

    settings: Settings
    sessions: Sessions
    storage: Storage
    redis: Any
    celery: Celery
    stopping: Callable[[], bool] = lambda: False


def reap(sweep: Sweep) -> int:
    """T6: jobs whose lease ran out go back to the queue, or end at the crash cap."""

    def once(session: Session) -> int:
        found = reap_lost(session, sweep.settings.max_crashes)
        return found.requeued + found.failed + found.canceled

    return _until_none_left(sweep, once)


def expire(sweep: Sweep) -> int:
    """Queued jobs whose deadline passed."""
    return _until_none_left(sweep, expire_overdue)


def send_tickets(sweep: Sweep) -> int:
    """Wake a worker of every pool where work waits: whatever Redis lost is made good by this."""
    sent = 0
    for pool in Pool:
        with sweep.sessions() as session:
            waits = work_waits(session, pool)
        # Kombu keeps a queue in a list of the same name. With one ticket in it all workers are busy or away, and more
        # would only pile up.
        if waits and not sweep.redis.llen(pool.value):
            sent += send_ticket(sweep.celery, sweep.redis, pool)
    return sent


def delete_results(sweep: Sweep) -> int:
    """Results after their retention. A crash after the commit leaves objects to `collect_garbage`."""
    deleted = 0
    while not sweep.stopping():
        with sweep.sessions.begin() as session:
            keys = delete_expired_results(session)
        if not keys:
            break
        sweep.storage.delete(keys)
        deleted += len(keys)
    return deleted


def delete_uploads(sweep: Sweep) -> int:
    """Uploads that expired."""
    with sweep.sessions.begin() as session:
        old = select(Upload.id).where(Upload.expires_at < func.now()).limit(UPLOADS_AT_ONCE)
        old = old.with_for_update(skip_locked=True)
        keys = session.scalars(delete(Upload).where(Upload.id.in_(old)).returning(Upload.key)).all()
    sweep.storage.delete(keys)
    return len(keys)


def collect_garbage(sweep: Sweep) -> int:
    """T9: objects older than a day that no row names: of fenced attempts, lost workers, half-done deletions."""
    with sweep.sessions() as session:
        before = session.scalars(select(func.now())).one() - GARBAGE_AGE
    deleted = 0
    for prefix in (RESULTS_PREFIX, UPLOADS_PREFIX, CHECKPOINTS_PREFIX):
        referenced = _registered if prefix == CHECKPOINTS_PREFIX else _referenced
        for keys in _pages(_old_keys(sweep.storage, prefix, before)):
            garbage = sorted(set(keys) - referenced(sweep.sessions, keys))
            sweep.storage.delete(garbage)
            deleted += len(garbage)
            if sweep.stopping():
                return deleted
    return deleted


def empty_shelves(sweep: Sweep) -> int:
    """What trainings put aside, once their job has ended or is gone."""
    by_job: dict[str, list[str]] = {}
    for blob in sweep.storage.listing(TRAINING_PREFIX):
        by_job.setdefault(blob.key.removeprefix(TRAINING_PREFIX).partition("/")[0], []).append(blob.key)
    deleted = 0
    for names in _pages(name for name in by_job if UUID_NAME.fullmatch(name)):
        with sweep.sessions() as session:
            wanted = [UUID(name) for name in names]
            live = set(session.scalars(select(Job.id).where(Job.id.in_(wanted), Job.state.in_(LIVE_STATES))))
        ended = [key for name in names if UUID(name) not in live for key in by_job[name]]
        sweep.storage.delete(ended)
        deleted += len(ended)
        if sweep.stopping():
            break
    return deleted


def forget_keys(sweep: Sweep) -> int:
    """Idempotency keys after a day."""
    with sweep.sessions.begin() as session:
        return forget_idempotency_keys(session, sweep.settings.idempotency_hours)


def forget_webhooks(sweep: Sweep) -> int:
    """What was told of jobs, and how that went, after its retention."""
    return _until_none_left(sweep, lambda session: forget_old(session, sweep.settings.webhook_retention_days))


def forget_workers(sweep: Sweep) -> int:
    """Rows of workers, sweepers and dispatchers that died without a word."""
    with sweep.sessions.begin() as session:
        return forget_dead(session) + daemons.forget_dead(session)


def watch(sweep: Sweep) -> int:
    """Say in the log what does not hold, for whoever reads nothing else; the API and `safelight doctor` say more."""
    health = examine(sweep.sessions, sweep.settings)
    for found in health.violations:
        say = log.error if found.invariant.severity is Severity.BROKEN else log.warning
        say("an invariant does not hold", check=found.invariant.name, count=found.count, advice=found.invariant.advice)
    return len(health.violations)


def _until_none_left(sweep: Sweep, once: Callable[[Session], int]) -> int:
    total = 0
    while not sweep.stopping():
        with sweep.sessions.begin() as session:
            count = once(session)
        if not count:
            break
        total += count
    return total


def _old_keys(storage: Storage, prefix: str, before: datetime) -> Iterator[str]:
    return (blob.key for blob in storage.listing(prefix) if blob.modified_at < before)


def _pages(keys: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = iter(keys)
    while page := list(islice(rest, PAGE_KEYS)):
        yield page


def _registered(sessions: Sessions, keys: Sequence[str]) -> set[str]:
    """The files of checkpoints that have a row; also what no job trained, and somebody put there by hand."""
    found = {key: TRAINED.match(key) for key in keys}
    places = {match[0] for match in found.values() if match}
    with sessions() as session:
        query = select(Checkpoint.location).where(Checkpoint.source == Source.S3)
        named = set(session.scalars(query.where(func.rtrim(Checkpoint.location, "/").in_(places))))
    kept = {location.rstrip("/") for location in named}
    return {key for key, match in found.items() if match is None or match[0] in kept}


def _referenced(sessions: Sessions, keys: Sequence[str]) -> set[str]:
    named = union(
        select(Artifact.key).where(Artifact.key.in_(keys)),
        select(Upload.key).where(Upload.key.in_(keys)),
    )
    with sessions() as session:
        return set(session.scalars(named))
