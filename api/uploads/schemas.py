"""What the upload endpoints read and answer."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from api.uploads.data_sets import DataSetDetails
from models.artifacts import UploadKind


class UploadPath(BaseModel):
    """Which upload."""

    upload_id: UUID


class UploadView(BaseModel):
    """A picture or a data set that a client sent, as it is stored."""

    id: UUID
    kind: UploadKind
    media_type: str
    size_bytes: int
    width: int | None = Field(description="Of a picture.")
    height: int | None = Field(description="Of a picture.")
    sha256: str
    details: DataSetDetails | None = Field(description="Of a data set.")
    url: str = Field(description="Redirects to the bytes; needs the key.")
    created_at: datetime
    expires_at: datetime | None
