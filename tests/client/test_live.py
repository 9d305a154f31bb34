"""The client against the real API: Postgres, Valkey, S3 and gunicorn, with a worker that is played by hand."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from models.errors import InvalidInputError
from models.jobs import fail
from models.states import Role
from models.storage import Storage
from safelight import Client
from safelight.client import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    Job,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
)
from tests.client.live import Api, running_api, work
from tests.seeding import Seeder

PROMPT = "a cat on a blue background"


@dataclass
class World:
    """A running API, one client's connection, and an admin's."""

    api: Api
    client: Client
    admin: Client
    seed: Seeder
    storage: Storage

    def work_soon(self, seconds: float = 0.4) -> threading.Timer:
        """A worker that comes a moment later."""
        timer = threading.Timer(seconds, work, (self.seed, self.storage))
        timer.start()
        return timer


@pytest.fixture
def world(environment: dict[str, str], seed: Seeder, storage: Storage) -> Iterator[World]:
    owner = seed.client("house", max_priority=3)
    seed.checkpoint()
    with (
        running_api(environment) as api,
        Client(api.url, seed.key(owner)) as client,
        Client(api.url, seed.key(owner, Role.ADMIN)) as admin,
    ):
        yield World(api, client, admin, seed, storage)


def test_from_a_prompt_to_a_file(world: World, tmp_path: Path) -> None:
    worker = world.work_soon()
    seen: list[str] = []

    job = world.client.run(
        "text_to_image",
        {"seed": 7},
        prompt=PROMPT,
        tag="mine",
        timeout=20,
        on_progress=lambda job: seen.append(job.state),
    )
    worker.join()
    [path] = world.client.download(job, tmp_path / "cat.png")

    assert set(seen) <= {"queued", "running", "succeeded"}
    assert seen[-1] == "succeeded"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == job.artifacts[0].sha256
    with Image.open(path) as picture:
        assert picture.size == (64, 64)
    events = list(world.client.events(job))
    assert [event.name for event in events if event.id] == ["job.queued", "job.running", "job.succeeded"]
    assert [event.name for event in world.client.events(job, after=events[-2].id)] == ["job.succeeded"]
    assert list(world.client.events(job, after=events[-1].id)) == []
    assert [found.id for found in world.client.list(tag="mine", state=["succeeded", "failed"])] == [job.id]

    _lists_and_refusals(world, job)


def _lists_and_refusals(world: World, done: Job) -> None:
    """More of the same API, because starting one costs two seconds."""
    client = world.client
    with pytest.raises(ConflictError):
        client.cancel(done)
    with pytest.raises(InvalidRequestError) as caught:
        client.submit("text_to_image", {"width": 63, "nonsense": 1}, prompt=PROMPT)
    assert caught.value.fields
    with pytest.raises(PermissionDeniedError):
        client.keys()
    with pytest.raises(NotFoundError):
        client.get("019aa8a0-0000-7000-8000-00000000beef")
    assert client.preview(done) is None
    assert client.me()["client"] == "house"
    assert client.ready()["status"] in {"ready", "degraded"}
    assert {task["name"] for task in client.tasks()} >= {"text_to_image", "class_to_image"}
    assert [card["name"] for card in client.checkpoints()] == ["tiny"]
    assert client.checkpoint("tiny")["profile"]["max_images"] == 4
    assert world.admin.workers() == []
    assert {queue["pool"] for queue in world.admin.queues()} == {"gpu", "cpu"} or world.admin.queues() == []


def test_what_can_be_done_to_a_job(world: World, tmp_path: Path) -> None:
    client = world.client
    price = client.dry_run("text_to_image", prompt=PROMPT)
    first = client.submit("text_to_image", prompt=PROMPT, idempotency_key="k1", priority=3, lane="bulk")
    again = client.submit("text_to_image", prompt=PROMPT, idempotency_key="k1", priority=3, lane="bulk")
    canceled = client.cancel(first)
    retried = client.retry(canceled)
    copy = client.clone(retried, {"params": {"seed": 8}, "tag": "copy"})

    assert price["servable"] is False
    assert again.id == first.id
    assert (first.lane, first.priority) == ("bulk", 3)
    assert canceled.state == "canceled"
    assert retried.source_job_id == first.id
    assert (copy.params["seed"], copy.tag, copy.source_job_id) == (8, "copy", retried.id)
    assert [found.id for found in client.list(limit=2)] == [copy.id, retried.id]
    assert len(list(client.list())) == 3
    client.delete(first)
    with pytest.raises(NotFoundError):
        client.get(first)

    for held in world.seed.claim():
        with world.seed.sessions.begin() as session:
            fail(session, held.hold, InvalidInputError("The prompt is too long."), world.seed.settings, {})
    failed = client.wait(copy)
    assert failed.error is not None
    assert failed.error.detail in str(JobFailedError(failed))

    _keys_and_uploads(world, tmp_path)


def _keys_and_uploads(world: World, tmp_path: Path) -> None:
    Image.new("RGB", (32, 16)).save(tmp_path / "in.png")
    sent = world.client.upload(tmp_path / "in.png")
    assert (sent.width, sent.height, sent.media_type) == (32, 16, "image/png")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    Image.new("RGB", (32, 16)).save(tmp_path / "set" / "cat" / "1.png")
    packed = world.client.upload(tmp_path / "set")
    assert (packed.media_type, packed.raw["kind"]) == ("application/zip", "data_set")
    assert packed.raw["details"]["classes"] == {"cat": 1}
    again = world.client.upload(tmp_path / "set", direct=True)
    assert (again.sha256, again.raw["details"]) == (packed.sha256, packed.raw["details"])

    made = world.admin.create_key("shop", "viewer", name="ci", expires_in_days=1)
    with Client(world.api.url, made["key"]) as viewer:
        assert viewer.me()["role"] == "viewer"
        world.admin.revoke_key(made["id"])
        time.sleep(1.2)  # every process refuses it within a second
        with pytest.raises(AuthenticationError):
            viewer.me()
    rows = world.admin.keys()
    assert {row["client"] for row in rows} == {"house", "shop"}
    assert {row["name"] for row in world.admin.clients()} == {"house", "shop"}
    assert world.admin.set_client("shop", weight=2, max_priority=5)["max_priority"] == 5
    assert [entry["action"] for entry in world.admin.audit("shop")] == ["client.set"]
    assert [entry["action"] for entry in world.admin.audit(limit=2)] == ["client.set", "key.revoke"]


def test_waiting_and_events_go_on_over_a_restart(world: World) -> None:
    job = world.client.submit("text_to_image", prompt=PROMPT)
    names: list[str] = []
    ends: list[str] = []

    def follow() -> None:
        names.extend(event.name for event in world.client.events(job) if event.id)

    def wait() -> None:
        ends.append(world.client.wait(job, timeout=30).state)

    threads = [threading.Thread(target=target) for target in (follow, wait)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    claimed = world.seed.claim()
    time.sleep(0.2)
    world.api.stop()
    work(world.seed, world.storage, claimed)
    time.sleep(0.5)
    world.api.start()
    for thread in threads:
        thread.join(20)

    assert ends == ["succeeded"]
    assert names == ["job.queued", "job.running", "job.succeeded"]
