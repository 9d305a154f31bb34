"""Tasks about data sets: prepare one, and train on one."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.errors import FieldError
from models.params.base import SeededParams, problem
from models.params.faults import fault
from models.params.inputs import DataSetRef, Kind
from models.params.profile import CheckpointProfile
from models.params.words import storable

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
MAX_TRAINING_MINUTES = 7 * 24 * 60
SPLIT_SLACK = 1e-6
TRAINING_SLACK_SECONDS = 1800.0
PREPROCESS_SECONDS = 6 * 3600.0
"""A hundred thousand large pictures are decoded twice, on one thread."""


class Crop(StrEnum):
    """What is left of a picture before resizing: the largest part of the wanted shape, a square if no size is given."""

    NONE = "none"
    SQUARE = "square"
    """From the middle."""
    SMART = "smart"
    """From where most happens."""


class Resize(StrEnum):
    """How a picture of another shape comes to the size."""

    COVER = "cover"
    CONTAIN = "contain"
    STRETCH = "stretch"


class Colour(BaseModel):
    """Factors of 1 change nothing."""

    model_config = FROZEN

    brightness: float = Field(1.0, gt=0, le=4)
    contrast: float = Field(1.0, gt=0, le=4)
    saturation: float = Field(1.0, ge=0, le=4)
    hue: float = Field(0.0, ge=-180, le=180, description="Degrees round the colour circle.")
    greyscale: bool = False


class PreprocessParams(SeededParams):
    """In the order of the fields. Classes are the folders of the zip; what cannot be read is left out and reported."""

    summary: ClassVar[str] = "A data set cleaned, cut to size and split, with a report."
    produces: ClassVar[Kind] = Kind.DATA_SET
    feed: ClassVar[str] = "data_set"

    data_set: DataSetRef
    min_side: int = Field(1, ge=1, le=4096, description="Smaller pictures are dropped.")
    drop_blurred: float | None = Field(None, gt=0, description="Drop what is less sharp (variance of the Laplacian).")
    deduplicate: bool = Field(True, description="Of near-duplicates keep the largest.")
    duplicate_distance: int = Field(4, ge=0, le=16, description="Bits of the perceptual hash that may differ.")
    crop: Crop = Crop.NONE
    width: int | None = Field(None, ge=8, le=4096, description="Pixels; unchanged if absent.")
    height: int | None = Field(None, ge=8, le=4096, description="Pixels; as width if absent.")
    resize: Resize = Resize.COVER
    normalize: bool = Field(False, description="Stretch each picture's contrast over the whole range.")
    flips: bool = Field(False, description="Add the mirror image of each picture of the first split.")
    colour: Colour | None = None
    splits: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")], float] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="Shares by name, which add up to 1: divided anew by the seed, each class alike, near-duplicates "
        "together. If absent, pictures stay in the splits that they have, and are `train` where they have none.",
    )
    picture_format: Literal["png", "jpeg", "webp"] = "png"

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        shares = (self.splits or {"train": 1.0}).values()
        if any(share <= 0 for share in shares) or abs(sum(shares) - 1) > SPLIT_SLACK:
            raise fault("splits", "the shares of splits must be above 0 and add up to 1")
        if self.height is not None and self.width is None:
            raise fault("height", "height goes with width")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:  # noqa: ARG002
        """Nothing that the schema has not seen."""
        return []

    def outputs(self) -> None:
        """A zip, a report and a contact sheet."""
        return

    def shape(self) -> tuple[object, ...]:
        """Runs by itself: one whole data set in memory is enough. Seeds are drawn, so hardly two are alike."""
        return (self.seed,)

    def allowed_seconds(self) -> float:
        """Its size is not known before it is read."""
        return PREPROCESS_SECONDS

    def steps(self) -> int:
        """Its size is not known before it is read."""
        return 100


class Method(StrEnum):
    """What is trained."""

    DCGAN = "dcgan"
    CONDITIONAL_GAN = "conditional_gan"
    VAE = "vae"
    CLASS_DIFFUSION = "class_diffusion"
    LORA = "lora"
    """Adapters for a text-to-image checkpoint."""


CLASSES_NEEDED = frozenset({Method.CONDITIONAL_GAN, Method.CLASS_DIFFUSION})


class TrainParams(SeededParams):
    """A data set in, a registered checkpoint out. Ends at max_steps or max_minutes, whichever is first."""

    summary: ClassVar[str] = "A checkpoint trained on your pictures."
    produces: ClassVar[Kind] = Kind.CHECKPOINT
    feed: ClassVar[str] = "data_set"

    data_set: DataSetRef
    method: Method
    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Of the new checkpoint."
    )
    image_size: Literal[32, 64] = Field(64, description="Pixels, of nets that are trained from nothing.")
    max_steps: int = Field(2000, ge=1, le=10_000_000)
    max_minutes: float = Field(60, gt=0, le=MAX_TRAINING_MINUTES)
    batch_size: int | None = Field(None, ge=2, le=1024, description="The method's own if absent.")
    learning_rate: float | None = Field(None, gt=0, le=1, description="The method's own if absent.")
    base: str | None = Field(None, min_length=1, max_length=100, description="The checkpoint that a LoRA adapts.")
    rank: int = Field(8, ge=1, le=128, description="Of a LoRA's matrices.")
    caption: str = Field("", max_length=1000, description="Of a LoRA's pictures that have no caption of their own.")
    licence: str = Field("", max_length=200, description="Of the pictures, for the card.")
    split: str = Field(
        "train", pattern="^[a-z][a-z0-9_]{0,31}$", description="The split to train on, if there are any."
    )

    @field_validator("caption", "licence")
    @classmethod
    def _can_be_stored(cls, text: str) -> str:
        return storable(text)

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        if (self.method is Method.LORA) != (self.base is not None):
            raise fault("base", "base goes with the method lora, and lora needs it")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The methods that this trainer knows."""
        if profile.methods and self.method.value not in profile.methods:
            return [problem("method", "method_unknown", f"This trainer knows: {', '.join(profile.methods)}.")]
        return []

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:  # noqa: ARG002
        """The method's own values are the trainer's business."""
        return {}

    def outputs(self) -> None:
        """Loss curves, a sample sheet, a report and the checkpoint."""
        return

    def shape(self) -> tuple[object, ...]:
        """Runs by itself: seeds are drawn, so hardly two are alike."""
        return (self.name, self.seed)

    def steps(self) -> int:
        """Training steps."""
        return self.max_steps

    def allowed_seconds(self) -> float:
        """The minutes, and time to begin and to draw samples."""
        return 60 * self.max_minutes + TRAINING_SLACK_SECONDS
