"""What all tasks share: the base schema, resolving against a checkpoint, and parsing with one error per field."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import FieldError, ValidationFailedError
from models.params.profile import CheckpointProfile

P = TypeVar("P", bound="TaskParams")

MAX_SEED = 2**53 - 1
"""The largest integer that JSON readers keep exactly."""


class OutputFormat(StrEnum):
    """How a picture is encoded. PNG and lossless WebP keep every pixel."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


class TaskParams(BaseModel, ABC):
    """The params of one task. `None` means "the checkpoint's default" until `resolved` has filled it in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=False)

    summary: ClassVar[str] = ""
    """One line for the docs and the CLI's help."""

    num_images: int = Field(
        1, ge=1, le=64, description="How many pictures to make; the seed of picture i is (seed, i)."
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Same request and seed, same pictures. Random if absent."
    )
    output_format: OutputFormat = Field(OutputFormat.PNG, description="png, webp (lossless) or jpeg (quality 95).")

    def resolved(self, profile: CheckpointProfile) -> Self:
        """Fill in what was left open and check the rest against the checkpoint.

        Raises:
            ValidationFailedError: with one entry per field that the checkpoint does not allow.
        """
        fields = list(self.problems(profile))
        if self.num_images > profile.max_images:
            fields.append(
                problem("num_images", "too_many", f"This checkpoint makes at most {profile.max_images} images.")
            )
        if fields:
            raise ValidationFailedError(fields)
        seed = secrets.randbelow(2**32) if self.seed is None else self.seed
        return self.model_copy(update={"seed": seed, **self.defaults(profile)})

    @abstractmethod
    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """What this checkpoint does not allow."""

    @abstractmethod
    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """Values for the fields left open."""

    @abstractmethod
    def shape(self) -> tuple[object, ...]:
        """What jobs of one checkpoint must share to run in one batch. Only after `resolved`."""

    @abstractmethod
    def steps(self) -> int:
        """Device steps of one image. Only after `resolved`."""

    def pixels(self) -> int:
        """Pixels of one image. Only after `resolved`; 0 where the checkpoint fixes the size."""
        return 0

    def work(self) -> dict[str, int]:
        """The fields whose product is a job's pixel-steps. Only after `resolved`; empty: the checkpoint bounds it."""
        return {}

    def cost(self) -> int:
        """What the job takes from its client's fair share: steps × images."""
        return self.steps() * self.num_images


def problem(field: str, code: str, message: str) -> FieldError:
    """A `FieldError` inside `params`."""
    return FieldError(f"/params/{field}", code, message)


def parse_params(schema: type[P], raw: Mapping[str, Any]) -> P:
    """Read params as a client sent them.

    Raises:
        ValidationFailedError: with one entry per wrong field, pointers below `/params`.
    """
    try:
        return schema.model_validate(dict(raw))
    except ValidationError as error:
        raise ValidationFailedError(field_errors(error, prefix="/params")) from error


def field_errors(error: ValidationError, prefix: str = "") -> list[FieldError]:
    """Pydantic's findings as ours. The input itself is left out: it may hold a prompt."""
    return [
        FieldError(
            pointer=prefix + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in entry["loc"]),
            code=entry["type"],
            message=entry["msg"],
        )
        for entry in error.errors(include_url=False, include_context=False, include_input=False)
    ]
