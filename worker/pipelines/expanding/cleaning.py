"""What a language model wrote, as one prompt on one line: without lists, quotation marks and small talk."""

import re

OPENING = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|here(?: is| are|'s)|absolutely)\b[^:\n]{0,120}[:!.]\s*", re.IGNORECASE
)
LABEL = re.compile(r"^(?:(?:image |new |better |expanded )?prompt|answer|output)\s*[:\-–]\s*", re.IGNORECASE)
MARKER = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,2}[.)])\s+")
QUOTES = "\"'`“”„«»‘’*"  # noqa: RUF001  # the quotation marks of several languages
DANGLING = frozenset(
    {
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "in",
        "on",
        "at",
        "with",
        "by",
        "for",
        "from",
        "to",
        "is",
        "are",
        "its",
        "his",
    }
)
"""Words that nothing ends with, but a text that was cut off."""


def cleaned(text: str, begin: str = "") -> str:
    """One line that begins with `begin`, or nothing where nothing is left of the rest."""
    rest = text[len(begin) :] if begin and text.startswith(begin) else text
    line = _first_line(rest, keep_first=bool(begin))
    words = line.split()
    while words and words[-1].lower().strip(",;:-") in DANGLING | {""}:
        words.pop()
    tail = " ".join(words).rstrip(",;:- ")
    if not begin:
        return tail
    start = " ".join(begin.split())
    if not tail.strip(" .,"):
        return ""
    joint = "" if tail[0] in ",.;:!?" else " " if rest[:1] in {" ", *QUOTES} else ", "
    return f"{start}{joint}{tail}"


def _first_line(text: str, *, keep_first: bool) -> str:
    """The first line with words in it. Behind a beginning that was given nobody says hello."""
    for line in text.strip().splitlines():
        found = line.strip(f"{QUOTES} ")
        if not keep_first:
            for noise in (MARKER, OPENING, LABEL, MARKER):
                found = noise.sub("", found).strip(f"{QUOTES} ")
        if any(character.isalnum() for character in found):
            return found.replace("“", "").replace("”", "").replace('"', "")
    return ""
