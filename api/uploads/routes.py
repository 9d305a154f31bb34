"""POST, GET and DELETE /v1/uploads."""

import contextlib
import uuid
from http import HTTPStatus
from typing import Any

from flask import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth import Access, audited, may_act_for, principal, visible_client
from api.blobs import REDIRECT, upload_redirect
from api.room import Answer, Room
from api.services import Services, get_services
from api.slots import Slot
from api.uploads import data_sets, pictures
from api.uploads.receiving import Received, received
from api.uploads.schemas import UploadPath, UploadView
from models.artifacts import UPLOADS_PREFIX, Upload, UploadKind
from models.base import seconds
from models.clients import Client
from models.errors import (
    ForbiddenError,
    NotFoundError,
    QuotaExceededError,
    StorageError,
    UnavailableError,
)

SECONDS_PER_DAY = 86_400
MULTIPART = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
                "additionalProperties": False,
            }
        }
    },
}

room = Room("uploads", "Pictures and data sets that jobs take as input.")


@room.endpoint(
    "post",
    "/uploads",
    access=Access.WRITE,
    answers={201: UploadView},
    problems=(400, 413, 415, 422, 429),
    extensions={"requestBody": MULTIPART},
)
def create_upload() -> Answer:
    """Send a picture (PNG, JPEG or WebP) or a data set (a zip of them) as the part `file` of a multipart form.

    A picture is turned upright, encoded again as PNG and stored without metadata. A part of the type `application/zip`
    is a data set: it is looked through, and kept as it is.
    """
    services = get_services()
    with received(services.settings, services.archives) as file:
        row = _data_set(services, file) if file.kind is UploadKind.DATA_SET else _picture(services, file)
    try:
        with services.sessions.begin() as session:
            view = _view(_insert(session, row, services))
    except QuotaExceededError:
        with contextlib.suppress(StorageError):
            services.storage.delete([row["key"]])
        raise
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/uploads/{view.id}"})


@room.endpoint("get", "/uploads/<uuid:upload_id>", access=Access.READ, answers={200: UploadView})
def get_upload(path: UploadPath) -> Answer:
    """Read what is known of an upload."""
    with get_services().reader() as session:
        return Answer(_view(_visible(session, path)))


@room.endpoint("get", "/uploads/<uuid:upload_id>/content", access=Access.READ, answers={302: REDIRECT})
def get_upload_content(path: UploadPath) -> Response:
    """Fetch an upload: redirects to a URL that is signed for a few minutes."""
    with get_services().reader() as session:
        row = _visible(session, path)
    return upload_redirect(row)


@room.endpoint("delete", "/uploads/<uuid:upload_id>", access=Access.WRITE, answers={204: None})
def delete_upload(path: UploadPath) -> Answer:
    """Delete an upload. Jobs that name it and have not started will fail."""
    services = get_services()
    with services.sessions.begin() as session:
        row = _visible(session, path)
        if not may_act_for(row.client_id):
            raise ForbiddenError("Only operators and admins delete the uploads of other clients.")
        key = row.key
        session.delete(row)
        audited(session, row.client_id, "upload.delete", row.id)
    # What cannot be deleted now has no row any more: the sweeper collects it.
    with contextlib.suppress(StorageError):
        services.storage.delete([key])
    return Answer(None, HTTPStatus.NO_CONTENT)


def _picture(services: Services, file: Received) -> dict[str, Any]:
    """Decode it and store what that gives; the columns that say so."""
    with _decoder(services):
        picture = pictures.normalized(file.stream.read(), services.settings)
    key = f"{UPLOADS_PREFIX}{uuid.uuid4()}/{picture.sha256}.png"
    # The object first: a row never points to nothing, and an object without a row is collected.
    services.storage.put(key, picture.body, pictures.MEDIA_TYPE)
    size = {"width": picture.width, "height": picture.height, "size_bytes": len(picture.body)}
    return {"key": key, "sha256": picture.sha256, "media_type": pictures.MEDIA_TYPE, "kind": file.kind, **size}


def _data_set(services: Services, file: Received) -> dict[str, Any]:
    """Look through it and store it; the columns that say so."""
    with _decoder(services):
        details = data_sets.looked_through(file.stream, services.settings)
    file.stream.seek(0)
    key = f"{UPLOADS_PREFIX}{uuid.uuid4()}/{file.sha256}.zip"
    services.storage.put(key, file.stream, data_sets.MEDIA_TYPE)
    facts = {"size_bytes": file.size_bytes, "details": details.model_dump(mode="json")}
    return {"key": key, "sha256": file.sha256, "media_type": data_sets.MEDIA_TYPE, "kind": file.kind, **facts}


def _decoder(services: Services) -> Slot:
    slot = services.decoders.take()
    if slot is None:
        raise UnavailableError("Too many uploads are being looked into now; try again in a moment.")
    return slot


def _insert(session: Session, columns: dict[str, Any], services: Services) -> Upload:
    client_id = principal().client_id
    # One upload of a client after the other, so that two at once do not both find the last room.
    session.execute(select(Client.id).where(Client.id == client_id).with_for_update(key_share=True))
    kept = session.scalar(select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(Upload.client_id == client_id))
    most = services.settings.max_client_upload_bytes
    if int(kept or 0) + columns["size_bytes"] > most:
        raise QuotaExceededError(f"This client keeps {kept} bytes of uploads, and may keep {most}; delete some.")
    lifetime = seconds(float(services.settings.result_retention_days * SECONDS_PER_DAY))
    row = Upload(client_id=client_id, expires_at=func.now() + lifetime, **columns)
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def _visible(session: Session, path: UploadPath) -> Upload:
    query = select(Upload).where(Upload.id == path.upload_id)
    client_id = visible_client()
    if client_id is not None:
        query = query.where(Upload.client_id == client_id)
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFoundError.of("upload", path.upload_id)
    return row


def _view(row: Upload) -> UploadView:
    return UploadView(
        id=row.id,
        kind=row.kind,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        sha256=row.sha256,
        details=row.details,
        url=f"/v1/uploads/{row.id}/content",
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
