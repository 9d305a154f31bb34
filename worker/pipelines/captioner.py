"""Captions that are written freely: BLIP (Li et al. 2022) and Florence-2 (Xiao et al. 2023) folders of transformers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import CaptionParams
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Facts, Item, Output, Pipeline
from worker.pipelines.draws import bytes_of
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.towers import kind_of

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

MIN_BEAMS = 3


@dataclass(frozen=True)
class Kind:
    """One architecture: its classes in transformers, and what it is told when the client says nothing."""

    model: str
    processor: str
    unprompted: str


KINDS = {
    "blip": Kind("BlipForConditionalGeneration", "BlipProcessor", ""),
    "florence2": Kind("Florence2ForConditionalGeneration", "Florence2Processor", "<CAPTION>"),
}
"""By `model_type` of `config.json`. Others would need code of the folder's own, which is not run."""


class Captioner(Pipeline):
    """One loaded net. Beam search, so that nothing is drawn."""

    family: ClassVar[str] = "captioner"
    tasks: ClassVar[frozenset[str]] = frozenset({"caption"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    def __init__(self, net: Any, processor: Any, kind: Kind, name: str) -> None:
        """`net` is loaded, in eval mode, on its device."""
        self._net = net
        self._processor = processor
        self._kind = kind
        self._name = name

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder."""
        kind = KINDS.get(kind_of(files.folder))
        if kind is None:
            text = f"{files.name} is a {kind_of(files.folder)!r}; this family runs {' and '.join(KINDS)}."
            raise CheckpointUnavailableError(text)
        net, processor = guarded_load(lambda: _open(files.folder, kind, device))
        return cls(net, processor, kind, files.name)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One picture after the other: prompts and lengths differ."""
        for number, item in enumerate(items):
            context.raise_if_all_stopped()
            if context.stopped(item.job_id):
                continue
            params = item.params
            if not isinstance(params, CaptionParams):
                raise InvalidInputError(f"This captions; it does no {item.task}.", job_id=str(item.job_id))
            picture = item.picture("image")
            texts = guarded(
                lambda given=params, shown=picture, at=number: self._captions(  # type: ignore[misc]
                    given, shown, _between_tokens(context, at, len(items), given.max_tokens)
                )
            )
            yield Facts(item.job_id, {"texts": texts, "method": f"captioner {self._name}"})

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(self._net)

    def _captions(self, params: CaptionParams, picture: "Pixels", stopping: Any) -> list[str]:
        """The best first; fewer than asked for where two are written alike."""
        import torch

        prompt = params.prompt or self._kind.unprompted
        words = {"text": prompt} if prompt else {}
        given = self._processor(images=picture, **words, return_tensors="pt", input_data_format="channels_last")
        inputs = {name: value.to(self._net.device) for name, value in given.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self._net.dtype)
        with torch.inference_mode():
            made = self._net.generate(
                **inputs,
                max_new_tokens=params.max_tokens,
                num_beams=max(MIN_BEAMS, params.num_captions),
                num_return_sequences=params.num_captions,
                do_sample=False,
                stopping_criteria=stopping,
            )
        texts = self._processor.batch_decode(made, skip_special_tokens=True)
        return list(dict.fromkeys(" ".join(text.split()) for text in texts))


def _between_tokens(context: Context, number: int, items: int, tokens: int) -> Any:
    """Tells how far it is, and stops when nobody wants the batch any more."""
    from transformers import StoppingCriteriaList

    class Tell:
        done = 0

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002  # transformers' names
            import torch

            context.raise_if_all_stopped()
            self.done = min(self.done + 1, tokens)
            context.step(number * tokens + self.done, items * tokens)
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([Tell()])


def _open(folder: Path, kind: Kind, device: "Device") -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)  # nosec B615  # a verified folder
    preparation = transformers.AutoImageProcessor.from_pretrained(  # nosec B615  # a verified folder
        folder, **local, backend="pil"
    )
    processor = getattr(transformers, kind.processor)(image_processor=preparation, tokenizer=tokenizer)
    net, told = getattr(transformers, kind.model).from_pretrained(
        folder, **local, use_safetensors=True, dtype=device.dtype, output_loading_info=True
    )
    if missing := sorted(told["missing_keys"]):
        raise CheckpointUnavailableError(f"{folder.name} has no weights for {missing[0]} and {len(missing) - 1} more.")
    return net.eval().to(device.torch_device), processor
