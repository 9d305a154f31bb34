"""Where the bytes of a picture are: a URL that needs no key, for a few minutes."""

from flask import Response, redirect

from api.services import get_services
from models.artifacts import Artifact, Upload

SUFFIXES: dict[str, str] = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg", "application/zip": "zip"}
REDIRECT = {"description": "Where the bytes are, for a few minutes."}


def artifact_redirect(artifact: Artifact) -> Response:
    """To the bytes of a picture that a job made."""
    return _redirect(artifact, f"{artifact.job_id}-{artifact.index}")


def upload_redirect(upload: Upload) -> Response:
    """To the bytes of a picture that a client sent."""
    return _redirect(upload, str(upload.id))


def _redirect(row: Artifact | Upload, name: str) -> Response:
    filename = f"{name}.{SUFFIXES.get(row.media_type, 'bin')}"
    url = get_services().storage.presigned_get(row.key, media_type=row.media_type, filename=filename)
    response: Response = redirect(url)  # type: ignore[assignment]
    # The signature ends before a cache would.
    response.headers["Cache-Control"] = "no-store"
    return response
