r"""Prompt templates: `{a|b}` chooses, `{3::a|1::b}` with weights, `{2$$a|b|c}` takes two, `__style__` a listed word.

Braces may stand in each other. `\` before a brace, a bar, an underscore or another `\` takes its meaning away. What
is drawn from a template is `worker.pipelines.expanding.drawing`'s business.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

MAX_DEPTH = 20
"""Braces within braces."""
MAX_OPTIONS = 1000
MAX_CHOICES = 100
"""Pairs of braces and lists in one template."""
_WILDCARD = re.compile(r"__([A-Za-z][A-Za-z0-9-]*(?:_[A-Za-z0-9-]+)*)__")
_COUNT = re.compile(r"\s*(\d{1,4})(?:-(\d{1,4}))?\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)::")
_ESCAPED = frozenset("{}|_\\")


class TemplateError(ValueError):
    """What is wrong, and where: `at` counts characters from 1."""

    def __init__(self, message: str, at: int) -> None:
        """`message` quotes nothing of the template."""
        super().__init__(f"Character {at}: {message}")
        self.at = at


@dataclass(frozen=True)
class Wildcard:
    """A word of the list of that name."""

    name: str


@dataclass(frozen=True)
class Choice:
    """Between `least` and `most` different ones of the options; the larger its weight, the likelier each."""

    options: tuple["Template", ...]
    weights: tuple[float, ...]
    least: int = 1
    most: int = 1


Part = str | Wildcard | Choice


@dataclass(frozen=True)
class Template:
    """Parts that stand one after the other."""

    parts: tuple[Part, ...]

    @property
    def plain(self) -> bool:
        """Whether there is nothing to choose."""
        return all(isinstance(part, str) for part in self.parts)


def parse(text: str, wildcards: Collection[str]) -> Template:
    """Read a template.

    Raises:
        TemplateError: a brace without its other half, a list that is not among `wildcards`, a count or a weight that
            leaves nothing to choose.
    """
    return _Parser(text, wildcards).whole()


class _Parser:
    """From left to right, one character at a time."""

    def __init__(self, text: str, wildcards: Collection[str]) -> None:
        self._text = text
        self._at = 0
        self._choices = 0
        self._wildcards = wildcards

    def whole(self) -> Template:
        found = self._sequence(depth=0)
        if self._at < len(self._text):
            raise TemplateError("this } closes no {; for the character itself write \\}.", self._at + 1)
        return found

    def _sequence(self, depth: int) -> Template:
        """Up to the end, or to the bar or brace that ends an option."""
        parts: list[Part] = []
        letters: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "}" or (character == "|" and depth):
                break
            found = self._special(character, depth)
            if isinstance(found, str):
                letters.append(found)
                continue
            if letters:
                parts.append("".join(letters))
                letters = []
            parts.append(found)
        return Template((*parts, "".join(letters)) if letters else tuple(parts))

    def _special(self, character: str, depth: int) -> Part:
        """The part that begins here, or one letter; steps over it."""
        if character == "{":
            self._count_choice()
            return self._choice(depth + 1)
        if character == "\\" and self._text[self._at + 1 : self._at + 2] in _ESCAPED:
            self._at += 2
            return self._text[self._at - 1 : self._at] or character
        if found := _WILDCARD.match(self._text, self._at):
            return self._wildcard(found)
        self._at += 1
        return character

    def _count_choice(self) -> None:
        self._choices += 1
        if self._choices > MAX_CHOICES:
            raise TemplateError(f"at most {MAX_CHOICES} choices and lists go into one prompt.", self._at + 1)

    def _wildcard(self, found: re.Match[str]) -> Wildcard:
        self._count_choice()
        name = found[1].lower()
        if name not in self._wildcards:
            known = ", ".join(sorted(self._wildcards))
            raise TemplateError(f"there is no list of that name; there are: {known}.", self._at + 1)
        self._at = found.end()
        return Wildcard(name)

    def _choice(self, depth: int) -> Choice:
        begin = self._at + 1
        if depth > MAX_DEPTH:
            raise TemplateError(f"braces stand at most {MAX_DEPTH} deep in each other.", begin)
        self._at += 1
        least, most = self._count(begin)
        options, weights = self._options(depth, begin)
        possible = sum(weight > 0 for weight in weights)
        if most > possible:
            raise TemplateError(f"{most} are to be chosen, and there are {possible} to choose from.", begin)
        return Choice(options, weights, least, most)

    def _count(self, begin: int) -> tuple[int, int]:
        found = _COUNT.match(self._text, self._at)
        if found is None:
            return 1, 1
        self._at = found.end()
        least, most = int(found[1]), int(found[2] or found[1])
        if least > most:
            raise TemplateError("the smaller count comes first.", begin)
        return least, most

    def _options(self, depth: int, begin: int) -> tuple[tuple[Template, ...], tuple[float, ...]]:
        """Up to the closing brace and over it. What stands there twice is one option with both weights."""
        weights: dict[Template, float] = {}
        while True:
            weight = _WEIGHT.match(self._text, self._at)
            if weight is not None:
                self._at = weight.end()
            option = self._sequence(depth)
            weights[option] = weights.get(option, 0.0) + (1.0 if weight is None else float(weight[1]))
            if self._at >= len(self._text):
                raise TemplateError("this { is never closed; for the character itself write \\{.", begin)
            if len(weights) > MAX_OPTIONS:
                raise TemplateError(f"at most {MAX_OPTIONS} options stand in one pair of braces.", begin)
            self._at += 1
            if self._text[self._at - 1] == "}":
                return tuple(weights), tuple(weights.values())
