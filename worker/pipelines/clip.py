"""Score pictures against words, and caption them, with a CLIP or SigLIP; best-of-n asks it as `TextImageScorer`.

Any such folder scores. One that brings a vocabulary (`captions.json`) captions as well, by choosing among its words.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import CaptionParams, Metric, ScoreParams
from worker.nets.folders import FolderError
from worker.nets.vocabulary import VOCABULARY_FILE, Vocabulary
from worker.pipelines.base import CheckpointFiles, Context, Facts, Item, Output, Pipeline
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.measuring import DIGITS, Measures
from worker.pipelines.naming import Namer
from worker.pipelines.towers import Towers

if TYPE_CHECKING:
    from torch import Tensor

    from worker.devices import Device
    from worker.pipelines.base import Pixels


class Clip(Pipeline):
    """Both towers of one folder."""

    family: ClassVar[str] = "clip"
    tasks: ClassVar[frozenset[str]] = frozenset({"score", "caption"})
    in_float32: ClassVar[bool] = True

    def __init__(self, towers: Towers, files: CheckpointFiles) -> None:
        """`towers` are loaded."""
        self._towers = towers
        self._files = files
        self._measures = Measures()

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder."""
        return cls(guarded_load(lambda: Towers.open(files.folder, device)), files)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """All pictures are looked at in one pass, then each item has its facts."""
        looked = [item for item in items if _looks(item) and not context.stopped(item.job_id)]
        pictures = [item.picture("image") for item in looked]
        seen = guarded(lambda: self._towers.see(pictures)) if pictures else ()
        features = {item.job_id: row for item, row in zip(looked, seen, strict=True)}
        for done, item in enumerate(items):
            context.raise_if_all_stopped()
            if not context.stopped(item.job_id):
                yield Facts(item.job_id, self._facts(item, features.get(item.job_id)))
            context.step(done + 1, len(items))

    def scores(self, pictures: "Sequence[Pixels]", text: str) -> list[float]:
        """The cosine of each picture and the text; see `TextImageScorer`."""
        found: list[float] = guarded(lambda: self._towers.see(pictures) @ self._towers.read([text])[0]).tolist()
        return found

    @property
    def memory_bytes(self) -> int:
        """Of both towers."""
        return self._towers.memory_bytes

    def _facts(self, item: Item, seen: "Tensor | None") -> dict[str, Any]:
        params = item.params
        if isinstance(params, CaptionParams) and seen is not None:
            return guarded(lambda: self._caption(item, params, seen))
        figures, notes = self._measures.of(item)
        if seen is not None and isinstance(params, ScoreParams):
            fits, cut = guarded(lambda: self._fits(seen, params.descriptions))
            figures = {Metric.TEXT_IMAGE.value: fits} | figures
            notes += cut
        return {"scores": figures, "notes": notes}

    def _fits(self, seen: "Tensor", texts: Sequence[str]) -> tuple[list[dict[str, float]], list[str]]:
        """Of each text its cosine, its share among all that are given, and how likely it is right where that is known.

        Shares are CLIP's softmax; they add up to one whether any text is right or none.
        """
        cosines = self._towers.read(texts) @ seen
        shares = torch.softmax(self._towers.scale * cosines, dim=0).tolist()
        found = []
        for cosine, share in zip(cosines.tolist(), shares, strict=True):
            figures = {"cosine": round(cosine, DIGITS), "share": round(share, DIGITS)}
            likelihood = self._likelihood(cosine)
            found.append(figures if likelihood is None else figures | {"likelihood": round(likelihood, DIGITS)})
        limit = self._towers.max_tokens
        cut = [at for at, text in enumerate(texts) if self._towers.cut(text)]
        return found, [f"descriptions/{at} was cut: this checkpoint reads {limit} tokens." for at in cut]

    def _likelihood(self, cosine: float) -> float | None:
        """SigLIP's own, or of a calibration that was measured; None where neither is there."""
        if self._towers.bias is not None:
            return float(torch.sigmoid(torch.tensor(self._towers.scale * cosine + self._towers.bias)))
        return None if self._namer is None else self._namer.vocabulary.likelihood(cosine)

    def _caption(self, item: Item, params: CaptionParams, seen: "Tensor") -> dict[str, Any]:
        if self._namer is None:
            text = f"{self._files.name} has no {VOCABULARY_FILE} to choose words from; caption with another."
            raise InvalidInputError(text, job_id=str(item.job_id), field="/checkpoint")
        found = self._namer.captions(seen, params.language.value, params.num_captions, params.prompt)
        if not found:
            text = "None of this checkpoint's captions begins like that."
            raise InvalidInputError(text, job_id=str(item.job_id), field="/params/prompt")
        return {
            "texts": [caption.text for caption in found],
            "scores": [
                {"score": round(caption.score, DIGITS), "likelihood": round(caption.likelihood, DIGITS)}
                for caption in found
            ],
            "method": f"vocabulary of {self._files.name}",
        }

    @cached_property
    def _namer(self) -> Namer | None:
        if not (self._files.folder / VOCABULARY_FILE).is_file():
            return None
        try:
            return Namer(Vocabulary.from_folder(self._files.folder), self._towers.read)
        except FolderError as error:
            raise CheckpointUnavailableError(str(error)) from error


def _looks(item: Item) -> bool:
    """Whether the item needs the picture's features."""
    return not isinstance(item.params, ScoreParams) or Metric.TEXT_IMAGE in item.params.wanted()
