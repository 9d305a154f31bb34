"""Text to image: a prompt in, pictures out."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field, field_validator

from models.errors import FieldError
from models.params.base import TaskParams, problem
from models.params.profile import CheckpointProfile


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


class TextToImageParams(TaskParams):
    """A prompt, and how to denoise towards it."""

    summary: ClassVar[str] = "Pictures from a prompt."

    prompt: str = Field(
        min_length=1, max_length=20_000, description="What to draw.", examples=["a cat on a blue background"]
    )
    negative_prompt: str = Field("", max_length=20_000, description="What to keep away from.")
    width: int | None = Field(None, ge=8, le=8192, description="Pixels; the checkpoint's own size if absent.")
    height: int | None = Field(None, ge=8, le=8192, description="Pixels; the checkpoint's own size if absent.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float | None = Field(
        None, ge=0, le=50, description="Classifier-free guidance (Ho & Salimans 2022); 1 or less turns it off."
    )
    scheduler: SchedulerName = Field(SchedulerName.DEFAULT, description="The sampler.")

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is blank")
        return prompt

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _can_be_stored(cls, text: str) -> str:
        # Postgres' jsonb holds neither NUL nor lone surrogates.
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("NUL and lone surrogates are not text")
        return text

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Prompt length, sizes and steps against the checkpoint."""
        found = [
            problem(name, "too_long", f"This checkpoint reads at most {profile.max_prompt_chars} characters.")
            for name in ("prompt", "negative_prompt")
            if len(getattr(self, name)) > profile.max_prompt_chars
        ]
        for name in ("width", "height"):
            size = getattr(self, name)
            if size is not None and (text := _size_problem(size, profile)):
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
        """Size, sampler, steps, guidance and image count must agree: diffusers takes one value of each per call."""
        return (
            self.width,
            self.height,
            self.scheduler.value,
            self.num_inference_steps,
            self.guidance_scale,
            self.num_images,
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
            "num_images": self.num_images,
        }


def _size_problem(size: int, profile: CheckpointProfile) -> str:
    if not profile.min_size <= size <= profile.max_size:
        if profile.fixed_size:
            return f"This checkpoint makes pictures of {profile.min_size} pixels only."
        return f"Must lie between {profile.min_size} and {profile.max_size} pixels for this checkpoint."
    if size % profile.size_multiple:
        return f"Must be a multiple of {profile.size_multiple} pixels for this checkpoint."
    return ""
