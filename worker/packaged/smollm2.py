"""A small language model that writes on from a prompt: SmolLM2-135M-Instruct of Hugging Face (Allal et al. 2025).

The package has it in four bits (GGUF), which transformers takes about ten seconds to unpack; so it is unpacked once,
into float16 safetensors in the checkpoint cache, and read from there.
"""

import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.checkpoints.weights import BadWeightsError, check_weights
from models.errors import CheckpointUnavailableError
from worker.packaged.files import SMOLLM2, locate
from worker.packaged.sampling import discourage, nucleus_sample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PARTIAL: Final = ".partial"
"""A folder of an unfinished conversion; the checkpoint cache clears such away."""
WEIGHTS: Final = "model.safetensors"
MAX_BATCH: Final = 16
MAX_CONTEXT_TOKENS: Final = 2048
PARAMETERS: Final = 134_515_008
MEMORY_BYTES: Final = 4 * PARAMETERS
"""Of the weights as they are computed with, in float32."""


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
"""In English: it has read little else."""


class SmolLM2:
    """Loaded once; writes many. On the CPU, in float32."""

    def __init__(self, cache: Path) -> None:
        """`cache` is where the unpacked weights are kept, about 270 MB.

        Raises:
            CheckpointUnavailableError: the package, gguf or transformers is missing.
        """
        import torch

        transformers = _transformers()
        folder = _unpacked(cache)
        try:
            check_weights(folder / WEIGHTS)
        except (BadWeightsError, OSError):
            # A copy of ours, which a full disk or a person may have damaged.
            shutil.rmtree(folder, ignore_errors=True)
            folder = _unpacked(cache)
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, padding_side="left", local_files_only=True
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        self._model: Any = model.eval()

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
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=MAX_CONTEXT_TOKENS,
            add_special_tokens=False,
        )  # fmt: skip
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        with torch.inference_mode():
            tokens = self._sample(given["input_ids"], given["attention_mask"], generators, how, on_step)
        return [str(text) for text in self._tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def _sample(
        self,
        tokens: "Tensor",
        mask: "Tensor",
        generators: "Sequence[torch.Generator]",
        how: Sampling,
        on_step: Callable[[int, int], None] | None,
    ) -> "Tensor":
        """(B, T) with a mask, padded on the left, to the (B, ≤ max_new_tokens) that follow."""
        import torch

        end = int(self._model.config.eos_token_id)
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
            scores = discourage(answer.logits[:, -1].float(), seen, how.repetition_penalty)
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
            tokens = drawn[:, None]
            mask = torch.cat([mask, torch.ones_like(tokens)], -1)
        return torch.stack(made, -1)


def _transformers() -> Any:
    try:
        import gguf  # noqa: F401  # transformers asks for it only once it reads the file
        import transformers
    except ImportError as error:
        text = f"{error.name} is not installed here: pip install safelight[worker] gguf==0.19.0"
        raise CheckpointUnavailableError(text) from None
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _unpacked(cache: Path) -> Path:
    """The folder of the converted weights, made now if it is not there; by one rename, since others may do the same."""
    folder = cache / f"smollm2-{SMOLLM2.sha256[:16]}"
    if (folder / WEIGHTS).is_file():
        return folder
    source = locate(SMOLLM2)
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{PARTIAL}")
    partial.mkdir(parents=True)
    try:
        _convert(source, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / WEIGHTS).is_file():  # else another worker came first, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file

    transformers = _transformers()
    folder, local = source.parent, {"gguf_file": source.name, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **local)  # nosec B615
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)  # nosec B615  # a file pinned by its hash
    # The library refuses to save what it calls quantised; these are ordinary tensors by now.
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()  # noqa: SLF001
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items() if name not in tied}
    del model.config.quantization_config
    model.config.dtype = torch.float16
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
    (target / WEIGHTS).chmod(0o644)  # safetensors writes files for their owner alone
