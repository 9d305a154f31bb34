"""Captions by choosing: the words of a vocabulary that lie nearest to a picture, put into a sentence.

For a CLIP whose folder brings `captions.json` (`worker.nets.vocabulary`). It writes nothing freely, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.nets.vocabulary import Vocabulary, Word

LOOKED_AT = 64
"""The likeliest combinations of words, whose whole sentences are then held against the picture."""

EVIDENCE = 4
"""Cosines that a caption is ranked by: of its noun, its style, its background and its whole sentence."""


@dataclass(frozen=True)
class Caption:
    """A sentence, the mean cosine of it and its words with the picture, and how likely it is right, in [0, 1]."""

    text: str
    score: float
    likelihood: float


@dataclass
class Namer:
    """Names pictures by their features. The words of a language are read once."""

    vocabulary: Vocabulary
    read: Callable[[Sequence[str]], Tensor]
    _axes: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def captions(self, seen: Tensor, language: str, count: int, begin: str = "") -> list[Caption]:
        """The best captions of a picture's unit vector `(D,)`, the best first; fewer where fewer begin like that.

        The likeliest by their words are weighed by words and whole sentence together: either alone is right less often.
        """
        every = self._likeliness(seen, language)
        grounds, per_noun = every.shape[2], every.shape[1] * every.shape[2]
        flat, begin = every.flatten(), begin.strip().lower()
        likely: list[tuple[str, float]] = []
        for place in flat.argsort(descending=True, stable=True).tolist():
            noun, style, ground = place // per_noun, place % per_noun // grounds, place % grounds
            text = self.vocabulary.sentence(noun, style, ground, language)
            if text.lower().startswith(begin):
                likely.append((text, float(flat[place])))
            if len(likely) == max(LOOKED_AT, count):
                break
        if not likely:
            return []
        cosines = (self.read([text for text, _ in likely]) @ seen).tolist()
        scores = [(words + cosine) / EVIDENCE for (_, words), cosine in zip(likely, cosines, strict=True)]
        order = sorted(range(len(likely)), key=lambda at: -scores[at])[:count]
        return [Caption(likely[at][0], scores[at], self.vocabulary.likelihood(cosines[at])) for at in order]

    def _likeliness(self, seen: Tensor, language: str) -> Tensor:
        """`(nouns, styles, backgrounds)`: the sum of the three words' cosines."""
        nouns, styles, backgrounds = (words @ seen for words in self._words(language))
        return nouns[:, None, None] + styles[None, :, None] + backgrounds[None, None, :]

    def _words(self, language: str) -> tuple[Tensor, Tensor, Tensor]:
        if language not in self._axes:
            of = self.vocabulary
            nouns, styles, backgrounds = (
                self._axis(words, language) for words in (of.nouns, of.styles, of.backgrounds)
            )
            self._axes[language] = nouns, styles, backgrounds
        return self._axes[language]

    def _axis(self, words: tuple[Word, ...], language: str) -> Tensor:
        """`(words, D)`: of each the mean of its texts, as the checkpoint was graded."""
        texts = [word.texts[language] for word in words]
        rows = iter(self.read([text for group in texts for text in group]))
        return F.normalize(
            torch.stack([torch.stack([next(rows) for _ in group]).mean(dim=0) for group in texts]), dim=1
        )
