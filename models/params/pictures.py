"""Tasks that turn one picture into another without denoising towards a prompt: upscale, style transfer, translate."""

import math
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from models.errors import FieldError
from models.params.base import OnePictureParams, problem
from models.params.faults import fault
from models.params.inputs import PictureRef
from models.params.passes import pass_problems
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS, storable

NOISE_LEVEL = 20
"""As diffusers' own default."""
MOST_STYLE = 0.75
"""How much is made anew where a client asks for all style in words: beyond, nothing of the picture would be left."""


class UpscaleParams(OnePictureParams):
    """By a net that has learned what fine detail looks like."""

    summary: ClassVar[str] = "A picture made larger, with detail that the small one lacks."
    feed: ClassVar[str] = "image"

    image: PictureRef
    scale: int | None = Field(None, ge=2, le=8, description="How many times as large; the checkpoint's own if absent.")
    prompt: str = Field("", max_length=MAX_TEXT_CHARS, description="What it shows, for checkpoints that read prompts.")
    negative_prompt: str = Field("", max_length=MAX_TEXT_CHARS, description="What to keep away from.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Of a diffusion upscaler.")
    guidance_scale: float | None = Field(None, ge=0, le=50, description="Of a diffusion upscaler.")
    noise_level: int = Field(
        NOISE_LEVEL, ge=0, le=350, description="Noise that a diffusion upscaler adds to the picture first."
    )

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _can_be_stored(cls, text: str) -> str:
        return storable(text)

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The scale, a prompt where none is read, and what is a diffusion upscaler's."""
        found = pass_problems(self, profile)
        if profile.one_pass and self.noise_level != NOISE_LEVEL:
            message = "This checkpoint enlarges in one pass and adds no noise; leave it out."
            found.append(problem("noise_level", "not_used", message))
        if self.scale is not None and self.scale not in profile.scales:
            known = ", ".join(f"{scale}" for scale in profile.scales) or "none"
            found.append(problem("scale", "scale_not_allowed", f"This checkpoint's scales: {known}."))
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, name)
            if text and not profile.reads_prompt:
                found.append(problem(name, "not_used", "This checkpoint reads no prompt; leave it out."))
            elif len(text) > profile.max_prompt_chars:
                message = f"This checkpoint reads at most {profile.max_prompt_chars} characters."
                found.append(problem(name, "too_long", message))
        if (self.num_inference_steps or 0) > profile.max_steps:
            message = f"This checkpoint takes at most {profile.max_steps} steps."
            found.append(problem("num_inference_steps", "too_many", message))
        return found

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The largest scale; steps and guidance where the checkpoint has them."""
        own: dict[str, Any] = {
            "scale": max(profile.scales, default=4),
            "num_inference_steps": profile.default_steps if profile.reads_prompt else 1,
            "guidance_scale": profile.guidance,
        }
        return {name: value for name, value in own.items() if getattr(self, name) is None}

    def shape(self) -> tuple[object, ...]:
        """What one call takes one of."""
        return (self.scale, self.num_inference_steps, self.guidance_scale, self.noise_level)

    def steps(self) -> int:
        """Denoising steps, or one pass."""
        return self.num_inference_steps or 1


class StyleTransferParams(OnePictureParams):
    """The style is a picture, one of the checkpoint's names, or words."""

    summary: ClassVar[str] = "A picture in the style of another one, of a name, or of a prompt."
    feed: ClassVar[str] = "image"

    image: PictureRef
    style: str | None = Field(None, min_length=1, max_length=100, description="One of the checkpoint's style_names.")
    style_image: PictureRef | None = Field(None, description="Any picture as the style.")
    prompt: str | None = Field(
        None, min_length=1, max_length=MAX_TEXT_CHARS, description="The style in words, by image to image."
    )
    strength: float = Field(1.0, gt=0, le=1, description="1 is all style; less keeps more of the picture.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Of a style in words.")
    guidance_scale: float | None = Field(None, ge=0, le=50, description="Of a style in words.")

    @field_validator("prompt")
    @classmethod
    def _can_be_stored(cls, text: str | None) -> str | None:
        return None if text is None else storable(text)

    @model_validator(mode="after")
    def _one_style(self) -> Self:
        if sum(style is not None for style in (self.style, self.style_image, self.prompt)) != 1:
            raise fault("style", "give exactly one of style, style_image and prompt")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Whether the checkpoint knows styles of this kind; steps and guidance are for styles in words."""
        return [*self._style_problems(profile), *self._step_problems(profile)]

    def _style_problems(self, profile: CheckpointProfile) -> list[FieldError]:
        if self.style is not None and self.style not in profile.style_names:
            known = ", ".join(profile.style_names) or "no style by name"
            return [problem("style", "style_unknown", f"This checkpoint knows: {known}.")]
        if self.style_image is not None and not profile.takes_style_image:
            return [problem("style_image", "not_used", "This checkpoint takes its style in words: send a prompt.")]
        if self.prompt is not None and not profile.reads_prompt:
            return [problem("prompt", "not_used", "This checkpoint reads no prompt: send style or style_image.")]
        if len(self.prompt or "") > profile.max_prompt_chars:
            message = f"This checkpoint reads at most {profile.max_prompt_chars} characters."
            return [problem("prompt", "too_long", message)]
        return []

    def _step_problems(self, profile: CheckpointProfile) -> list[FieldError]:
        if self.prompt is None:
            asked = {"num_inference_steps": self.num_inference_steps, "guidance_scale": self.guidance_scale}
            message = "It goes with a style in words; leave it out."
            return [problem(name, "not_used", message) for name, value in asked.items() if (value or 0) > 1]
        if (self.num_inference_steps or 0) > profile.max_steps:
            message = f"This checkpoint takes at most {profile.max_steps} steps."
            return [problem("num_inference_steps", "too_many", message)]
        return []

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The checkpoint's steps and guidance for words; else one pass."""
        by_words = self.prompt is not None
        own: dict[str, Any] = {
            "num_inference_steps": profile.default_steps if by_words else 1,
            "guidance_scale": profile.guidance if by_words else 0.0,
        }
        return {name: value for name, value in own.items() if getattr(self, name) is None}

    def shape(self) -> tuple[object, ...]:
        """Each picture has a pass of its own; by prompt, one call's steps, guidance and strength."""
        return (self.strength, self.prompt is None, self.num_inference_steps, self.guidance_scale)

    def steps(self) -> int:
        """One pass; by prompt, as image to image: the share of the steps that is made, guidance doubles each."""
        if self.prompt is None:
            return 1
        guided = (self.guidance_scale or 0) > 1
        return max(1, math.ceil((self.num_inference_steps or 1) * (2 if guided else 1) * MOST_STYLE * self.strength))


class TranslateParams(OnePictureParams):
    """The checkpoint decides from what to what (CycleGAN, Zhu et al. 2017)."""

    summary: ClassVar[str] = "A picture carried over into another domain."
    feed: ClassVar[str] = "image"

    image: PictureRef
    size: int | None = Field(
        None,
        ge=32,
        le=2048,
        description="Pixels of the longer side to work at and to give back; the checkpoint's own if absent.",
    )

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The size."""
        if self.size is None or profile.min_size <= self.size <= profile.max_size:
            return []
        message = f"Must lie between {profile.min_size} and {profile.max_size} pixels for this checkpoint."
        return [problem("size", "size_not_allowed", message)]

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """What the net was trained at: it knows textures of that scale."""
        return {} if self.size is not None else {"size": max(profile.default_width, profile.default_height)}

    def shape(self) -> tuple[object, ...]:
        """Pictures of equal shape go through together; the pipeline sorts them."""
        return (self.size,)

    def steps(self) -> int:
        """One pass."""
        return 1
