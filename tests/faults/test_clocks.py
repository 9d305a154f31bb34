"""Machines whose clocks are two hours off: only Postgres' clock is compared, so nothing expires early or late.

libfaketime lies to real processes about the time of day. Their monotonic clocks stay true, as on a real machine.
"""

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from PIL import Image
from sqlalchemy import func, select, update

from models.artifacts import Upload
from models.clients import Client, issue_key
from models.daemons import Daemon
from models.jobs import CheckpointCard, expire_overdue
from models.session import Sessions
from models.states import AttemptOutcome, JobState, Role
from models.storage import Storage
from tests.faults.ledger import assert_ended_once, read
from tests.faults.points import Points
from tests.faults.test_spine import start_api
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SHIM = str(Path(__file__).with_name("wrong_clock"))
SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3"}
LOST, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: apt-get install libfaketime)"),
]


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose time of day is off: `+2h`, `-2h`."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # gunicorn keeps a monotonic time in a file's
        "PYTHONPATH": os.pathsep.join(filter(None, (SHIM, os.environ.get("PYTHONPATH")))),
    }


@pytest.mark.parametrize(("of_worker", "of_sweeper"), [("+2h", "-2h"), ("-2h", "+2h")])
def test_leases_end_neither_early_nor_late(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    trace: Trace,
    of_worker: str,
    of_sweeper: str,
) -> None:
    """Given a worker and a sweeper four hours apart, then a living lease stands and a dead one runs out."""
    wrong = crew.worker(**SHORT, **clock(of_worker), **trace.environment)
    crew.sweeper(**SHORT, **clock(of_sweeper))
    # In its first lease it reaps nothing, however wrong a lease is.
    until(lambda: _reaps(sessions), what="a sweeper past its grace")
    long = {"prompt": "step 0.1", "num_inference_steps": 60}
    living = seed.job(seed.client(), slow_checkpoint, params=long)
    crew.ticket()
    assert crew.finish(living, seconds=60) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, living, SUCCEEDED)

    dying = seed.job(seed.client(), slow_checkpoint, params={**long, "num_inference_steps": 30})
    crew.ticket()
    until(lambda: trace.steps(dying), what="the first step")
    wrong.kill()
    crew.worker(**SHORT)
    assert crew.finish(dying, seconds=60) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, dying, LOST, SUCCEEDED)


@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_a_claims_own_lease_goes_by_postgres(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    points: Callable[[str], Points],
    offset: str,
) -> None:
    """Given a worker that dies between its claim and its first heartbeat, then the lease is as long as any other."""
    job = seed.job(seed.client(), slow_checkpoint)
    doomed = crew.worker(wait=False, **SHORT, **clock(offset), **points("doomed").arm(after_claim="once-kill"))
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the claim")
    doomed.kill()
    found = read(sessions, job).job
    assert found.lease_expires_at is not None
    assert found.started_at is not None
    assert found.lease_expires_at - found.started_at == timedelta(seconds=float(SHORT["SAFELIGHT_LEASE_SECONDS"]))

    crew.sweeper(**SHORT, **clock(offset))
    crew.worker(**SHORT)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def test_a_clock_that_jumps_costs_a_worker_nothing(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    trace: Trace,
    tmp_path: Path,
) -> None:
    """Given a run, when the time of day jumps forth and back, then the worker holds what it held.

    More than once: a heartbeat right after the jump would save a worker that believes the time of day.
    """
    setting = tmp_path / "faketime"
    setting.write_text("+0")
    jumping = {**clock(""), "FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_NO_CACHE": "1"}
    del jumping["FAKETIME"]
    crew.worker(**SHORT, **jumping, **trace.environment)
    crew.sweeper(**SHORT)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 80})
    crew.ticket()
    for number, offset in enumerate(("+2h", "-2h") * 4, start=1):
        until(lambda number=number: len(trace.steps(job)) >= 9 * number, what="some steps")
        setting.write_text(offset)
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, SUCCEEDED)
    moments = [step.at for step in trace.steps(job)]
    assert max(moments) - min(moments) > 3 * 3600, "the worker did see its clock jump"


@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_keys_and_deadlines_go_by_postgres(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, offset: str
) -> None:
    """Given an API that is two hours off, then a key and a deadline of an hour are good for an hour."""
    client = seed.client()
    _, url = start_api(crew, **clock(offset))
    assert abs(_said_by(url) - datetime.now(UTC)) > timedelta(hours=1), "the API does see another time"

    def post(key: str) -> httpx.Response:
        return httpx.post(
            f"{url}/v1/jobs",
            headers={"Authorization": f"Bearer {key}"},
            json={
                "task": "text_to_image",
                "checkpoint": slow_checkpoint.name,
                "params": {"prompt": "a cat"},
                "deadline_seconds": 3600,
            },
            timeout=30,
        )

    assert post(_key(sessions, client, timedelta(hours=-1))).status_code == 401
    answer = post(_key(sessions, client, timedelta(hours=1)))
    assert answer.status_code == 202, answer.text
    job = UUID(answer.json()["id"])
    with sessions.begin() as session:
        assert expire_overdue(session) == 0
    found = read(sessions, job).job
    assert found.deadline_at is not None
    assert found.deadline_at - found.created_at == timedelta(hours=1)
    assert [claimed.job_id for claimed in seed.claim()] == [job]


@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_blobs_go_by_s3s_clock(crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, offset: str) -> None:
    """Given an API and a sweeper that are two hours off, then S3 takes their uploads, links and deletions."""
    client = seed.client()
    _, url = start_api(crew, **clock(offset))
    bearer = {"Authorization": f"Bearer {_key(sessions, client, timedelta(hours=3))}"}
    body = io.BytesIO()
    Image.new("RGB", (16, 16), "green").save(body, "PNG")

    with httpx.Client(base_url=url, headers=bearer, timeout=30) as http:
        answer = http.post("/v1/uploads", files={"file": ("a.png", body.getvalue(), "image/png")})
        assert answer.status_code == 201, answer.text
        link = http.get(f"/v1/uploads/{answer.json()['id']}/content").headers["Location"]
    assert httpx.get(link).status_code == 200

    with sessions.begin() as session:
        key = session.scalars(update(Upload).values(expires_at=func.now()).returning(Upload.key)).one()
    assert _stored(storage, key)
    crew.sweeper(**SHORT, **clock(offset))
    # Only this one: other tests keep theirs in the same bucket.
    until(lambda: not _stored(storage, key), what="the end of the upload")


def _reaps(sessions: Sessions) -> bool:
    """Whether a sweeper has had Postgres for longer than a lease."""
    with sessions() as session:
        since = session.scalar(select(func.now() - func.min(Daemon.working_since)))
        return since is not None and since > timedelta(seconds=float(SHORT["SAFELIGHT_LEASE_SECONDS"]))


def _stored(storage: Storage, key: str) -> bool:
    return any(True for _ in storage.listing(key))


def _key(sessions: Sessions, client: UUID, good_for: timedelta) -> str:
    with sessions.begin() as session:
        owner = session.get_one(Client, client)
        return issue_key(session, owner, Role.CLIENT, expires_at=datetime.now(UTC) + good_for).text


def _said_by(url: str) -> datetime:
    """The time of day in the API's `Date` header."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(httpx.get(f"{url}/v1/health/live").headers["Date"])
