"""Tasks about latents: reconstruct a picture from its own, and walk from one to the next."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from models.errors import FieldError
from models.params.base import MAX_SEED, OnePictureParams, SeededParams, problem
from models.params.faults import fault
from models.params.inputs import Kind, PictureRef
from models.params.passes import pass_problems
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS, written

MAX_STOPS = 16
MAX_FRAMES = 240


class ReconstructParams(OnePictureParams):
    """Through the autoencoder and back; how much was lost is in the result."""

    summary: ClassVar[str] = "A picture through an autoencoder and back, and what that lost."
    feed: ClassVar[str] = "image"

    image: PictureRef
    sample: bool = Field(False, description="Draw the latent from its distribution instead of taking its mean.")

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:  # noqa: ARG002
        """Nothing that the schema has not seen."""
        return []

    def outputs(self) -> None:
        """The picture, then PSNR and SSIM."""
        return

    def shape(self) -> tuple[object, ...]:
        """Any pictures go through together; the pipeline sorts them by size."""
        return ()

    def steps(self) -> int:
        """One pass each way."""
        return 2


class AnimationFormat(StrEnum):
    """How frames are put together."""

    GIF = "gif"
    WEBP = "webp"
    MP4 = "mp4"
    """H.264, for whatever plays films."""


class Path(StrEnum):
    """The way between two latents."""

    SLERP = "slerp"
    """Along the sphere that Gaussian noise lies on (White 2016)."""
    LINEAR = "linear"


Stop = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS), AfterValidator(written)]
SeedStop = Annotated[int, Field(ge=0, le=MAX_SEED)]


class InterpolateParams(SeededParams):
    """A walk through prompts, seeds or pictures, at least two of one of them."""

    summary: ClassVar[str] = "An animation that walks from prompt to prompt, seed to seed or picture to picture."
    produces: ClassVar[Kind] = Kind.ANIMATION

    prompts: tuple[Stop, ...] = Field((), max_length=MAX_STOPS, description="Walk through what they mean.")
    seeds: tuple[SeedStop, ...] = Field((), max_length=MAX_STOPS, description="Walk through their noise.")
    images: tuple[PictureRef, ...] = Field((), max_length=MAX_STOPS, description="Walk through their latents.")
    class_label: int | str | None = Field(
        None, description="Of a class-conditional checkpoint.", union_mode="left_to_right"
    )
    frames: int = Field(24, ge=2, le=MAX_FRAMES, description="Of the whole walk.")
    frames_per_second: float = Field(12, ge=1, le=60)
    path: Path = Field(
        Path.SLERP, description="Of noise and of Gaussian latents; prompts and styles always go linearly."
    )
    there_and_back: bool = Field(True, description="End where it began, so that it loops.")
    animation_format: AnimationFormat = Field(AnimationFormat.GIF)
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Of each frame.")
    guidance_scale: float | None = Field(
        None, ge=0, le=50, description="Of checkpoints that denoise towards words or a class."
    )
    truncation: float = Field(1.0, gt=0, le=1, description="Of GANs.")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        walks = [name for name in ("prompts", "seeds", "images") if len(getattr(self, name)) > 1]
        if not walks:
            raise fault("prompts", "give at least two prompts, two seeds or two images")
        if self.images and (self.prompts or self.seeds):
            raise fault("images", "pictures have latents of their own: give no prompts and no seeds beside them")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """What the checkpoint does not read, and what is too much."""
        found = pass_problems(self, profile) + self._between_pictures()
        if self.prompts and not profile.reads_prompt:
            found.append(problem("prompts", "not_used", "This checkpoint reads no prompt; walk through seeds."))
        if max((len(text) for text in self.prompts), default=0) > profile.max_prompt_chars:
            message = f"This checkpoint reads at most {profile.max_prompt_chars} characters."
            found.append(problem("prompts", "too_long", message))
        if not self.prompts and not self.images and profile.needs_prompt:
            found.append(problem("prompts", "missing", "This checkpoint draws from words: give at least one prompt."))
        names = profile.class_names
        label = self.class_label
        known = label in range(len(names)) if isinstance(label, int) else label in names
        if label is not None and not known:
            message = f"This checkpoint knows: {', '.join(names) or 'no classes'}."
            found.append(problem("class_label", "class_unknown", message))
        if label is None and names:
            found.append(problem("class_label", "missing", f"One of: {', '.join(names)}."))
        if (self.num_inference_steps or 0) > profile.max_steps:
            message = f"This checkpoint takes at most {profile.max_steps} steps."
            found.append(problem("num_inference_steps", "too_many", message))
        return found

    def _between_pictures(self) -> list[FieldError]:
        """Their latents are decoded as they are."""
        asked = {
            "num_inference_steps": (self.num_inference_steps or 1) > 1,
            "guidance_scale": (self.guidance_scale or 0) > 1,
            "truncation": self.truncation != 1,
        }
        message = "A walk through pictures draws and denoises nothing; leave it out."
        return [problem(name, "not_used", message) for name, given in asked.items() if given and self.images]

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The checkpoint's steps and guidance, none between pictures; the class as an index."""
        own: dict[str, Any] = {
            "num_inference_steps": 1 if self.images else profile.default_steps,
            "guidance_scale": 0.0 if self.images else profile.guidance,
        }
        found = {name: value for name, value in own.items() if getattr(self, name) is None}
        if isinstance(self.class_label, str):
            found["class_label"] = profile.class_names.index(self.class_label)
        return found

    def texts(self) -> dict[str, str]:
        """Each prompt."""
        return {f"prompts/{at}": text for at, text in enumerate(self.prompts)}

    def rows(self) -> int:
        """One animation; the pipeline makes its frames in portions."""
        return 1

    def shape(self) -> tuple[object, ...]:
        """Walks run one by one."""
        return (self.frames, self.num_inference_steps, self.guidance_scale)

    def steps(self) -> int:
        """All frames' steps."""
        return self.frames * (self.num_inference_steps or 1)
