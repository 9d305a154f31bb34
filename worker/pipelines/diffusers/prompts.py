"""What the text encoders can read: prompts are counted before the run, and none is ever cut short in silence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidInputError
from worker.pipelines.base import Item

_SUFFIXES = ("", "_2", "_3", "_4")
_NO_LIMIT = 1 << 20
"""Tokenizers saved without a limit report 10³⁰."""


@dataclass(frozen=True)
class Window:
    """One tokenizer and how many tokens its encoder reads, special tokens included."""

    tokenizer: Any
    max_tokens: int


class PromptReader:
    """The windows that a prompt must fit.

    Families with several encoders of different reach (SD3 and Flux: CLIP's 77 beside T5's 256 or 512) read the whole
    prompt with the longest; the short one only adds a summary. So only the longest windows count, and all of those.
    """

    def __init__(self, pipe: Any, max_sequence_length: int | None) -> None:
        """`max_sequence_length` is what the pipeline hands its longest encoder, when it has such a setting."""
        windows = [window for suffix in _SUFFIXES if (window := _window(pipe, suffix, max_sequence_length))]
        self.max_tokens = max((window.max_tokens for window in windows), default=_NO_LIMIT)
        self._windows = [window for window in windows if window.max_tokens == self.max_tokens]

    def check(self, items: Iterable[Item]) -> None:
        """Count every prompt and negative prompt.

        Raises:
            InvalidInputError: the first one that is too long, with its `job_id`, its tokens and the limit.
        """
        texts = [(item, name, text) for item in items for name, text in _texts(item) if text]
        for window in self._windows if texts else ():
            encoded = window.tokenizer([text for _, _, text in texts], verbose=False)["input_ids"]
            for (item, name, _), tokens in zip(texts, encoded, strict=True):
                if len(tokens) > self.max_tokens:
                    raise InvalidInputError(
                        f"The {name} is {len(tokens)} tokens long; this checkpoint reads at most {self.max_tokens}.",
                        job_id=str(item.job_id),
                        field=f"/params/{name}",
                        tokens=len(tokens),
                        max_tokens=self.max_tokens,
                    )


def _texts(item: Item) -> Iterable[tuple[str, str]]:
    """What the encoders are given, by field; other texts of the params are names."""
    for name, text in item.params.texts().items():
        if name.split("/")[0] in {"prompt", "negative_prompt", "prompts"}:
            yield name, text


def _window(pipe: Any, suffix: str, max_sequence_length: int | None) -> Window | None:
    """The window of one tokenizer and its encoder; None when the folder came without either."""
    tokenizer = getattr(pipe, f"tokenizer{suffix}", None)
    encoder = getattr(pipe, f"text_encoder{suffix}", None)
    if tokenizer is None or encoder is None:
        return None
    is_clip = type(encoder).__name__.startswith("CLIP")
    limit = min(int(tokenizer.model_max_length), _NO_LIMIT)
    if is_clip:
        limit = min(limit, int(encoder.config.max_position_embeddings))
    elif max_sequence_length is not None:
        limit = max_sequence_length
    return Window(tokenizer, limit)
