"""What a CLIP of ours can name: the nouns, styles and backgrounds in its folder's ``captions.json``; and sentences.

It describes pictures by choosing among these words; it writes nothing freely.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from worker.nets.folders import FolderError

VOCABULARY_FILE: Final = "captions.json"


@dataclass(frozen=True, slots=True)
class Word:
    """One thing that can be named. ``texts`` name it alone, by language; ``place`` sets a noun on a background."""

    name: dict[str, str]
    texts: dict[str, tuple[str, ...]]
    article: str = ""
    place: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every word, and how cosines become likelihoods: ``sigmoid(scale * cosine + bias)``."""

    nouns: tuple[Word, ...]
    styles: tuple[Word, ...]
    backgrounds: tuple[Word, ...]
    languages: tuple[str, ...]
    scale: float
    bias: float

    def sentence(self, noun: int, style: int, background: int, language: str) -> str:
        """The words of three indices as a caption, in the wording that the model was trained on."""
        thing, look, ground = self.nouns[noun], self.styles[style], self.backgrounds[background]
        if language == "zh":
            return f"{ground.place['zh']}{look.name['zh']}{thing.name['zh']}"
        article = look.article if thing.article else ""
        parts = (article, look.name[language], thing.name[language], ground.place[language])
        return " ".join(part for part in parts if part)

    def likelihood(self, cosine: float) -> float:
        """How likely a text fits a picture, in [0, 1], from the cosine of their features."""
        return 1 / (1 + math.exp(-(self.scale * cosine + self.bias)))

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read ``captions.json``.

        Raises:
            FolderError: it is not there or does not hold what it should.
        """
        try:
            content: dict[str, Any] = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
            return cls(
                **{
                    axis: tuple(word_of(entry) for entry in content[axis])
                    for axis in ("nouns", "styles", "backgrounds")
                },
                languages=tuple(content["languages"]),
                scale=float(content["calibration"]["scale"]),
                bias=float(content["calibration"]["bias"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FolderError(f"{folder.name}/{VOCABULARY_FILE} cannot be read: {error!r}") from error


def word_of(entry: dict[str, Any]) -> Word:
    """A word from its JSON."""
    texts = {language: tuple(lines) for language, lines in entry["texts"].items()}
    return Word(entry["name"], texts, entry.get("article", ""), entry.get("place", {}))
