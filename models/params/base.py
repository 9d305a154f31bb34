"""What all tasks share: the base schema, resolving against a checkpoint, and parsing with one error per field."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import FieldError, ValidationFailedError
from models.params.faults import FIELD
from models.params.inputs import InputRef, Kind
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
    produces: ClassVar[Kind] = Kind.PICTURE
    """What its outputs are, for jobs that take one as their input."""
    feed: ClassVar[str] = ""
    """The field that the job before it fills in a chain; empty when it takes no other's output."""

    def resolved(self, profile: CheckpointProfile) -> Self:
        """Fill in what was left open and check the rest against the checkpoint.

        Raises:
            ValidationFailedError: with one entry per field that the checkpoint does not allow.
        """
        fields = list(self.problems(profile))
        if fields:
            raise ValidationFailedError(fields)
        drawn = {"seed": secrets.randbelow(2**32)} if getattr(self, "seed", 0) is None else {}
        return self.model_copy(update={**drawn, **self.defaults(profile)})

    @abstractmethod
    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """What this checkpoint does not allow."""

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:  # noqa: ARG002  # most tasks leave nothing open
        """Values for the fields left open."""
        return {}

    def suits(self, profile: CheckpointProfile) -> bool:  # noqa: ARG002  # most tasks mean the same everywhere
        """Whether a checkpoint that can do it goes before those that can, but are not made for it."""
        return True

    @abstractmethod
    def shape(self) -> tuple[object, ...]:
        """What jobs of one checkpoint must share to run in one batch. Only after `resolved`.

        Never an input: a job of a chain is stored before it is known which.
        """

    @abstractmethod
    def steps(self) -> int:
        """Device steps of one row. Only after `resolved`."""

    def rows(self) -> int:
        """How much room it takes in a batch, in pictures that are made at once."""
        return 1

    def outputs(self) -> int | None:
        """How many outputs a run yields; None where only the run knows, which then ends with its `Facts`."""
        return self.rows()

    def inputs(self) -> dict[str, InputRef]:
        """What is fetched before the run, by its pointer below `/params`: `image`, `images/0`."""
        found: dict[str, InputRef] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, InputRef):
                found[name] = value
            elif isinstance(value, tuple):
                found |= {f"{name}/{at}": entry for at, entry in enumerate(value) if isinstance(entry, InputRef)}
        return found

    def check_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> list[FieldError]:  # noqa: ARG002
        """What is wrong with inputs of these (width, height), by pointer. At submit where known, and before the run."""
        return []

    def texts(self) -> dict[str, str]:
        """What the client wrote, by field: it is measured against word lists, and never quoted."""
        fields = type(self).model_fields
        return {name: text for name in fields if isinstance(text := getattr(self, name), str) and type(text) is str}

    def pixels(self) -> int:
        """Pixels of one picture. Only after `resolved`; 0 where the checkpoint or an input fixes the size."""
        return 0

    def work(self) -> dict[str, int]:
        """The fields whose product is a job's pixel-steps. Only after `resolved`; empty: the checkpoint bounds it."""
        return {}

    def allowed_seconds(self) -> float:
        """How long the params themselves let a run take; 0 leaves it to the settings."""
        return 0.0

    def cost(self) -> int:
        """What the job takes from its client's fair share: steps × rows."""
        return self.steps() * self.rows()


class SeededParams(TaskParams, ABC):
    """What is drawn from a seed."""

    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Same request and seed, same result. Random if absent."
    )


class OnePictureParams(SeededParams, ABC):
    """One picture comes out."""

    output_format: OutputFormat = Field(OutputFormat.PNG, description="png, webp (lossless) or jpeg (quality 95).")


class PictureParams(OnePictureParams, ABC):
    """As many pictures as are asked for."""

    num_images: int = Field(
        1, ge=1, le=64, description="How many pictures to make; the seed of picture i is (seed, i)."
    )

    def rows(self) -> int:
        """One for each picture."""
        return self.num_images

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The number of pictures."""
        if self.num_images <= profile.max_images:
            return []
        return [problem("num_images", "too_many", f"This checkpoint makes at most {profile.max_images} images.")]


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
            pointer=prefix + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location(entry)),
            code=entry["type"],
            message=entry["msg"],
        )
        for entry in error.errors(include_url=False, include_input=False)
    ]


def location(entry: Any) -> tuple[int | str, ...]:
    """Where one of pydantic's findings lies; of what a whole schema found, at the field that it names."""
    named = entry.get("ctx", {}).get(FIELD)
    return (*entry["loc"], named) if named else tuple(entry["loc"])
