"""What a checkpoint can do: its bounds and defaults, stored with its row and shown by the API.

Params are checked against it at submit, so that a job which no checkpoint could run is refused and not queued.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CheckpointProfile(BaseModel):
    """Bounds and defaults of one checkpoint. Sizes are in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default_width: int = Field(512, ge=8, le=8192)
    default_height: int = Field(512, ge=8, le=8192)
    min_size: int = Field(8, ge=8, le=8192)
    max_size: int = Field(2048, ge=8, le=8192)
    size_multiple: int = Field(8, ge=1, le=128)
    max_pixels: int = Field(4_194_304, ge=64, description="Largest width × height.")
    default_steps: int = Field(30, ge=1, le=1000)
    max_steps: int = Field(150, ge=1, le=1000)
    default_guidance: float = Field(7.5, ge=0, le=50)
    max_prompt_chars: int = Field(2000, ge=1)
    max_images: int = Field(8, ge=1, le=64, description="Images of one job.")
    class_names: tuple[str, ...] = Field((), description="Of a class-conditional checkpoint, by index.")
    reads_prompt: bool = Field(True, description="Whether words lead it.")
    needs_prompt: bool = Field(False, description="Whether it draws nothing without words.")
    style_names: tuple[str, ...] = Field((), description="Of style transfer.")
    takes_style_image: bool = Field(False, description="Whether any picture can be the style.")
    style_layers: int = Field(0, ge=0, le=32, description="Of a StyleGAN: layers whose styles can be mixed.")
    scales: tuple[int, ...] = Field((), description="Of an upscaler.")
    max_input_pixels: int = Field(4_194_304, ge=64, description="Largest input that it takes as it is.")
    languages: tuple[str, ...] = Field(("en",), description="That it writes captions in.")
    writes_freely: bool = Field(
        True,
        description="Whether it writes token by token, as language models do; the others choose among what they know.",
    )
    methods: tuple[str, ...] = Field((), description="Of a trainer.")
    default_for: tuple[str, ...] = Field(
        (), description="Tasks that it does, before older checkpoints, for who names none."
    )
    edits_by_strength: bool = Field(
        False, description="Whether `edit` makes the picture anew as the prompt describes it, and obeys no instruction."
    )
    takes_base: bool = Field(False, description="Of a ControlNet by itself: it runs over another checkpoint.")
    base: str = Field("", max_length=100, description="The checkpoint that it runs over unless a job names another.")

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if not self.min_size <= min(self.default_width, self.default_height):
            raise ValueError("the default size is below min_size")
        if not max(self.default_width, self.default_height) <= self.max_size:
            raise ValueError("the default size is above max_size")
        if self.default_steps > self.max_steps:
            raise ValueError("default_steps is above max_steps")
        if self.base and not self.takes_base:
            raise ValueError("base is of checkpoints that run over another: takes_base")
        return self

    def over(self, base: "CheckpointProfile") -> "CheckpointProfile":
        """What it can do over that one: sizes, steps, guidance and limits are the base's."""
        return base.model_copy(update={"takes_base": True, "base": self.base})

    @property
    def one_pass(self) -> bool:
        """Whether its net makes a picture in one forward pass, as GANs and VAEs do."""
        return self.max_steps == 1

    @property
    def guides(self) -> bool:
        """Whether classifier-free guidance has something to lead towards, and a step to do it in."""
        return not self.one_pass and (self.reads_prompt or bool(self.class_names))

    @property
    def guidance(self) -> float:
        """What is filled in where none was asked for; 0 where there is none."""
        return self.default_guidance if self.guides else 0.0

    @property
    def fixed_size(self) -> bool:
        """Whether the checkpoint makes pictures of one size only."""
        return self.min_size == self.max_size
