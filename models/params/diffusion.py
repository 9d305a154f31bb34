"""What every task that denoises towards a prompt shares: words, steps, guidance, sampler, LoRAs, size."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.errors import FieldError
from models.params.base import PictureParams, problem
from models.params.faults import fault
from models.params.inputs import TextRef
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS, storable

MAX_LORAS = 8


class SchedulerName(StrEnum):
    """Samplers by the names of their papers; `default` is what the checkpoint was saved with."""

    DEFAULT = "default"
    DDIM = "ddim"
    DDPM = "ddpm"
    PNDM = "pndm"
    LMS = "lms"
    EULER = "euler"
    EULER_ANCESTRAL = "euler_ancestral"
    HEUN = "heun"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    DPMPP_SDE = "dpmpp_sde"
    UNIPC = "unipc"


class Fit(StrEnum):
    """How a picture of another shape is brought to the size that is asked for."""

    COVER = "cover"
    """Scaled until it fills the size, the rest cut off evenly."""
    CONTAIN = "contain"
    """Scaled until all of it is inside, the rest filled with its edge colour."""
    STRETCH = "stretch"


class Lora(BaseModel):
    """Low-rank weights (Hu et al. 2021) laid over the checkpoint's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100, description="A checkpoint of the family `lora`.")
    scale: float = Field(1.0, ge=-4, le=4, description="How strongly; 0 is not at all.")
    revision: str | None = Field(None, max_length=64, description="Filled in at submit.")


class DiffusionParams(PictureParams):
    """A prompt, and how to denoise towards it."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["prompt"]}, {"required": ["prompt_from"]}]})

    prompt: str = Field(
        "", max_length=MAX_TEXT_CHARS, description="What to draw.", examples=["a cat on a blue background"]
    )
    prompt_from: TextRef | None = Field(None, description="Take the prompt from a job that wrote one.")
    negative_prompt: str = Field("", max_length=MAX_TEXT_CHARS, description="What to keep away from.")
    width: int | None = Field(None, ge=8, le=8192, description="Pixels; the checkpoint's own size if absent.")
    height: int | None = Field(None, ge=8, le=8192, description="Pixels; the checkpoint's own size if absent.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float | None = Field(
        None, ge=0, le=50, description="Classifier-free guidance (Ho & Salimans 2022); 1 or less turns it off."
    )
    scheduler: SchedulerName = Field(SchedulerName.DEFAULT, description="The sampler.")
    loras: tuple[Lora, ...] = Field((), max_length=MAX_LORAS, description="Adapters over the checkpoint's weights.")

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _can_be_stored(cls, text: str) -> str:
        return storable(text)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.prompt_from is None and not self.prompt.strip():
            if "prompt" not in self.model_fields_set:
                raise fault("prompt", "Field required", "missing")
            if not self.prompt:
                raise fault("prompt", "String should have at least 1 character", "string_too_short")
            raise fault("prompt", "the prompt is blank")
        if self.prompt_from is not None and self.prompt:
            raise fault("prompt_from", "give either prompt or prompt_from")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Prompt length, sizes and steps against the checkpoint."""
        found = super().problems(profile) + self.text_problems(profile)
        for name in ("width", "height"):
            size = getattr(self, name)
            if size is not None and (text := size_problem(size, profile)):
                found.append(problem(name, "size_not_allowed", text))
        width, height = self.width or profile.default_width, self.height or profile.default_height
        if not found and width * height > profile.max_pixels:
            found.append(
                problem("width", "size_not_allowed", f"width × height may be at most {profile.max_pixels} pixels.")
            )
        if (self.num_inference_steps or 0) > profile.max_steps:
            found.append(
                problem("num_inference_steps", "too_many", f"This checkpoint takes at most {profile.max_steps} steps.")
            )
        return found

    def text_problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """What is too long for the checkpoint; asked again when another job has written the prompt."""
        return [
            problem(name, "too_long", f"This checkpoint reads at most {profile.max_prompt_chars} characters.")
            for name in ("prompt", "negative_prompt")
            if len(getattr(self, name)) > profile.max_prompt_chars
        ]

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The checkpoint's size, steps and guidance where none were given."""
        own: dict[str, Any] = {
            "width": profile.default_width,
            "height": profile.default_height,
            "num_inference_steps": profile.default_steps,
            "guidance_scale": profile.default_guidance,
        }
        return {name: value for name, value in own.items() if getattr(self, name) is None}

    def shape(self) -> tuple[object, ...]:
        """Size, sampler, steps, guidance, LoRAs and image count must agree: diffusers takes one of each per call."""
        return (
            self.width,
            self.height,
            self.scheduler.value,
            self.num_inference_steps,
            self.guidance_scale,
            self.rows(),
            *[(lora.name, lora.revision, lora.scale) for lora in self.loras],
        )

    def steps(self) -> int:
        """Denoising steps; guidance doubles the work of each."""
        guided = (self.guidance_scale or 0) > 1
        return (self.num_inference_steps or 1) * (2 if guided else 1)

    def pixels(self) -> int:
        """Width × height."""
        return (self.width or 0) * (self.height or 0)

    def work(self) -> dict[str, int]:
        """Width × height × steps × images."""
        return {
            "width": self.width or 0,
            "height": self.height or 0,
            "num_inference_steps": self.num_inference_steps or 0,
            "num_images": self.rows(),
        }


def size_problem(size: int, profile: CheckpointProfile) -> str:
    """Why the checkpoint cannot make a side of so many pixels; empty when it can."""
    if not profile.min_size <= size <= profile.max_size:
        if profile.fixed_size:
            return f"This checkpoint makes pictures of {profile.min_size} pixels only."
        return f"Must lie between {profile.min_size} and {profile.max_size} pixels for this checkpoint."
    if size % profile.size_multiple:
        return f"Must be a multiple of {profile.size_multiple} pixels for this checkpoint."
    return ""
