"""A file that a client sent into the object storage by a link, brought here to be looked into.

It lies below the uploads without a row: what is never completed is garbage, and the sweeper collects it after a day.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

from api.services import Services
from api.uploads.data_sets import MEDIA_TYPE as ZIP_TYPE
from api.uploads.receiving import Received, archive_slot, largest
from models.artifacts import UPLOADS_PREFIX, UploadKind
from models.errors import NotFoundError, TooLargeError, UnavailableError

INCOMING_TYPES = {UploadKind.PICTURE: "application/octet-stream", UploadKind.DATA_SET: ZIP_TYPE}
"""What the form says of a file. What it is, its content decides."""


def incoming_key(client_id: UUID, link_id: UUID) -> str:
    """Where a link leads. With the client in it, nobody completes another's."""
    return f"{UPLOADS_PREFIX}incoming/{client_id}/{link_id}"


@contextmanager
def fetched(services: Services, key: str) -> Iterator[Received]:
    """The whole file on a disk, gone when its block ends.

    Raises:
        NotFoundError: nothing has arrived.
        TooLargeError: more than its kind may have.
        UnavailableError: too many data sets are on their way, or there is no room.
    """
    with _told_of_links():
        size_bytes, media_type = services.storage.facts(key)
    kind = UploadKind.DATA_SET if media_type == ZIP_TYPE else UploadKind.PICTURE
    if size_bytes > (most := largest(services.settings, kind)):
        raise TooLargeError(f"At most {most} bytes are taken of a {kind.words}.")
    with ExitStack() as stack:
        if kind is UploadKind.DATA_SET:
            stack.enter_context(archive_slot(services.archives))
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="safelight-upload-"))
        with _told_of_links():
            services.storage.download(key, Path(file.name))
        digest = hashlib.file_digest(file, "sha256")
        file.seek(0)
        yield Received(kind, file, size_bytes, digest.hexdigest())


@contextmanager
def _told_of_links() -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError("Nothing has arrived by this link: post the file to its url first.") from error
    except OSError as error:
        raise UnavailableError("There is no room for the upload now; try again later.") from error
