"""What the artifact endpoints read and answer."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from api.jobs.schemas import ArtifactView


class ArtifactPath(BaseModel):
    """Which artifact."""

    artifact_id: UUID


class ArtifactDetail(ArtifactView):
    """A picture, and the job that made it."""

    job_id: UUID
    created_at: datetime
