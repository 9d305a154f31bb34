"""From a whole file to an upload: looked into in a child process, stored, and written down."""

import contextlib
import uuid
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth import principal
from api.services import Services
from api.slots import Slot
from api.uploads import data_sets, pictures
from api.uploads.receiving import Received
from api.uploads.schemas import UploadView
from models.artifacts import UPLOADS_PREFIX, Upload, UploadKind
from models.base import seconds
from models.clients import Client
from models.errors import QuotaExceededError, StorageError, UnavailableError
from models.settings import Settings

SECONDS_PER_DAY = 86_400


def keep(services: Services, file: Received, upload_id: UUID | None = None) -> Upload:
    """The upload that a file becomes. With an id that has become one meanwhile: that one.

    Raises:
        TooLargeError, UnsupportedMediaError, ValidationFailedError: not a file that is taken.
        QuotaExceededError: the client keeps too much; nothing of the file is left then.
        UnavailableError: too many are looked into now.
    """
    columns = _data_set(services, file) if file.kind is UploadKind.DATA_SET else _picture(services, file)
    try:
        with services.sessions.begin() as session:
            row = _inserted(session, columns, services.settings, upload_id)
    except QuotaExceededError:
        _discard(services, columns["key"])
        raise
    if row.key != columns["key"]:
        _discard(services, columns["key"])
    return row


def check_room(session: Session, settings: Settings, size_bytes: int) -> None:
    """Whether the client may keep so many bytes more.

    Raises:
        QuotaExceededError: it may not.
    """
    mine = Upload.client_id == principal().client_id
    kept = int(session.scalar(select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(mine)) or 0)
    most = settings.max_client_upload_bytes
    if kept + size_bytes > most:
        raise QuotaExceededError(f"This client keeps {kept} bytes of uploads, and may keep {most}; delete some.")


def view_of(row: Upload) -> UploadView:
    """What a client reads of it."""
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


def _inserted(session: Session, columns: dict[str, Any], settings: Settings, upload_id: UUID | None) -> Upload:
    client_id = principal().client_id
    # One upload of a client after the other, so that two at once do not both find the last room.
    session.execute(select(Client.id).where(Client.id == client_id).with_for_update(key_share=True))
    if upload_id is not None and (made := session.get(Upload, upload_id)) is not None:
        return made
    check_room(session, settings, columns["size_bytes"])
    lifetime = seconds(float(settings.result_retention_days * SECONDS_PER_DAY))
    named = {} if upload_id is None else {"id": upload_id}
    row = Upload(client_id=client_id, expires_at=func.now() + lifetime, **named, **columns)
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def _discard(services: Services, key: str) -> None:
    """What cannot be deleted now has no row: the sweeper collects it."""
    with contextlib.suppress(StorageError):
        services.storage.delete([key])
