"""Texts that clients write: what can be stored, what is in them at all, and which words may not be."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

MAX_TEXT_CHARS = 20_000
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Thai, Kana, Han, Hangul: written without spaces, or with endings."""


def storable(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: Postgres' jsonb holds neither NUL nor lone surrogates.
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("NUL and lone surrogates are not text")
    return text


def written(text: str) -> str:
    """A text that can be stored and is not blank.

    Raises:
        ValueError: it is.
    """
    if not text.strip():
        raise ValueError("the text is blank")
    return storable(text)


def has_blocked_word(text: str, blocked: Iterable[str]) -> bool:
    """Whether one of these words is in the text, whatever its case and width (NFKC).

    Words of scripts with spaces are found as whole words, those with a `*` at their end by how they begin; words of
    other scripts wherever they stand.
    """
    folded = _folded(text)
    return any(_pattern(word).search(folded) is not None for word in blocked if word.strip(" *"))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


@lru_cache(maxsize=4096)
def _pattern(word: str) -> re.Pattern[str]:
    plain = _folded(word.strip())
    stem = re.escape(plain.rstrip("*"))
    if _UNSPACED.search(plain):
        return re.compile(stem)
    return re.compile(rf"(?<!\w){stem}" + ("" if plain.endswith("*") else r"(?!\w)"))
