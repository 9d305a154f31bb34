"""Text to image: a prompt in, pictures out; the best of several if asked."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from models.params.diffusion import DiffusionParams
from models.params.faults import fault


class TextToImageParams(DiffusionParams):
    """A prompt, and how many pictures to choose from."""

    summary: ClassVar[str] = "Pictures from a prompt."
    feed: ClassVar[str] = "prompt_from"

    best_of: int | None = Field(
        None, ge=2, le=64, description="Make so many, score each against the prompt, and keep the best num_images."
    )
    scorer: str | None = Field(
        None, min_length=1, max_length=100, description="The checkpoint that scores; the oldest one that can if absent."
    )

    @model_validator(mode="after")
    def _enough_to_choose_from(self) -> Self:
        if self.best_of is not None and self.best_of <= self.num_images:
            raise fault("best_of", "best_of must be larger than num_images")
        if self.scorer is not None and self.best_of is None:
            raise fault("scorer", "scorer goes with best_of")
        return self

    def rows(self) -> int:
        """All that are made."""
        return self.best_of or self.num_images

    def outputs(self) -> int:
        """Those that are kept."""
        return self.num_images
