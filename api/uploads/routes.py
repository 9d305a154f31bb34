"""POST, GET and DELETE /v1/uploads."""

import contextlib
import uuid
from http import HTTPStatus

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Access, audited, may_act_for, principal, visible_client
from api.blobs import REDIRECT, upload_redirect
from api.room import Answer, Room
from api.services import get_services
from api.uploads.fetching import INCOMING_TYPES, fetched, incoming_key
from api.uploads.keeping import check_room, keep, view_of
from api.uploads.receiving import largest, received
from api.uploads.schemas import UploadLink, UploadLinkBody, UploadLinkPath, UploadPath, UploadView
from models.artifacts import Upload
from models.errors import ForbiddenError, NotFoundError, StorageError, TooLargeError

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
        view = view_of(keep(services, file))
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/uploads/{view.id}"})


@room.endpoint("post", "/uploads/links", access=Access.WRITE, answers={201: UploadLink}, problems=(413, 429))
def create_upload_link(body: UploadLinkBody) -> Answer:
    """Get a form that sends a file straight into the object storage: for large files, past the API.

    Post `fields`, and behind them the file as `file`, to `url`; then post to `complete`, which looks through the file
    as `POST /v1/uploads` does. What is not completed within a day is gone.
    """
    services = get_services()
    most = largest(services.settings, body.kind)
    if body.size_bytes > most:
        raise TooLargeError(f"At most {most} bytes are taken of a {body.kind.words}.")
    with services.reader() as session:
        check_room(session, services.settings, body.size_bytes)
    link_id = uuid.uuid4()
    form = services.storage.presigned_post(
        incoming_key(principal().client_id, link_id), media_type=INCOMING_TYPES[body.kind], size_bytes=body.size_bytes
    )
    link = UploadLink(
        id=link_id,
        url=form.url,
        fields=form.fields,
        expires_in_seconds=services.storage.presign_seconds,
        complete=f"/v1/uploads/links/{link_id}/complete",
    )
    return Answer(link, HTTPStatus.CREATED)


@room.endpoint(
    "post",
    "/uploads/links/<uuid:link_id>/complete",
    access=Access.WRITE,
    answers={200: UploadView, 201: UploadView},
    problems=(413, 415, 422, 429),
)
def complete_upload(path: UploadLinkPath) -> Answer:
    """Make an upload of what was sent by a link. Asked again, it answers with the same upload."""
    services = get_services()
    with services.reader() as session:
        if (row := session.get(Upload, path.link_id)) is not None and row.client_id == principal().client_id:
            return Answer(view_of(row))
    key = incoming_key(principal().client_id, path.link_id)
    with fetched(services, key) as file:
        view = view_of(keep(services, file, path.link_id))
    with contextlib.suppress(StorageError):
        services.storage.delete([key])
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/uploads/{view.id}"})


@room.endpoint("get", "/uploads/<uuid:upload_id>", access=Access.READ, answers={200: UploadView})
def get_upload(path: UploadPath) -> Answer:
    """Read what is known of an upload."""
    with get_services().reader() as session:
        return Answer(view_of(_visible(session, path)))


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


def _visible(session: Session, path: UploadPath) -> Upload:
    query = select(Upload).where(Upload.id == path.upload_id)
    client_id = visible_client()
    if client_id is not None:
        query = query.where(Upload.client_id == client_id)
    row = session.scalars(query).one_or_none()
    if row is None:
        raise NotFoundError.of("upload", path.upload_id)
    return row
