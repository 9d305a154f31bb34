"""Tasks that start from a picture and denoise: image to image, edit, inpaint, outpaint, control."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import FieldError
from models.params.base import problem
from models.params.diffusion import DiffusionParams, Fit
from models.params.faults import fault
from models.params.inputs import PictureRef
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS

Share = Annotated[float, Field(ge=0, le=1)]
EDIT_STRENGTH = 0.5
"""Keeps where things are; more than that is image to image."""
IMAGE_GUIDANCE = 1.5
"""As InstructPix2Pix was published with."""
MAX_SHAPES = 64
MAX_POINTS = 256


class PictureToPictureParams(DiffusionParams):
    """A picture, brought to the size that the checkpoint works at."""

    feed: ClassVar[str] = "image"

    image: PictureRef = Field(description="The picture to start from.")
    fit: Fit = Field(Fit.COVER, description="How a picture of another shape is brought to width × height.")

    def shape(self) -> tuple[object, ...]:
        """The size after fitting is what counts: pictures of any size share a batch."""
        return (*super().shape(), self.fit.value)


class PartlyDenoisedParams(PictureToPictureParams):
    """The picture is noised as far as the strength says, and only the rest of the way is denoised."""

    strength: float = Field(0.6, gt=0, le=1, description="How much is made anew: 1 keeps nothing of the picture.")

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """There must be a step to make."""
        return super().problems(profile) + _too_weak(self, self.strength, profile)

    def shape(self) -> tuple[object, ...]:
        """Strength decides the number of steps."""
        return (*super().shape(), self.strength)

    def steps(self) -> int:
        """Those that are made."""
        return max(1, math.ceil(super().steps() * self.strength))


def _too_weak(params: DiffusionParams, strength: float, profile: CheckpointProfile) -> list[FieldError]:
    steps = params.num_inference_steps or profile.default_steps
    if int(steps * strength) >= 1:
        return []
    text = f"Of {steps} steps this is less than one: the picture would come back as it is."
    return [problem("strength", "too_weak", text)]


class ImageToImageParams(PartlyDenoisedParams):
    """How far to stray from the picture (SDEdit, Meng et al. 2021)."""

    summary: ClassVar[str] = "A picture made again, led by a prompt."


class EditParams(PictureToPictureParams):
    """Led by an instruction, or by what the picture shall become.

    Checkpoints made for it obey an instruction, "make it winter" (InstructPix2Pix, Brooks et al. 2023; Flux Kontext).
    Any other that draws from text wants the picture described as it shall be, "a cat in the snow", and starts from the
    given one (SDEdit, Meng et al. 2021).
    """

    summary: ClassVar[str] = "A picture changed as an instruction says, or into what the prompt describes."

    prompt: str = Field(
        "",
        max_length=MAX_TEXT_CHARS,
        description=(
            "An instruction (make it winter) for checkpoints that follow instructions; for others "
            "(`edits_by_strength` in their profile) what the picture shall show (a cat in the snow)."
        ),
        examples=["make it winter", "a 3d cat on a yellow background"],
    )
    image_guidance_scale: float | None = Field(
        None,
        ge=1,
        le=20,
        description=f"Of checkpoints that follow instructions: how closely to keep to the picture; {IMAGE_GUIDANCE} if "
        "absent.",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description=f"Of checkpoints that follow no instructions: how much is made anew; {EDIT_STRENGTH} if absent.",
    )

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Each kind of checkpoint has one of the two dials."""
        found = super().problems(profile)
        if profile.edits_by_strength:
            if self.image_guidance_scale is not None:
                text = "This checkpoint follows no instructions: leave image_guidance_scale out, or send a strength."
                found.append(problem("image_guidance_scale", "not_used", text))
            return found + _too_weak(self, self.strength or EDIT_STRENGTH, profile)
        if self.strength is not None:
            text = "This checkpoint follows instructions: leave strength out, or send an image_guidance_scale."
            found.append(problem("strength", "not_used", text))
        return found

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The dial of this checkpoint."""
        name, value = (
            ("strength", EDIT_STRENGTH) if profile.edits_by_strength else ("image_guidance_scale", IMAGE_GUIDANCE)
        )
        return super().defaults(profile) | ({} if getattr(self, name) is not None else {name: value})

    def suits(self, profile: CheckpointProfile) -> bool:
        """Instructions are what the task is for, unless an operator has said what goes first."""
        return not profile.edits_by_strength or "edit" in profile.default_for

    def shape(self) -> tuple[object, ...]:
        """One image guidance a call, or one strength."""
        return (*super().shape(), self.image_guidance_scale, self.strength)

    def steps(self) -> int:
        """Of a strength, its share; guidance by words and by the picture triples the work of each."""
        if self.strength is not None:
            return max(1, math.ceil(super().steps() * self.strength))
        return (self.num_inference_steps or 1) * (3 if (self.guidance_scale or 0) > 1 else 1)


class Box(BaseModel):
    """A rectangle, or the ellipse inside it. All numbers are shares of the picture's width and height."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: Literal["rectangle", "ellipse"]
    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _has_an_inside(self) -> Self:
        if self.left >= self.right or self.top >= self.bottom:
            raise fault("left", "left must be smaller than right, and top than bottom")
        return self


