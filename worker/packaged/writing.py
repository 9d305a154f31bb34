"""Writing on with a causal language model of transformers: what to say to it, how to draw its tokens, one seed a text.

Which model, and where its weights lie, is the business of the files beside this one and of `worker.pipelines`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from models.errors import InvalidInputError
from worker.packaged.sampling import discourage, nucleus_sample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_BATCH: Final = 16
MAX_CONTEXT_TOKENS: Final = 2048


@dataclass(frozen=True)
class Example:
    """What was asked, and what should have been answered: a model so small follows examples better than orders."""

    asked: str
    answered: str


@dataclass(frozen=True)
class Manner:
    """How to talk to it."""

    system: str = ""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token."""

    max_new_tokens: int = 60
    temperature: float = 0.8
    top_p: float = 0.95
    repetition_penalty: float = 1.15
    """1 is none. A model so small turns in circles without."""


PROMPT_WRITER: Final = Manner(
    "You write prompts for an image generator. "
    "Each names the subject, what it does, where it is, the light and the style, in one line.",
    (
        Example("a dog", "a dog sitting on a wooden porch at sunset, warm light, long shadows, watercolour"),
        Example("a castle", "a castle on a cliff above the sea, storm clouds, dramatic light, detailed oil painting"),
        Example("a robot", "a robot watering flowers in a greenhouse, soft morning light, shallow focus, photograph"),
        Example("two children", "two children flying a kite on a windy beach, bright sky, picture book illustration"),
        Example("a bowl of fruit", "a bowl of fruit on a marble table, light from a window, rich colours, still life"),
    ),
)
"""In English: small models have read little else."""


class Writer:
    """A loaded model with its tokenizer, which pads on the left."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        """`model` is in eval mode, on its device."""
        self._tokenizer = tokenizer
        self._model = model

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling = Sampling(),
        *,
        manner: Manner = Manner(),
        starts: Sequence[str] | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """An answer to each prompt, sampled with one generator of its own from its seed.

        `starts` are the answers' first words, which are part of what is returned. The same prompts, seeds and batch
        give the same texts. `on_step(done, total)` is called after each token, and may raise to stop.

        Raises:
            InvalidInputError: a conversation that leaves the model no room for an answer.
        """
        beginnings = list(starts) if starts is not None else [""] * len(prompts)
        written: list[str] = []
        for first in range(0, len(prompts), MAX_BATCH):
            chosen = slice(first, first + MAX_BATCH)
            texts = [
                self._conversation(prompt, manner) + begin
                for prompt, begin in zip(prompts[chosen], beginnings[chosen], strict=True)
            ]
            written += self._continue(texts, seeds[chosen], sampling, on_step)
        return [(begin + text).strip() for begin, text in zip(beginnings, written, strict=True)]

    def _conversation(self, prompt: str, manner: Manner) -> str:
        if not self._tokenizer.chat_template:
            return _plain(prompt, manner)
        messages = [{"role": "system", "content": manner.system}] if manner.system else []
        for example in manner.examples:
            messages.append({"role": "user", "content": example.asked})
            messages.append({"role": "assistant", "content": example.answered})
        messages.append({"role": "user", "content": prompt})
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _continue(
        self, texts: Sequence[str], seeds: Sequence[int], how: Sampling, on_step: Callable[[int, int], None] | None
    ) -> list[str]:
        import torch

        given = self._tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self._context,
            add_special_tokens=False,
        )  # fmt: skip
        room = self._context - given["input_ids"].shape[1]
        if room < 1:
            text = f"The prompt leaves no room among the {self._context} tokens that this model reads."
            raise InvalidInputError(text, field="/params/prompt")
        how = replace(how, max_new_tokens=min(how.max_new_tokens, room))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        device = self._model.device
        with torch.inference_mode():
            tokens = self._sample(
                given["input_ids"].to(device), given["attention_mask"].to(device), generators, how, on_step
            )
        return [str(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    @property
    def _context(self) -> int:
        """Tokens of a conversation and its answer."""
        return int(min(MAX_CONTEXT_TOKENS, getattr(self._model.config, "max_position_embeddings", MAX_CONTEXT_TOKENS)))

    def _sample(
        self,
        tokens: "Tensor",
        mask: "Tensor",
        generators: "Sequence[torch.Generator]",
        how: Sampling,
        on_step: Callable[[int, int], None] | None,
    ) -> "Tensor":
        """(B, T) with a mask, padded on the left, to the (B, ≤ max_new_tokens) that follow, on the CPU."""
        import torch

        end = int(self._tokenizer.eos_token_id)
        ended = torch.zeros(len(tokens), dtype=torch.bool)
        made: list[Tensor] = []
        seen = torch.zeros(len(tokens), self._model.config.vocab_size, dtype=torch.bool)
        past: Any = None
        for step in range(how.max_new_tokens):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
            answer = self._model(
                input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
            past = answer.past_key_values
            scores = discourage(answer.logits[:, -1].float().cpu(), seen, how.repetition_penalty)
            # A text that has ended draws on, so that its neighbours' numbers do not depend on it; nobody reads it.
            drawn = nucleus_sample(scores, generators, temperature=how.temperature, top_p=how.top_p)
            drawn = torch.where(ended, torch.full_like(drawn, end), drawn)
            made.append(drawn)
            seen.scatter_(1, drawn[:, None], value=True)
            ended |= drawn == end
            if on_step is not None:
                on_step(step + 1, how.max_new_tokens)
            if bool(ended.all()):
                break
            tokens = drawn[:, None].to(mask.device)
            mask = torch.cat([mask, torch.ones_like(tokens)], -1)
        return torch.stack(made, -1)


def _plain(prompt: str, manner: Manner) -> str:
    """For a model that was never taught to talk: examples one below the other, the last one open."""
    told = [f"{example.asked} -> {example.answered}" for example in manner.examples]
    return "\n".join([*([manner.system] if manner.system else []), *told, f"{prompt} -> "])
