"""A key and a prompt that occur nowhere else, sent through the real processes at their most talkative.

Then every place is searched where they must not be: logs, what went through Redis, tables, metrics, error documents,
events, process lists. A prompt belongs into `jobs.params` and into its owner's view of the job; a key nowhere.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.checkpoints import scan_folder
from models.checkpoints.card import read_folder
from models.session import Sessions
from models.settings import Settings
from models.states import Pool, Role
from tests.faults.test_spine import start_api
from tests.security.listening import Wiretap, command_lines, files, listening_to, tables
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.slow import write_checkpoint

pytestmark = pytest.mark.slow

CANARY = "heliotropewalrus"
"""Not a word; in every prompt."""
WRONG_SECRET = "C" * 30 + "anaryKeyThatIs" + "x" * 29
QUICK = {
    "SAFELIGHT_LOG_LEVEL": "DEBUG",
    "SAFELIGHT_LEASE_SECONDS": "2",
    "SAFELIGHT_SWEEP_SECONDS": "0.5",
    "SAFELIGHT_RETRY_BASE_SECONDS": "0.1",
    "SAFELIGHT_RETRY_MAX_SECONDS": "0.2",
    "SAFELIGHT_INFRASTRUCTURE_BUDGET_SECONDS": "1",
    "SAFELIGHT_MAX_CRASHES": "1",
    "SAFELIGHT_WEBHOOK_ALLOW_PRIVATE": "true",
}
FAILING = ("raise", "invalid", "oom", "failed", "transient", "kill")
STARTER = Path(__file__).resolve().parents[2] / "worker" / "starter" / "emoji-64"


@dataclass
class LoggedCrew(Crew):
    """A crew whose processes write what they say into files."""

    logs: Path = field(default_factory=Path)

    def start(self, *argv: str, **environment: str) -> "subprocess.Popen[bytes]":
        import os
        import sys

        merged = {**os.environ, **self.environment, **QUICK, **environment}
        with (self.logs / f"{len(self.running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *argv], env=merged, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
            )
        self.running.append(process)
        return process

    def leaky_worker(self) -> None:
        options = ["--pool", "prefork", "--concurrency", "1", "--without-gossip", "--without-mingle"]
        self.start("-m", "celery", "-A", "tests.security.leaky_app", "worker", *options, "-Q", "gpu", "-n", "leaky@%h")
        until(self.names, seconds=90, what="a worker's first heartbeat")


@dataclass
class Stage:
    """The running processes, and who speaks to them."""

    crew: LoggedCrew
    client: httpx.Client
    key: str
    tap: Wiretap
    said: list[str] = field(default_factory=list)
    """Error documents, event streams and metrics."""
    jobs: dict[str, UUID] = field(default_factory=dict)

    def submit(self, name: str, prompt: str, **more: Any) -> None:
        body = {"task": "text_to_image", "params": {"prompt": prompt, "negative_prompt": CANARY}, **more}
        answer = self.client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        self.jobs[name] = UUID(answer.json()["id"])

    def refused(self, status: int, **request: Any) -> None:
        answer = self.client.post("/v1/jobs", **request)
        assert answer.status_code == status, answer.text
        self.said.append(answer.text)


@pytest.fixture
def crew(settings: Settings, environment: dict[str, str], sessions: Sessions, tmp_path: Path) -> Iterator[LoggedCrew]:
    (tmp_path / "logs").mkdir()
    crew = LoggedCrew(settings, environment, sessions, logs=tmp_path / "logs")
    yield crew
    crew.end()


@pytest.fixture
def stage(crew: LoggedCrew, seed: Seeder, settings: Settings, tmp_path: Path) -> Iterator[Stage]:
    folder = write_checkpoint(tmp_path / "leaky")
    seed.checkpoint("leaky", family="leaky", location=str(folder), manifest=scan_folder(folder))
    seed.register(read_folder(STARTER, name="emoji", pool=Pool.GPU))
    key = seed.key(seed.client("canary", max_live_jobs=100))
    with listening_to(settings.redis_url) as tap:
        _, url = start_api(crew)
        crew.sweeper()
        crew.start("-m", "worker.webhooks")
        crew.leaky_worker()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            yield Stage(crew, client, key, tap)


def run_every_kind_of_job(stage: Stage) -> None:
    """One that succeeds, one for each way to fail, one that is canceled; with a webhook that nobody answers."""
    hook = {"url": "http://127.0.0.1:9/hook", "events": ["job.succeeded", "job.failed", "job.canceled"]}
    assert stage.client.post("/v1/webhooks", json=hook).status_code == 201
    stage.submit("good", f"draw {CANARY}", checkpoint="leaky", tag="t")
    for word in FAILING:
        stage.submit(word, f"{word} {CANARY}", checkpoint="leaky")
    # A real text encoder, and a prompt that is too long for it: its libraries like to quote what they cut off.
    stage.submit("real", f"a cat {CANARY}", checkpoint="emoji")
    stage.submit("long", f"a cat {CANARY} " * 12, checkpoint="emoji")
    ended = stage.crew.finish(*stage.jobs.values(), seconds=240)
    assert dict(zip(stage.jobs, (state.value for state in ended), strict=True)) == {
        "good": "succeeded",
        **dict.fromkeys(FAILING, "failed"),
        "real": "succeeded",
        "long": "failed",
    }
    stage.submit("canceled", f"wait {CANARY}", checkpoint="leaky")
    path = f"/v1/jobs/{stage.jobs['canceled']}"
    until(lambda: stage.client.get(path).json()["state"] == "running", what="the job's start")
    assert stage.client.post(f"{path}/cancel").is_success
    stage.crew.finish(stage.jobs["canceled"])


def make_every_kind_of_mistake(stage: Stage) -> None:
    """Requests that are refused, with the prompt in every place that is wrong."""
    task = {"task": "text_to_image", "checkpoint": "leaky"}
    stage.refused(422, json={**task, "params": {"prompt": [CANARY]}})
    stage.refused(422, json={**task, "params": {"prompt": CANARY * 2000}})
    stage.refused(422, json={**task, "params": {"prompt": CANARY, "width": CANARY}})
    stage.refused(422, json={"task": CANARY, "params": {"prompt": CANARY}})
    stage.refused(422, json={**task, "params": {"prompt": f"{CANARY}\x00"}})
    stage.refused(
        400, content=f'{{"params": {{"prompt": "{CANARY}'.encode(), headers={"Content-Type": "application/json"}
    )
    stage.refused(415, content=CANARY.encode(), headers={"Content-Type": "text/plain"})
    body = {**task, "params": {"prompt": f"again {CANARY}"}}
    headers = {"Idempotency-Key": "canary"}
    assert stage.client.post("/v1/jobs", json=body, headers=headers).status_code == 202
    stage.refused(422, json={**body, "tag": "other"}, headers=headers)


def show_keys_in_wrong_places(stage: Stage) -> None:
    """The good one in an address and a body, a wrong one, and one of the wrong scheme."""
    stage.client.get("/v1/jobs", params={"key": stage.key})
    stage.client.get(f"/v1/keys/{stage.key}")
    stage.client.get(f"/v1/{stage.key}")
    stage.client.post("/v1/jobs", json={"task": stage.key, "params": {}})
    for header in (
        f"Bearer sl_0123456789ab_{WRONG_SECRET[:43]}",
        f"Basic {stage.key}",
        stage.key,
        f"Bearer x{stage.key}",
    ):
        answer = stage.client.get("/v1/me", headers={"Authorization": header})
        assert answer.status_code == 401
        stage.said.append(answer.text)


def listen_to_the_api(stage: Stage) -> None:
    """Streams, metrics, readiness."""
    for job in stage.jobs.values():
        stage.said.append(stage.client.get(f"/v1/jobs/{job}/events").text)
    for path in ("/metrics", "/v1/health/ready", "/v1/webhooks"):
        stage.said.append(stage.client.get(path).text)
    (hook,) = stage.client.get("/v1/webhooks").json()["items"]
    stage.said.append(stage.client.get(f"/v1/webhooks/{hook['id']}/deliveries").text)


def test_neither_a_key_nor_a_prompt_is_where_it_must_not_be(
    stage: Stage, seed: Seeder, sessions: Sessions, settings: Settings
) -> None:
    # Given jobs that end in every way, requests that are refused in every way, and keys in wrong places
    run_every_kind_of_job(stage)
    make_every_kind_of_mistake(stage)
    show_keys_in_wrong_places(stage)
    listen_to_the_api(stage)
    # When everything is looked at
    places = {
        **files([stage.crew.logs, settings.home / "logs"]),
        **{f"table {name}": rows for name, rows in tables(sessions).items()},
        "redis": stage.tap.text(),
        "said": "\n".join(stage.said),
        "processes": command_lines([process.pid for process in stage.crew.running]),
    }
    # Then the search would find what is there
    good = str(stage.jobs["good"])
    assert "Bearer" not in places["processes"]
    assert "worker.sweeper" in places["processes"]
    assert any(str(job) in places["redis"] for job in stage.jobs.values())
    assert '[["gpu", ' in places["redis"], "a ticket's body is base64, and was read"
    assert good in places["table jobs"]
    assert "job.failed" in places["said"]
    assert "safelight_api_requests_total" in places["said"]
    own = "".join(text for path, text in places.items() if path.startswith(str(stage.crew.logs)))
    assert re.search(r"a pipeline failed", own)
    assert '"level": "debug"' in own or "[debug" in own
    assert (places["table webhook_messages"]) != ""
    # And the owner sees its prompt
    assert CANARY in stage.client.get(f"/v1/jobs/{good}").text
    # And nobody else anything
    secret = stage.key.split("_", 2)[2]
    found = {
        (place, what)
        for place, text in places.items()
        for what, needle in {"prompt": CANARY, "key": secret, "wrong key": WRONG_SECRET[:43]}.items()
        if needle in text
    }
    assert found == set(), {place: _around(places[place], CANARY) for place, what in found if what == "prompt"}


def test_an_admin_sees_no_secret_of_a_key(stage: Stage, seed: Seeder) -> None:
    admin = seed.key(seed.client("admin"), Role.ADMIN)
    text = stage.client.get("/v1/keys", headers={"Authorization": f"Bearer {admin}"}).text
    assert stage.key.split("_")[1] in text
    assert stage.key.split("_", 2)[2] not in text
    assert admin.split("_", 2)[2] not in text


def _around(text: str, needle: str) -> str:
    at = text.find(needle)
    return text[max(0, at - 300) : at + 100]
