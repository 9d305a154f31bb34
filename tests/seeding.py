"""What a test needs to exist before it begins: clients, checkpoints, jobs. All through the product's own verbs."""

import uuid
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from models.checkpoints import FileManifest, Source, register
from models.checkpoints.registry import Registration
from models.clients import create_client, issue_key
from models.jobs import CheckpointCard, ClaimedJob, Job, Submission, batch_key, claim, parse_task, submit
from models.params import CheckpointProfile
from models.session import Sessions
from models.settings import Settings
from models.states import Pool, Role

PROFILE = CheckpointProfile(
    default_width=64, default_height=64, min_size=16, max_size=128, default_steps=4, max_images=4, max_prompt_chars=200
)


@dataclass(frozen=True)
class Seeder:
    """Makes rows in the test's database."""

    sessions: Sessions
    settings: Settings

    def client(
        self, name: str | None = None, *, max_live_jobs: int = 100_000, weight: float = 1.0, max_priority: int = 0
    ) -> UUID:
        """A client's id."""
        with self.sessions.begin() as session:
            name = name or f"client-{uuid.uuid4().hex[:8]}"
            limits = {"max_live_jobs": max_live_jobs, "max_priority": max_priority}
            return create_client(session, name, weight=weight, **limits).id

    def key(self, client_id: UUID, role: Role = Role.CLIENT) -> str:
        """The text of a new key."""
        from models.clients import Client

        with self.sessions.begin() as session:
            return issue_key(session, session.get_one(Client, client_id), role).text

    def checkpoint(self, name: str = "tiny", **changes: Any) -> CheckpointCard:
        """A registered checkpoint without files, for tests that run none."""
        wanted = Registration(
            name=name,
            family="diffusers",
            tasks=("text_to_image",),
            pool=Pool.GPU,
            source=Source.LOCAL,
            location="nowhere",
            manifest=FileManifest({"model.safetensors": {"sha256": name, "size_bytes": 1}}),
            profile=PROFILE,
        )
        return self.register(replace(wanted, **changes))

    def register(self, wanted: Registration) -> CheckpointCard:
        """Register, and give back what submitting needs."""
        with self.sessions.begin() as session:
            row = register(session, wanted)
            return CheckpointCard(row.id, row.name, row.family, row.revision, row.pool, row.profile, None)

    def job(
        self,
        client_id: UUID,
        checkpoint: CheckpointCard,
        *,
        task: str = "text_to_image",
        params: dict[str, Any] | None = None,
        **changes: Any,
    ) -> UUID:
        """A queued job's id."""
        wanted = self.submission(client_id, checkpoint, task=task, params=params, **changes)
        return submit(self.sessions, wanted).job_id

    def submission(
        self,
        client_id: UUID,
        checkpoint: CheckpointCard,
        *,
        task: str = "text_to_image",
        params: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Submission:
        """What `submit` takes."""
        given = {"prompt": "a cat"} if params is None and task == "text_to_image" else params or {}
        resolved = parse_task(task, given).resolved(checkpoint.profile)
        return Submission(
            client_id=client_id,
            task=task,
            checkpoint_id=checkpoint.id,
            pool=checkpoint.pool,
            params=resolved,
            batch_key=batch_key(task, checkpoint, resolved),
            retention_seconds=3600,
            **changes,
        )

    def claim(
        self, *, owner: str = "w1", max_images: int = 8, lease_seconds: float = 60, **more: Any
    ) -> list[ClaimedJob]:
        """Claim in a transaction of its own."""
        with self.sessions.begin() as session:
            return claim(
                session,
                pool=more.pop("pool", Pool.GPU),
                owner=owner,
                max_images=max_images,
                lease_seconds=lease_seconds,
                **more,
            )

    def read(self, job_id: UUID) -> Job:
        """The job's row, fresh."""
        with self.sessions() as session:
            return session.get_one(Job, job_id)
