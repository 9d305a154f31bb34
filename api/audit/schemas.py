"""What the audit endpoint reads and answers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.reading import WholeNumber, digits
from models.states import Role


class AuditQuery(BaseModel):
    """Which entries."""

    model_config = ConfigDict(extra="forbid")

    subject: str | None = Field(None, max_length=300, description="Only what was done to this: an id or a name.")
    limit: WholeNumber = Field(100, ge=1, le=1000)
    cursor: Annotated[int, Field(ge=1), BeforeValidator(digits)] | None = Field(
        None, description="From the page before."
    )


class AuditView(BaseModel):
    """One action."""

    id: int
    created_at: datetime
    key_id: str = Field(description="The public part of the key that was used.")
    client: str = Field(description="Whose key it was.")
    role: Role
    action: str = Field(description="E.g. `key.revoke`, `client.set`, `job.cancel`.")
    subject: str = Field(description="What was acted on: its id or name.")
    data: dict[str, Any] = Field(description="What was changed, or whose thing it was.")


class AuditPage(BaseModel):
    """Actions, newest first."""

    items: list[AuditView]
    cursor: str | None = Field(description="For the next page; null at the end.")
