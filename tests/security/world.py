"""Two clients, keys of every kind, and things that the first of them owns."""

import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from flask import Flask
from sqlalchemy import text

from models.clients import Client, issue_key, revoke_key
from models.progress import Progress, ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.states import Role
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.helpers import succeed
from tests.seeding import Seeder
from tests.weights import weights

COUNTED = (
    "jobs", "attempts", "job_events", "artifacts", "uploads", "api_keys", "clients", "checkpoints", "audit_log",
    "webhook_endpoints", "webhook_messages", "webhook_deliveries",
)  # fmt: skip


@dataclass
class World:
    """`owner` is the client whose things are tried; `others` are keys of each role of a second client."""

    app: Flask
    seed: Seeder
    sessions: Sessions
    storage: Storage
    settings: Settings
    picture: bytes
    folder: Path
    owner: Caller
    others: dict[Role, Caller]
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def of(
        cls,
        app: Flask,
        seed: Seeder,
        sessions: Sessions,
        storage: Storage,
        settings: Settings,
        picture: bytes,
        folder: Path,
    ) -> "World":
        """A world with a checkpoint to ask for."""
        seed.checkpoint()
        card = {"name": "toy", "family": "conditional_gan", "tasks": ["class_to_image"], "pool": "cpu"}
        (folder / "safelight.json").write_text(json.dumps({**card, "profile": {"class_names": ["cat"]}}))
        (folder / "model.safetensors").write_bytes(weights())
        first, second = seed.client("owner"), seed.client("second")
        owner = Caller(app, seed.key(first), first)
        others = {role: Caller(app, seed.key(second, role), second) for role in Role}
        return cls(app, seed, sessions, storage, settings, picture, folder, owner, others)

    # --- things of the owner; each is new ---------------------------------------------------------------------------

    def queued(self) -> dict[str, str]:
        return {"job_id": self.owner.submit()["id"]}

    def canceled(self) -> dict[str, str]:
        job = self.queued()
        assert self.owner.post(f"/v1/jobs/{job['job_id']}/cancel").status_code == 200
        return job

    def succeeded(self) -> dict[str, str]:
        self._empty_the_queue()
        job = self.queued()
        assert str(succeed(self.seed, self.sessions, self.storage)) == job["job_id"]
        return job

    def artifact(self) -> dict[str, str]:
        job = self.owner.get(f"/v1/jobs/{self.succeeded()['job_id']}").json or {}
        return {"artifact_id": job["artifacts"][0]["id"]}

    def previewed(self) -> dict[str, str]:
        job = self.queued()
        with connect_redis(self.settings) as connection:
            job_id = uuid.UUID(job["job_id"])
            ProgressBoard(connection).put({job_id: Progress(1, "running", 1, 2, preview=1)}, {job_id: self.picture})
        return job

    def upload(self) -> dict[str, str]:
        return {"upload_id": (self.owner.upload(self.picture).json or {})["id"]}

    def link(self) -> dict[str, str]:
        """A picture that was sent into the storage, and not yet completed."""
        body = {"kind": "picture", "size_bytes": len(self.picture)}
        link = self.owner.post("/v1/uploads/links", body).json or {}
        sent = httpx.post(link["url"], data=link["fields"], files={"file": self.picture})
        assert sent.status_code == 204, sent.text
        return {"link_id": link["id"]}

    def webhook(self) -> dict[str, str]:
        # One at a time: a client may have so many.
        for old in (self.owner.get("/v1/webhooks").json or {})["items"]:
            assert self.owner.delete(f"/v1/webhooks/{old['id']}").status_code == 204
        made = self.owner.post("/v1/webhooks", {"url": f"https://example.com/{next(self.numbers)}"})
        return {"webhook_id": (made.json or {})["id"]}

    def delivery(self) -> dict[str, str]:
        hook = self.webhook()
        sent = self.owner.post(f"/v1/webhooks/{hook['webhook_id']}/test")
        assert sent.status_code == 202, sent.text
        return {**hook, "delivery_id": (sent.json or {})["id"]}

    # --- things of nobody in particular ------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, str]:
        return {"name": self.seed.checkpoint(f"spare-{next(self.numbers)}").name}

    def client(self) -> dict[str, str]:
        name = f"spare-{next(self.numbers)}"
        self.seed.client(name)
        return {"name": name}

    def key(self) -> dict[str, str]:
        return {"key_id": self.seed.key(self.owner.client_id).split("_")[1]}

    # --- keys that open nothing ---------------------------------------------------------------------------------------

    def dead_keys(self) -> dict[str, str]:
        """Keys of the owner that are no good any more, and one that never was."""
        with self.sessions.begin() as session:
            client = session.get_one(Client, self.owner.client_id)
            past = datetime.now(UTC) - timedelta(seconds=5)
            expired = issue_key(session, client, Role.ADMIN, expires_at=past).text
            revoked = issue_key(session, client, Role.ADMIN)
            revoke_key(session, revoked.id)
        return {"expired": expired, "revoked": revoked.text, "unknown": f"sl_{'0' * 12}_{'x' * 43}", "garbage": "x"}

    def fingerprint(self) -> dict[str, str | None]:
        """A hash of every row of every table that an operation may change."""
        with self.sessions() as session:
            return {
                table: session.scalar(text(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"))  # noqa: S608
                for table in COUNTED
            }

    def _empty_the_queue(self) -> None:
        """So that the next claim takes the job that is made next."""
        with self.sessions.begin() as session:
            session.execute(text("UPDATE jobs SET available_at = now() + interval '1 day' WHERE state = 'queued'"))
