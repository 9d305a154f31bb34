"""What the upload endpoints read and answer."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class UploadPath(BaseModel):
    """Which upload."""

    upload_id: UUID


class UploadView(BaseModel):
    """A picture that a client sent, as it is stored."""

    id: UUID
    media_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    url: str = Field(description="Redirects to the bytes; needs the key.")
    created_at: datetime
    expires_at: datetime | None
