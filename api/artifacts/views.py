"""Artifacts and where their bytes are."""

from api.services import Services
from models.artifacts import Artifact

SUFFIXES: dict[str, str] = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}


def presigned(services: Services, artifact: Artifact) -> str:
    """A URL of the bytes that needs no key, for a few minutes."""
    suffix = SUFFIXES.get(artifact.media_type, "bin")
    return services.storage.presigned_get(
        artifact.key, media_type=artifact.media_type, filename=f"{artifact.job_id}-{artifact.index}.{suffix}"
    )
