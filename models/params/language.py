"""Tasks that write: more prompts from one, and what a picture shows."""

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar

from pydantic import Field, field_validator

from models.errors import FieldError
from models.params.base import SeededParams, TaskParams, problem
from models.params.inputs import Kind, PictureRef
from models.params.profile import CheckpointProfile
from models.params.words import MAX_TEXT_CHARS, storable, written


class Language(StrEnum):
    """Of what is written."""

    ENGLISH = "en"
    CHINESE = "zh"


class ExpandPromptParams(SeededParams):
    """By a language model, or by a grammar: `{a|b}` chooses, `__name__` takes a word from a list of the checkpoint."""

    summary: ClassVar[str] = "Richer prompts from a short one."
    produces: ClassVar[Kind] = Kind.TEXT

    prompt: str = Field(
        max_length=MAX_TEXT_CHARS, examples=["a cat", "a {red|blue} fox __place__"], description="What to expand."
    )
    num_prompts: int = Field(1, ge=1, le=64, description="How many; no two alike, as far as there are so many.")
    max_tokens: int = Field(60, ge=1, le=1000, description="Of each prompt, for language models.")
    temperature: float = Field(0.8, gt=0, le=2, description="For language models: higher is more surprising.")
    top_p: float = Field(0.95, gt=0, le=1, description="For language models: nucleus sampling (Holtzman et al. 2020).")
    keep_words: bool = Field(True, description="Each expansion begins with the prompt itself.")

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        return written(prompt)

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The length, and what is a language model's."""
        found = not_written(self, ("max_tokens", "temperature", "top_p"), profile)
        if len(self.prompt) > profile.max_prompt_chars:
            message = f"This checkpoint reads at most {profile.max_prompt_chars} characters."
            found.append(problem("prompt", "too_long", message))
        return found

    def outputs(self) -> None:
        """Texts, in the result."""
        return

    def shape(self) -> tuple[object, ...]:
        """One call takes any prompts at one temperature."""
        return (self.max_tokens, self.temperature, self.top_p)

    def steps(self) -> int:
        """Tokens."""
        return self.max_tokens * self.num_prompts


class CaptionParams(SeededParams):
    """A checkpoint that cannot write freely chooses among what it knows, and says so."""

    summary: ClassVar[str] = "What a picture shows, in words."
    produces: ClassVar[Kind] = Kind.TEXT
    feed: ClassVar[str] = "image"

    image: PictureRef
    prompt: str = Field("", max_length=1000, description="What the caption begins with, or a question.")
    language: Language = Field(Language.ENGLISH)
    num_captions: int = Field(1, ge=1, le=16, description="The best first.")
    max_tokens: int = Field(40, ge=1, le=500, description="Of each caption, for language models.")

    @field_validator("prompt")
    @classmethod
    def _can_be_stored(cls, prompt: str) -> str:
        return storable(prompt)

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """A prompt where none is read, the language, and what is a language model's."""
        found = not_written(self, ("max_tokens",), profile)
        if self.prompt and not profile.reads_prompt:
            found.append(problem("prompt", "not_used", "This checkpoint reads no prompt; leave it out."))
        if self.language.value not in profile.languages:
            message = f"This checkpoint writes: {', '.join(profile.languages)}."
            found.append(problem("language", "language_unknown", message))
        return found

    def outputs(self) -> None:
        """Texts, in the result."""
        return

    def shape(self) -> tuple[object, ...]:
        """Any pictures go together."""
        return (self.max_tokens, self.num_captions)

    def steps(self) -> int:
        """One pass."""
        return 1


def not_written(params: TaskParams, names: Iterable[str], profile: CheckpointProfile) -> list[FieldError]:
    """What a checkpoint that is no language model would ignore; the fields' own defaults ask for nothing."""
    if profile.writes_freely:
        return []
    message = "This checkpoint is no language model and has no use for it; leave it out, or name one that is."
    fields = type(params).model_fields
    return [problem(name, "not_used", message) for name in names if getattr(params, name) != fields[name].default]
