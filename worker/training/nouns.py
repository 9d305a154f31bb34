"""The nouns that the starter model can draw: a table read from ``nouns.txt``.

The names follow the Unicode CLDR annotations, shortened to the word a person would type.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("nouns.txt")


@dataclass(frozen=True, slots=True)
class Noun:
    """One thing to draw: its code points (``1f408``), its names, and whether a mirrored picture is still right."""

    codepoints: str
    english: str
    chinese: str
    mirror: bool


@cache
def nouns() -> tuple[Noun, ...]:
    """Every noun, in the order of the table; that order numbers the classes of the judge."""
    rows = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return tuple(Noun(codepoints, english, chinese, mirror == "1") for codepoints, english, chinese, mirror in rows)
