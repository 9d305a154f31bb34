"""From the zip a client sent to what its row says of it: looked through in a child process, and kept as it is.

`models.data_sets` says which zips are taken; pictures in it are decoded by the worker that uses them.
"""

from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.uploads.child import Ending, Limits, run_zip_checker
from models.errors import FieldError, TooLargeError, ValidationFailedError
from models.settings import Settings

MEDIA_TYPE = "application/zip"
MEDIA_TYPES = frozenset({MEDIA_TYPE, "application/x-zip-compressed", "application/x-zip"})
"""What programs call a zip; it is stored under the first."""
UNPACKED_FACTOR = 4
"""A zip may unpack to as many times what it may have packed. Pictures do not shrink; captions do."""
_ANSWER_BYTES = 2 << 20
_REASONS = {
    Ending.OUT_OF_MEMORY: ("checker_out_of_memory", "it needs more memory than a zip may"),
    Ending.TIMED_OUT: ("checker_timed_out", "it takes longer than a zip may"),
}
_TOO_LARGE = frozenset({"too_many_entries", "too_many_pictures", "too_large_unpacked", "compressed_too_far"})


class DataSetDetails(BaseModel):
    """What lies in a data set."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    pictures: int = Field(ge=0, description="That can be used, by their headers.")
    classes: dict[str, int] = Field(description="Pictures of each class, by its name.")
    splits: dict[str, int] = Field(description="Pictures of each split; empty if there are none.")
    captions: int = Field(ge=0, description="Pictures with a caption.")
    unreadable: int = Field(ge=0, description="Files that are no whole PNG, JPEG or WebP.")
    too_large: int = Field(ge=0, description="Pictures of more pixels than are taken.")
    ignored: int = Field(ge=0, description="Files of other kinds.")
    bad_rows: int = Field(ge=0, description="Lines of metadata.jsonl that were not understood, or name no picture.")


class _Refusal(BaseModel):
    refused: str = Field(pattern="^[a-z_]{1,40}$")
    message: str = Field(max_length=500)


def looked_through(archive: IO[bytes], settings: Settings) -> DataSetDetails:
    """What is in the zip.

    Raises:
        TooLargeError: more in it than is taken.
        ValidationFailedError: not a zip that is taken, or without a picture; the code says which.
        UnavailableError: no process can be started now.
    """
    limits = Limits(settings.upload_memory_mib << 20, settings.data_set_seconds, _ANSWER_BYTES)
    most = (
        settings.max_data_set_pictures,
        settings.max_data_set_bytes * UNPACKED_FACTOR,
        settings.max_upload_bytes,
        settings.max_data_set_picture_pixels,
    )
    outcome = run_zip_checker(archive, most, limits)
    if outcome.ending is not Ending.DONE:
        raise _wrong(*_REASONS.get(outcome.ending, ("checker_crashed", "it makes the program crash that looks in")))
    try:
        if outcome.body.startswith(b'{"refused"'):
            refusal = _Refusal.model_validate_json(outcome.body)
            if refusal.refused in _TOO_LARGE:
                raise TooLargeError(refusal.message)
            raise ValidationFailedError([FieldError("/file", refusal.refused, refusal.message)])
        details = DataSetDetails.model_validate_json(outcome.body)
    except ValidationError as error:
        raise _wrong("checker_crashed", "what looks in was taken over") from error
    if not details.pictures:
        text = "There is no readable PNG, JPEG or WebP picture in this zip."
        raise ValidationFailedError([FieldError("/file", "no_pictures", text)])
    return details


def _wrong(code: str, reason: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/file", code, f"The zip cannot be looked through: {reason}.")])
