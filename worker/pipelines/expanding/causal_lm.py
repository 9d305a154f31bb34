"""The family `causal_lm`: prompts by a language model, SmolLM2 from its package or any causal LM of transformers.

Small models have read English. Prompts with Chinese characters are expanded by the grammar, and the result says so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from models.errors import CheckpointUnavailableError
from models.params import ExpandPromptParams
from worker.packaged.writing import MAX_BATCH, PROMPT_WRITER, Manner, Sampling, Writer
from worker.pipelines.base import CheckpointFiles, Context, Facts, Item, Output, Pipeline, generator_for
from worker.pipelines.draws import bytes_of
from worker.pipelines.expanding.by_grammar import expand
from worker.pipelines.expanding.cleaning import cleaned
from worker.pipelines.expanding.expanded import Expanded, params_of
from worker.pipelines.expanding.remembered import Remembered
from worker.pipelines.expanding.wordlists import is_chinese
from worker.pipelines.failures import guarded, guarded_load

if TYPE_CHECKING:
    from worker.devices import Device

ROUNDS = 3
"""How often texts are written for an item that lacks some: a model repeats itself, or says nothing."""


@dataclass
class _Order:
    """An item on its way to its texts."""

    item: Item
    params: ExpandPromptParams
    texts: dict[str, None] = field(default_factory=dict)

    @property
    def lacking(self) -> int:
        """How many more are wanted."""
        return self.params.num_prompts - len(self.texts)

    def take(self, text: str) -> None:
        """Keep it if it is any good, and is none of those there are."""
        begin = self.params.prompt if self.params.keep_words else ""
        found = cleaned(text, begin)
        if found and found.lower() != " ".join(self.params.prompt.lower().split()):
            self.texts.setdefault(found)


class Writes(Protocol):
    """Who answers prompts; see `worker.packaged.writing.Writer`, which does."""

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        manner: Manner,
        starts: Sequence[str] | None,
        on_step: Callable[[int, int], None] | None,
    ) -> list[str]:
        """An answer to each prompt, beginning with its start."""


class CausalLm(Pipeline):
    """One language model."""

    family: ClassVar[str] = "causal_lm"
    tasks: ClassVar[frozenset[str]] = frozenset({"expand_prompt"})
    reads_chinese: ClassVar[bool] = False

    def __init__(self, writer: Writes, files: CheckpointFiles, memory_bytes: int) -> None:
        """`writer` is loaded."""
        self._writer = writer
        self._name = files.name
        self._memory_bytes = memory_bytes
        self._remembered = Remembered.of(files)

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load it; the packaged one runs on the CPU whatever the device."""
        if _is_packaged(files):
            from worker.packaged.smollm2 import MEMORY_BYTES, SmolLM2

            return cls(guarded_load(lambda: SmolLM2(Path(files.config["cache"]))), files, MEMORY_BYTES)
        tokenizer, model = guarded_load(lambda: _open(files.folder, device))
        return cls(Writer(tokenizer, model), files, bytes_of(model))

    @classmethod
    def estimate_bytes(cls, files: CheckpointFiles, device: "Device") -> int:
        """The package has four bits for what are 32 in memory."""
        if not _is_packaged(files):
            return super().estimate_bytes(files, device)
        from worker.packaged.smollm2 import MEMORY_BYTES

        return MEMORY_BYTES

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """What needs no model first, then all the others together, round after round."""
        orders = []
        for item in items:
            params = params_of(item)
            if context.stopped(item.job_id):
                continue
            if is_chinese(params.prompt) and not self.reads_chinese:
                yield Facts(item.job_id, expand(item, params).facts())
            elif (texts := self._remembered.find(params)) is not None:
                yield Facts(item.job_id, Expanded(texts, self._method, cached=True).facts())
            else:
                orders.append(_Order(item, params))
        for round_ in range(ROUNDS):
            self._write([order for order in orders if not context.stopped(order.item.job_id)], round_, context)
            for order in [order for order in orders if not order.lacking]:
                orders.remove(order)
                self._remembered.keep(order.params, tuple(order.texts))
                yield Facts(order.item.job_id, Expanded(tuple(order.texts), self._method).facts())
        for order in orders:
            if not context.stopped(order.item.job_id):
                yield Facts(order.item.job_id, self._filled_up(order).facts())

    @property
    def memory_bytes(self) -> int:
        """Of the weights, as they are computed with."""
        return self._memory_bytes

    @property
    def _method(self) -> str:
        return f"language model {self._name}"

    @property
    def _manner(self) -> Manner:
        return PROMPT_WRITER

    def _write(self, orders: "Sequence[_Order]", round_: int, context: Context) -> None:
        """One text for each that is lacking, some at a time; between tokens the batch can be stopped."""
        rows = [(order, at) for order in orders for at in range(order.lacking)]
        parts = [rows[start : start + MAX_BATCH] for start in range(0, len(rows), MAX_BATCH)]
        for number, part in enumerate(parts):

            def tell(done: int, total: int, number: int = number) -> None:
                context.raise_if_all_stopped()
                context.step(number * total + done, len(parts) * total)

            first = part[0][0].params
            sampling = Sampling(first.max_tokens, first.temperature, first.top_p)
            for (order, _), text in zip(part, self._texts(part, round_, sampling, tell), strict=True):
                order.take(text)

    def _texts(self, part: "Sequence[tuple[_Order, int]]", round_: int, sampling: Sampling, tell: Any) -> list[str]:
        prompts = [order.params.prompt for order, _ in part]
        seeds = [_seed(order, at, round_) for order, at in part]
        starts = [order.params.prompt.rstrip() if order.params.keep_words else "" for order, _ in part]
        return guarded(
            lambda: self._writer.generate(prompts, seeds, sampling, manner=self._manner, starts=starts, on_step=tell)
        )

    def _filled_up(self, order: _Order) -> Expanded:
        """What the model did not find comes from the grammar, so that each index has its text."""
        missing = order.lacking
        extra = expand(order.item, order.params).texts
        note = f"{missing} of {order.params.num_prompts} are by the grammar: the model repeated itself."
        return Expanded((*order.texts, *extra[:missing]), self._method, notes=(note,))


def _is_packaged(files: CheckpointFiles) -> bool:
    return any(name.endswith(".gguf") for name in files.config.get("files", ()))


def _seed(order: _Order, at: int, round_: int) -> int:
    """Of one text: others for each round, and none of a neighbouring job's."""
    return generator_for(order.item.seed, at + round_ * order.params.num_prompts).initial_seed()


def _open(folder: Path, device: "Device") -> tuple[Any, Any]:
    """Tokenizer and model of a plain folder, in the device's precision."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = transformers.AutoTokenizer.from_pretrained(  # nosec B615  # a verified folder
        folder, **local, padding_side="left"
    )
    if tokenizer.eos_token_id is None:
        raise CheckpointUnavailableError(f"{folder.name}: its tokenizer has no mark for the end of a text.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, told = transformers.AutoModelForCausalLM.from_pretrained(  # nosec B615  # a verified folder
        folder, **local, use_safetensors=True, dtype=device.dtype, output_loading_info=True
    )
    if missing := sorted(told["missing_keys"]):
        raise CheckpointUnavailableError(f"{folder.name} has no weights for {missing[0]} and {len(missing) - 1} more.")
    return tokenizer, model.eval().to(device.torch_device)
