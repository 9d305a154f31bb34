"""What the task endpoint answers."""

from typing import Any

from pydantic import BaseModel, Field


class TaskView(BaseModel):
    """One task of `POST /v1/jobs`."""

    name: str
    summary: str
    params: dict[str, Any] = Field(description="JSON schema of the params.")


class TaskList(BaseModel):
    """Every task."""

    items: list[TaskView]
