"""Registering and finding checkpoints."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, select, update
from sqlalchemy.orm import Session

from models.checkpoints.manifest import FileManifest
from models.checkpoints.names import check_location
from models.checkpoints.rows import Checkpoint, Source
from models.errors import FieldError, ValidationFailedError
from models.params import TASKS, CheckpointProfile
from models.states import Pool

ADAPTER_FAMILY = "lora"
"""Does no task by itself: jobs lay it over another checkpoint."""


@dataclass(frozen=True)
class Registration:
    """What an operator says about a checkpoint; the rest is measured."""

    name: str
    family: str
    tasks: tuple[str, ...]
    pool: Pool
    source: Source
    location: str
    manifest: FileManifest
    profile: CheckpointProfile
    licence: str = ""
    description: str = ""

    @property
    def revision(self) -> str:
        """Of the files; what is nothing but our own code changes with the product's version."""
        if self.source is Source.BUILTIN:
            return hashlib.sha256(f"{self.name} of {self.location}".encode()).hexdigest()
        return self.manifest.revision

    def check(self) -> None:
        """Whether its files and its location may be registered.

        Raises:
            ValidationFailedError: says which may not.
        """
        if self.source is Source.PACKAGE:
            self.manifest.check_packaged()
        elif self.source is not Source.BUILTIN:
            self.manifest.check()
        elif self.manifest.files:
            raise ValidationFailedError([FieldError("/location", "has_files", "What is built in has no files.")])
        check_location(self.source, self.location)


def register(session: Session, wanted: Registration, made_by: UUID | None = None) -> Checkpoint:
    """Make the checkpoint available under its name.

    The same files and profile again change nothing; others disable the old revision, whose jobs still run to their end.
    """
    unknown = [task for task in wanted.tasks if task not in TASKS]
    if unknown or not (wanted.tasks or wanted.family == ADAPTER_FAMILY):
        raise ValidationFailedError([FieldError("/tasks", "unknown_task", f"Known tasks are {', '.join(TASKS)}.")])
    wanted.check()
    current = session.scalars(
        select(Checkpoint).where(Checkpoint.name == wanted.name, Checkpoint.enabled).with_for_update()
    ).one_or_none()
    if current is not None:
        if _same(current, wanted):
            return current
        session.execute(update(Checkpoint).where(Checkpoint.id == current.id).values(enabled=False))
    row = Checkpoint(
        name=wanted.name,
        family=wanted.family,
        tasks=list(wanted.tasks),
        pool=wanted.pool,
        source=wanted.source,
        location=wanted.location,
        revision=wanted.revision,
        files=wanted.manifest.files,
        profile_json=wanted.profile.model_dump(mode="json"),
        licence=wanted.licence,
        description=wanted.description,
        made_by_job_id=made_by,
    )
    session.add(row)
    session.flush()
    return row


def list_checkpoints(session: Session, task: str | None = None) -> Sequence[Checkpoint]:
    """The enabled checkpoints, oldest first; of one task if it is given, those first that are the default for it."""
    query = select(Checkpoint).where(Checkpoint.enabled)
    if task is not None:
        query = query.where(Checkpoint.tasks.contains([task])).order_by(_is_default(task).desc())
    return session.scalars(query.order_by(Checkpoint.created_at, Checkpoint.name)).all()


def find_for_task(session: Session, task: str, name: str | None) -> Checkpoint:
    """The checkpoint of that name, or the first that does the task; those that read words come first.

    Raises:
        ValidationFailedError: unknown, or without that task; the message lists what there is.
    """
    query = select(Checkpoint).where(Checkpoint.enabled)
    if name is not None:
        found = session.scalars(query.where(Checkpoint.name == name)).one_or_none()
    else:
        query = query.where(Checkpoint.tasks.contains([task]))
        # Who does not say which wants words to count, as best-of-n does.
        reads = Checkpoint.profile_json["reads_prompt"].as_boolean()
        found = session.scalars(
            query.order_by(reads.desc(), _is_default(task).desc(), Checkpoint.created_at, Checkpoint.name).limit(1)
        ).one_or_none()
    if found is not None and task in found.tasks:
        return found
    known = ", ".join(row.name for row in list_checkpoints(session, task)) or "none"
    if name is None:
        raise _wrong("no_checkpoint", f"No checkpoint does {task}; add one with `safelight checkpoints add`.")
    if found is not None:
        raise _wrong("checkpoint_without_task", f"{name!r} does not do {task}; these do: {known}.")
    raise _wrong("checkpoint_unknown", f"There is no checkpoint {name!r}; for {task} there are: {known}.")


def find_adapter(session: Session, name: str, pointer: str) -> Checkpoint:
    """The enabled LoRA of that name.

    Raises:
        ValidationFailedError: there is none; the message lists those there are.
    """
    query = select(Checkpoint).where(Checkpoint.enabled, Checkpoint.family == ADAPTER_FAMILY)
    found = session.scalars(query.where(Checkpoint.name == name)).one_or_none()
    if found is not None:
        return found
    known = ", ".join(row.name for row in session.scalars(query.order_by(Checkpoint.name))) or "none"
    message = f"There is no LoRA {name!r}; there are: {known}."
    raise ValidationFailedError([FieldError(pointer, "lora_unknown", message)])


def _is_default(task: str) -> ColumnElement[bool]:
    """Rows from before there were defaults name none."""
    named = Checkpoint.profile_json["default_for"].contains([task])
    return func.coalesce(named, false())


def _same(row: Checkpoint, wanted: Registration) -> bool:
    return (
        row.revision == wanted.revision
        and row.profile == wanted.profile
        and (row.family, tuple(row.tasks), row.pool, row.source, row.location)
        == (wanted.family, tuple(wanted.tasks), wanted.pool, wanted.source, wanted.location)
    )


def _wrong(code: str, message: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/checkpoint", code, message)])