class Polygon(BaseModel):
    """A closed area."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: Literal["polygon"]
    points: tuple[tuple[Share, Share], ...] = Field(min_length=3, max_length=MAX_POINTS)


class Stroke(BaseModel):
    """A brush drawn along points."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: Literal["stroke"]
    points: tuple[tuple[Share, Share], ...] = Field(min_length=1, max_length=MAX_POINTS)
    width: float = Field(gt=0, le=1, description="Share of the picture's longer side.")


Shape = Annotated[Box | Polygon | Stroke, Field(discriminator="shape")]


class Automatic(StrEnum):
    """What a mask that nobody drew covers."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"


class InpaintParams(PartlyDenoisedParams):
    """What the mask covers is made anew; the rest stays as it is."""

    summary: ClassVar[str] = "A part of a picture made anew."

    mask: PictureRef | None = Field(None, description="White is made anew, black stays. As large as the picture.")
    mask_shapes: tuple[Shape, ...] | None = Field(
        None, min_length=1, max_length=MAX_SHAPES, description="A mask drawn from shapes."
    )
    mask_automatic: Automatic | None = Field(None, description="A mask found by a net: what stands out, or the rest.")
    mask_grow: float = Field(0.0, ge=-0.25, le=0.25, description="Share of the longer side by which the mask grows.")
    mask_feather: float = Field(0.0, ge=0, le=0.25, description="Share of the longer side over which it fades.")
    strength: float = Field(1.0, gt=0, le=1, description="How much is made anew inside the mask.")

    @model_validator(mode="after")
    def _one_mask(self) -> Self:
        if sum(mask is not None for mask in (self.mask, self.mask_shapes, self.mask_automatic)) != 1:
            raise fault("mask", "give exactly one of mask, mask_shapes and mask_automatic")
        return self

    def check_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> list[FieldError]:
        """The mask must be as large as the picture."""
        image, mask = sizes.get("image"), sizes.get("mask")
        if image is None or mask is None or image == mask:
            return []
        text = f"The mask is {mask[0]} × {mask[1]} pixels and the picture {image[0]} × {image[1]}; make them equal."
        return [problem("mask", "size_differs", text)]


class OutpaintParams(PictureToPictureParams):
    """The picture shrinks into a larger canvas, and what is round it is made anew."""

    summary: ClassVar[str] = "More of a picture, beyond its edges."

    zoom: float = Field(0.5, ge=0.1, le=0.95, description="Share of the canvas' sides that the picture takes.")
    x: Share = Field(0.5, description="Where it stands: 0 at the left edge, 1 at the right.")
    y: Share = Field(0.5, description="Where it stands: 0 at the top, 1 at the bottom.")
    feather: float = Field(0.04, ge=0, le=0.25, description="Share of the longer side over which the seam fades.")


class ControlMap(StrEnum):
    """What is made of the picture to lead the net."""

    CANNY = "canny"
    """Edges (Canny 1986)."""
    DEPTH = "depth"
    """A rough guess of distance, made without a net."""
    NONE = "none"
    """The picture is such a map already."""


class ControlParams(PictureToPictureParams):
    """The layout of a picture, with another content (ControlNet, Zhang et al. 2023)."""

    summary: ClassVar[str] = "A new picture with the layout of a given one."

    control: ControlMap = Field(ControlMap.CANNY, description="The map that is made of the picture.")
    control_scale: float = Field(1.0, ge=0, le=2, description="How strongly the map leads.")
    low_threshold: Share = Field(0.1, description="Of canny: edges below are dropped.")
    high_threshold: Share = Field(0.2, description="Of canny: edges above are kept.")
    return_map: bool = Field(False, description="Whether the map comes too, as one more picture behind the others.")
    base: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Of a ControlNet by itself (`takes_base` in its profile): the text-to-image checkpoint to run it "
        "over; the one that it was registered for if absent.",
    )
    base_revision: str | None = Field(None, max_length=64, description="Filled in at submit.")

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.low_threshold > self.high_threshold:
            raise fault("low_threshold", "low_threshold must not be above high_threshold")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """A base where one is needed, and only there."""
        found = super().problems(profile)
        if self.base is not None and not profile.takes_base:
            found.append(
                problem("base", "not_used", "This checkpoint has nets of its own to run over; leave base out.")
            )
        if profile.takes_base and not (self.base or profile.base):
            text = "This ControlNet runs over another checkpoint: name the text-to-image one that it was trained for."
            found.append(problem("base", "missing", text))
        return found

    def texts(self) -> dict[str, str]:
        """What is to be drawn; a base is a name, which errors may quote."""
        return {name: text for name, text in super().texts().items() if not name.startswith("base")}

    def outputs(self) -> int:
        """The map is not drawn, and takes no room in a batch."""
        return self.rows() + self.return_map

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The base that it was registered for."""
        named = {"base": profile.base} if profile.takes_base and self.base is None else {}
        return super().defaults(profile) | named

    def shape(self) -> tuple[object, ...]:
        """One control scale and one base a call."""
        return (*super().shape(), self.control_scale, self.base, self.base_revision)
