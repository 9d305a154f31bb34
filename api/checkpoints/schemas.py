"""What the checkpoint endpoints read and answer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel

from api.reading import TaskName
from models.checkpoints import Source
from models.params import TASKS, CheckpointProfile
from models.states import Pool

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
HUB_LOCATION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}@[0-9a-f]{40}$"
S3_LOCATION = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,500}$"
FILE_PATH = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
MAX_FILE_BYTES = 1 << 40


class FileEntry(BaseModel):
    """One file of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, le=MAX_FILE_BYTES)


class LocalCheckpoint(BaseModel):
    """A folder that the server and every worker of the pool can read; everything else is read from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["local"] = "local"
    location: str = Field(min_length=1, max_length=1000, description="A folder on the server.")
    name: Name | None = Field(None, description="That of its card if absent.")
    pool: Pool | None = Field(None, description="That of its card if absent.")
    base: Name | None = Field(None, description="Of a ControlNet: what it runs over unless a job names another.")


class RemoteCheckpoint(BaseModel):
    """What is said of files that this server cannot look at; the workers check every hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    family: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z][a-z0-9_]*$")]
    tasks: Annotated[list[TaskName], Field(min_length=1, max_length=len(TASKS))]
    pool: Pool = Pool.GPU
    files: Annotated[
        dict[Annotated[str, Field(pattern=FILE_PATH, max_length=300)], FileEntry],
        Field(min_length=1, max_length=500, description="Relative path → hash and size."),
    ]
    profile: CheckpointProfile = CheckpointProfile()
    licence: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)


class HubCheckpoint(RemoteCheckpoint):
    """A repository of the Hugging Face Hub at a pinned revision."""

    source: Literal["hub"]
    location: str = Field(pattern=HUB_LOCATION, description="`owner/name@<40 hex digits>`")


class S3Checkpoint(RemoteCheckpoint):
    """A key prefix in this installation's bucket."""

    source: Literal["s3"]
    location: str = Field(pattern=S3_LOCATION)


class CheckpointRequest(
    RootModel[Annotated[LocalCheckpoint | HubCheckpoint | S3Checkpoint, Field(discriminator="source")]]
):
    """A checkpoint to be made available."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"source": "local", "location": "/srv/checkpoints/emoji", "pool": "cpu"}]}
    )


class CheckpointPath(BaseModel):
    """Which checkpoint."""

    name: str


class CheckpointQuery(BaseModel):
    """Which checkpoints."""

    model_config = ConfigDict(extra="forbid")

    task: TaskName | None = Field(None, description="Only those that do this task.")


class CheckpointView(BaseModel):
    """A checkpoint."""

    id: UUID
    name: str
    family: str
    tasks: list[str]
    pool: Pool
    source: Source
    location: str | None = Field(description="For operators; null for clients.")
    revision: str
    profile: CheckpointProfile
    licence: str
    description: str
    size_bytes: int
    seconds_per_step: float | None = Field(description="Measured; null before the first job.")
    created_at: datetime


class CheckpointList(BaseModel):
    """The enabled checkpoints, oldest first. Of one task, the first is what a job takes that names none."""

    items: list[CheckpointView]
