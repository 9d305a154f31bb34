"""The word lists of the grammar: `worker/pipelines/words/<name>.<language>.txt`, a word or phrase on each line."""

from functools import cache
from pathlib import Path

from worker.pipelines.expanding.drawing import CHINESE_COMMA, ENGLISH_COMMA, Drawer

FOLDER = Path(__file__).resolve().parent.parent / "words"
ENGLISH, CHINESE = "en", "zh"
_CJK = (("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"))


def is_chinese(text: str) -> bool:
    """Whether there are Chinese characters in it."""
    return any(first <= character <= last for character in text for first, last in _CJK)


def language_of(text: str) -> str:
    """Of a prompt, and so of the words that are added to it."""
    return CHINESE if is_chinese(text) else ENGLISH


@cache
def drawer(language: str) -> Drawer:
    """All lists of a language; both have the same ones."""
    words = {
        path.name.split(".")[0]: tuple(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(FOLDER.glob(f"*.{language}.txt"))
    }
    return Drawer(words, CHINESE_COMMA if language == CHINESE else ENGLISH_COMMA)
