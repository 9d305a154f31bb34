"""Handing a picture or a data set in: by the API, or by a form that it signs for the object storage."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from safelight.client import files
from safelight.client.transport import Request, Transport

DATA_SET_SECONDS = 300.0
"""How long the API may take over an uploaded zip."""


def send(transport: Transport, path: Path, *, direct: bool) -> Any:
    """The upload, as the API shows it.

    Raises:
        LocalFileError. ApiError, ApiUnreachableError, ProtocolError: of the API, or of the storage.
    """
    with files.upload_part(path) as part:
        # A zip is looked through before it is answered.
        patience = DATA_SET_SECONDS if part[2] == files.ZIP else None
        if not direct:
            request = Request("POST", "/uploads", files={"file": part}, repeatable=True, read_seconds=patience)
            return transport.json(request)
        kind = "data_set" if part[2] == files.ZIP else "picture"
        body = {"kind": kind, "size_bytes": files.size_of(part)}
        link = transport.json(Request("POST", "/uploads/links", json=body, repeatable=True))
        transport.post_storage(link["url"], link["fields"], part)
    complete = f"/uploads/links/{quote(link['id'], safe='')}/complete"
    return transport.json(Request("POST", complete, repeatable=True, read_seconds=patience))
