"""POST, GET and DELETE /v1/uploads."""

import contextlib
import uuid
from http import HTTPStatus

from flask import Response, request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth import Access, audited, may_act_for, principal, visible_client
from api.blobs import REDIRECT, upload_redirect
from api.room import Answer, Room
from api.services import get_services
from api.uploads.pictures import MEDIA_TYPE, Picture, normalized
from api.uploads.schemas import UploadPath, UploadView
from models.artifacts import UPLOADS_PREFIX, Upload
from models.base import seconds
from models.errors import (
    FieldError,
    ForbiddenError,
    NotFoundError,
    StorageError,
    UnavailableError,
    UnsupportedMediaError,
    ValidationFailedError,
)

FORM_OVERHEAD_BYTES = 64 << 10
"""What the multipart form needs besides the picture."""
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

room = Room("uploads", "Pictures that jobs take as input.")


@room.endpoint(
    "post",
    "/uploads",
    access=Access.WRITE,
    answers={201: UploadView},
    problems=(400, 413, 415, 422),
    extensions={"requestBody": MULTIPART},
)
def create_upload() -> Answer:
    """Send a picture (PNG, JPEG or WebP) as the part `file` of a multipart form.

    It is turned upright, encoded again as PNG and stored without metadata.
    """
    services = get_services()
    data = _file(services.settings.max_upload_bytes)
    slot = services.decoders.take()
    if slot is None:
        raise UnavailableError("Too many pictures are being decoded now; try again in a moment.")
    with slot:
        picture = normalized(data, services.settings)
    key = f"{UPLOADS_PREFIX}{uuid.uuid4()}/{picture.sha256}.png"
    # The object first: a row never points to nothing, and an object without a row is collected.
    services.storage.put(key, picture.body, MEDIA_TYPE)
    with services.sessions.begin() as session:
        view = _view(_insert(session, key, picture, services.settings.result_retention_days))
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


def _file(max_bytes: int) -> bytes:
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaError("Send a multipart form with the picture in its part `file`.")
    request.max_content_length = max_bytes + FORM_OVERHEAD_BYTES
    unknown = [name for name in (*request.form, *request.files) if name != "file"]
    if unknown:
        found = [FieldError(f"/{name}", "extra_forbidden", "Send the part `file` alone.") for name in unknown]
        raise ValidationFailedError(found)
    sent = request.files.getlist("file")
    if len(sent) != 1:
        raise ValidationFailedError([FieldError("/file", "missing" if not sent else "repeated", "Send one picture.")])
    return sent[0].stream.read()


def _insert(session: Session, key: str, picture: Picture, days: int) -> Upload:
    row = Upload(
        client_id=principal().client_id,
        key=key,
        sha256=picture.sha256,
        media_type=MEDIA_TYPE,
        size_bytes=len(picture.body),
        width=picture.width,
        height=picture.height,
        expires_at=func.now() + seconds(float(days * SECONDS_PER_DAY)),
    )
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
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        sha256=row.sha256,
        url=f"/v1/uploads/{row.id}/content",
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
