"""What the upload endpoints read and answer."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.uploads.data_sets import DataSetDetails
from models.artifacts import UploadKind


class UploadPath(BaseModel):
    """Which upload."""

    upload_id: UUID


class UploadLinkPath(BaseModel):
    """Which link."""

    link_id: UUID


class UploadLinkBody(BaseModel):
    """What is to be sent."""

    model_config = ConfigDict(extra="forbid")

    kind: UploadKind = Field(description="A picture, or a zip of pictures.")
    size_bytes: int = Field(ge=1, le=2**53, description="Exactly: the storage takes a file of no other size.")


class UploadLink(BaseModel):
    """A form for one file, signed by the API and read by the object storage."""

    id: UUID = Field(description="Also of the upload, once it is complete.")
    url: str = Field(description="Where to post the form, as multipart/form-data and without the key.")
    fields: dict[str, str] = Field(description="The form's fields; the file follows them as `file`.")
    expires_in_seconds: int
    complete: str = Field(description="What to post to when the storage has the file; needs the key.")


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
