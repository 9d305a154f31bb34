"""What a job takes from elsewhere: an upload, an artifact, or the output of another job that may still be under way."""

from enum import StrEnum
from typing import ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.params.faults import fault


class Kind(StrEnum):
    """What an output is, as far as another job may take it."""

    PICTURE = "picture"
    TEXT = "text"
    """Strings in `result.texts`, e.g. of expand_prompt and caption."""
    ANIMATION = "animation"
    DATA_SET = "data_set"
    """A zip of pictures."""
    CHECKPOINT = "checkpoint"
    FACTS = "facts"
    """Figures in the job's `result`; nothing that a job takes."""


class InputRef(BaseModel):
    """Exactly one of `upload`, `artifact`, `job` and, inside `then`, `previous`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[Kind] = Kind.PICTURE

    upload: UUID | None = Field(None, description="The id of an upload.")
    artifact: UUID | None = Field(None, description="The id of an artifact.")
    job: UUID | None = Field(None, description="The id of a job: this one waits until that one has succeeded.")
    previous: bool = Field(False, description="Inside `then`: the job before this one.")
    index: int = Field(0, ge=0, le=1000, description="Which output of the job.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [self.upload is not None, self.artifact is not None, self.job is not None, self.previous]
        if sum(given) != 1:
            raise fault("upload", "give exactly one of upload, artifact and job")
        if self.index and not (self.job or self.previous):
            raise fault("index", "an index goes with a job")
        return self


class PictureRef(InputRef):
    """A picture that was uploaded or made here."""


class DataSetRef(InputRef):
    """A data set: an uploaded zip of pictures, or one that a job made."""

    kind: ClassVar[Kind] = Kind.DATA_SET


class TextRef(InputRef):
    """A text that a job wrote."""

    kind: ClassVar[Kind] = Kind.TEXT

    @model_validator(mode="after")
    def _of_a_job(self) -> Self:
        if self.upload or self.artifact:
            raise fault("job", "texts come from jobs")
        return self
