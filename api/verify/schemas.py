"""What the verify endpoints read and answer."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class VerifyQuery(BaseModel):
    """By a hash that somebody computed."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern="^[0-9a-fA-F]{64}$", description="Of the file, or of its pixels: `pixels_sha256`.")


class Match(StrEnum):
    """What agrees."""

    FILE = "file"
    """Every byte."""
    PIXELS = "pixels"
    """What is seen; the file was written anew."""


class MatchView(BaseModel):
    """One artifact that agrees."""

    match: Match
    created_at: datetime
    checkpoint: str
    job_id: UUID | None = Field(description="Only for keys that may see the job.")
    artifact_id: UUID | None = Field(description="Only for keys that may see the job.")


class ClaimView(BaseModel):
    """What the file says of itself. Anybody can write that into a file: it proves nothing."""

    generator: str
    job_id: UUID
    checkpoint: str
    revision: str
    digital_source_type: str


class VerifyView(BaseModel):
    """Whether it was made here, as far as its results are still kept."""

    made_here: bool
    matches: list[MatchView]
    claim: ClaimView | None
