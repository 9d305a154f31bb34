"""GET, POST and DELETE /v1/checkpoints."""

from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import select, update

from api.auth import SEES_OTHERS, Access, actor, principal
from api.checkpoints.schemas import (
    CheckpointList,
    CheckpointPath,
    CheckpointQuery,
    CheckpointRequest,
    CheckpointView,
    LocalCheckpoint,
)
from api.room import Answer, Room
from api.services import get_services
from models.audit import audit
from models.checkpoints import Checkpoint, FileManifest, Source, list_checkpoints, register
from models.checkpoints.card import read_folder
from models.checkpoints.registry import Registration
from models.errors import FieldError, NotFoundError, ValidationFailedError

room = Room("checkpoints", "The weights that jobs run on.")


@room.endpoint("get", "/checkpoints", access=Access.READ, answers={200: CheckpointList})
def list_checkpoints_(query: CheckpointQuery) -> Answer:
    """List the enabled checkpoints."""
    with get_services().reader() as session:
        rows = list_checkpoints(session, query.task)
    return Answer(CheckpointList(items=[_view(row) for row in rows]))


@room.endpoint("get", "/checkpoints/<name>", access=Access.READ, answers={200: CheckpointView})
def get_checkpoint(path: CheckpointPath) -> Answer:
    """Read a checkpoint."""
    with get_services().reader() as session:
        row = session.scalars(select(Checkpoint).where(Checkpoint.name == path.name, Checkpoint.enabled)).one_or_none()
    if row is None:
        raise NotFoundError.of("checkpoint", path.name)
    return Answer(_view(row))


@room.endpoint("post", "/checkpoints", access=Access.ADMIN, answers={201: CheckpointView}, problems=(409,))
def create_checkpoint(body: CheckpointRequest) -> Answer:
    """Make a checkpoint available under its name. New files under an old name replace it for new jobs."""
    services = get_services()
    wanted = _registration(body)
    with services.sessions.begin() as session:
        view = _view(register(session, wanted))
        audit(session, actor(), "checkpoint.register", view.name, {"revision": view.revision})
    services.cards.forget()
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/checkpoints/{view.name}"})


@room.endpoint("delete", "/checkpoints/<name>", access=Access.ADMIN, answers={204: None})
def delete_checkpoint(path: CheckpointPath) -> Answer:
    """Disable a checkpoint for new jobs; those that wait for it still run."""
    services = get_services()
    with services.sessions.begin() as session:
        gone = session.scalars(
            update(Checkpoint)
            .where(Checkpoint.name == path.name, Checkpoint.enabled)
            .values(enabled=False)
            .returning(Checkpoint.id)
        ).all()
        if not gone:
            raise NotFoundError.of("checkpoint", path.name)
        audit(session, actor(), "checkpoint.disable", path.name)
    services.cards.forget()
    return Answer(None, HTTPStatus.NO_CONTENT)


def _registration(body: CheckpointRequest) -> Registration:
    wanted = body.root
    if isinstance(wanted, LocalCheckpoint):
        try:
            found = read_folder(Path(wanted.location), name=wanted.name, pool=wanted.pool)
        except OSError as error:
            reason = f"The folder cannot be read: {error.strerror}."
            raise ValidationFailedError([FieldError("/location", "unreadable", reason)]) from error
        return found if wanted.base is None else _over(found, wanted.base)
    return Registration(
        name=wanted.name,
        family=wanted.family,
        tasks=tuple(wanted.tasks),
        pool=wanted.pool,
        source=Source(wanted.source),
        location=wanted.location,
        manifest=FileManifest({path: entry.model_dump() for path, entry in sorted(wanted.files.items())}),
        profile=wanted.profile,
        licence=wanted.licence,
        description=wanted.description,
    )


def _over(found: Registration, base: str) -> Registration:
    if not found.profile.takes_base:
        text = "This checkpoint runs by itself; leave it out."
        raise ValidationFailedError([FieldError("/base", "not_used", text)])
    return replace(found, profile=found.profile.model_copy(update={"base": base}))


def _view(row: Checkpoint) -> CheckpointView:
    return CheckpointView(
        id=row.id,
        name=row.name,
        family=row.family,
        tasks=row.tasks,
        pool=row.pool,
        source=row.source,
        location=row.location if principal().role in SEES_OTHERS else None,
        revision=row.revision,
        profile=row.profile,
        licence=row.licence,
        description=row.description,
        size_bytes=row.size_bytes,
        seconds_per_step=row.seconds_per_step,
        created_at=row.created_at,
    )
