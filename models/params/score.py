"""Score: figures about a picture, alone, against a text, or against another picture."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from models.errors import FieldError
from models.params.base import TaskParams, problem
from models.params.faults import fault
from models.params.inputs import Kind, PictureRef
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS, storable

MAX_TEXTS = 64


class Metric(StrEnum):
    """What can be measured."""

    TEXT_IMAGE = "text_image"
    """How well each text fits: cosine similarity in the checkpoint's space, and shares over the texts."""
    SAFETY = "safety"
    """Probability that the picture is unsafe for work."""
    SHARPNESS = "sharpness"
    """Variance of the Laplacian; low is blurred."""
    HASH = "hash"
    """SHA-256 of the pixels and a perceptual hash; with a reference, their distance."""
    PSNR = "psnr"
    """Against the reference, in dB."""
    SSIM = "ssim"
    """Against the reference (Wang et al. 2004)."""


NEED_REFERENCE = frozenset({Metric.PSNR, Metric.SSIM})


class ScoreParams(TaskParams):
    """Which figures; all that the inputs allow if none are named."""

    summary: ClassVar[str] = "Figures about a picture: text-image score, safety, sharpness, likeness to another."
    produces: ClassVar[Kind] = Kind.FACTS
    feed: ClassVar[str] = "image"

    image: PictureRef
    descriptions: tuple[str, ...] = Field((), max_length=MAX_TEXTS, description="Texts to measure the picture against.")
    reference: PictureRef | None = Field(None, description="A picture of the same size to compare with.")
    metrics: tuple[Metric, ...] = Field((), max_length=len(Metric), description="All that the inputs allow if empty.")

    @field_validator("descriptions")
    @classmethod
    def _can_be_stored(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not 1 <= len(storable(text)) <= MAX_TEXT_CHARS:
                raise ValueError(f"each text has between 1 and {MAX_TEXT_CHARS} characters")
        return texts

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.reference is None and (lacking := NEED_REFERENCE & set(self.metrics)):
            raise fault("reference", f"{', '.join(sorted(lacking))} need a reference")
        if Metric.TEXT_IMAGE in self.metrics and not self.descriptions:
            raise fault("descriptions", "text_image needs descriptions")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Texts need a checkpoint that reads them."""
        if self.descriptions and not profile.reads_prompt:
            return [problem("descriptions", "not_used", "This checkpoint reads no text; choose one that does.")]
        return []

    def wanted(self) -> tuple[Metric, ...]:
        """The metrics that are asked for, or all that the inputs allow."""
        if self.metrics:
            return self.metrics
        needed = {Metric.TEXT_IMAGE: bool(self.descriptions)} | dict.fromkeys(
            NEED_REFERENCE, self.reference is not None
        )
        return tuple(metric for metric in Metric if needed.get(metric, True))

    def check_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> list[FieldError]:
        """PSNR and SSIM compare pixel by pixel."""
        image, reference = sizes.get("image"), sizes.get("reference")
        if image is None or reference is None or image == reference or not NEED_REFERENCE & set(self.wanted()):
            return []
        text = f"The reference is {reference[0]} × {reference[1]} pixels and the picture {image[0]} × {image[1]}."
        return [problem("reference", "size_differs", text)]

    def texts(self) -> dict[str, str]:
        """Each description."""
        return {f"descriptions/{at}": text for at, text in enumerate(self.descriptions)}

    def outputs(self) -> None:
        """Figures, in the result."""
        return

    def shape(self) -> tuple[object, ...]:
        """Any pictures go together."""
        return ()

    def steps(self) -> int:
        """One pass."""
        return 1
