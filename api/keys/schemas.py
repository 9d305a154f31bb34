"""What the key endpoints read and answer. A secret is in exactly one answer: that of its own making."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.reading import NO_NUL
from models.states import Role

MAX_KEY_DAYS = 3650
ClientName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]*$")]


class KeyRequest(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"client": "shop", "role": "client", "name": "staging", "expires_in_days": 90}]
        },
    )

    client: ClientName = Field(description="Made when there is none of that name.")
    role: Role = Role.CLIENT
    name: str = Field("", max_length=100, pattern=NO_NUL, description="To tell keys apart.")
    expires_in_days: int | None = Field(None, ge=1, le=MAX_KEY_DAYS, description="Never if absent.")


class KeyPath(BaseModel):
    """Which key."""

    key_id: str


class KeyView(BaseModel):
    """A key, without its secret."""

    id: str
    client: str
    role: Role
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyView(KeyView):
    """A key that was just made."""

    key: str = Field(description="Shown this once.")


class KeyList(BaseModel):
    """Every key, newest first."""

    items: list[KeyView]


class MeView(BaseModel):
    """Whose key this is."""

    key_id: str
    client_id: UUID
    client: str
    role: Role
    live_jobs: int
    max_live_jobs: int
    max_priority: int = Field(description="The highest priority that this key may give a job.")
