"""Texts from a template: drawn from a seed, and all of them one by one when drawing finds no new ones."""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, permutations

from worker.pipelines.expanding.template import Choice, Part, Template

TRIES = 20
"""Draws for each text that is wanted, before all texts are gone through."""
MAX_GONE_THROUGH = 20_000
ENGLISH_COMMA, CHINESE_COMMA = ", ", "，"  # noqa: RUF001  # Chinese has a comma of its own
_REPEATED = re.compile(rf"([,{CHINESE_COMMA}])(?:\s*[,{CHINESE_COMMA}])+")


@dataclass(frozen=True)
class Drawer:
    """What the templates of one language draw from."""

    words: Mapping[str, Sequence[str]]
    """By the name of the list."""
    comma: str = ENGLISH_COMMA

    def draw(self, template: Template, chance: random.Random) -> str:
        """One text."""
        return tidy("".join(self._draw(part, chance) for part in template.parts))

    def every(self, template: Template) -> Iterator[str]:
        """Every text, some more than once where two ways lead to it."""
        return map(tidy, self._sequences(template))

    def _draw(self, part: Part, chance: random.Random) -> str:
        if isinstance(part, str):
            return part
        if not isinstance(part, Choice):
            return chance.choice(self.words[part.name])
        chosen = _weighted(part.weights, chance.randint(part.least, part.most), chance)
        return self.comma.join(
            "".join(self._draw(inner, chance) for inner in part.options[place].parts) for place in chosen
        )

    def _sequences(self, template: Template) -> Iterator[str]:
        if not template.parts:
            yield ""
            return
        first, rest = template.parts[0], Template(template.parts[1:])
        for begin in self._ways(first):
            for end in self._sequences(rest):
                yield begin + end

    def _ways(self, part: Part) -> Iterator[str]:
        if isinstance(part, str):
            return iter((part,))
        if not isinstance(part, Choice):
            return iter(self.words[part.name])
        possible = [option for option, weight in zip(part.options, part.weights, strict=True) if weight > 0]
        counts = range(part.least, part.most + 1)
        return chain.from_iterable(self._joined(chosen) for count in counts for chosen in permutations(possible, count))

    def _joined(self, options: Sequence[Template]) -> Iterator[str]:
        if not options:
            yield ""
            return
        for begin in self._sequences(options[0]):
            for end in self._joined(options[1:]):
                yield self.comma.join((begin, end)) if len(options) > 1 else begin


def different(count: int, draw: Callable[[int], str], every: Callable[[], Iterator[str]]) -> tuple[list[str], int]:
    """`count` texts, no two alike as far as there are so many, and how many of them are.

    `draw(n)` is the nth draw; `every()` goes through all, for what draws hit too rarely. What is missing then is drawn
    again, so that each index that was asked for has a text.
    """
    found: dict[str, None] = {}
    for at in range(count * TRIES):
        found.setdefault(draw(at))
        if len(found) == count:
            return list(found), count
    for text in islice(every(), MAX_GONE_THROUGH):
        found.setdefault(text)
        if len(found) == count:
            return list(found), count
    return [*found, *(draw(at) for at in range(count - len(found)))], len(found)


def tidy(text: str) -> str:
    """One line, without the double blanks and lonely commas that empty options leave."""
    line = _REPEATED.sub(r"\1", " ".join(text.split())).replace(" ,", ",")
    return line.strip(f" ,{CHINESE_COMMA}")


def _weighted(weights: Sequence[float], count: int, chance: random.Random) -> list[int]:
    """Places of `count` different options, in the order in which they are drawn."""
    left = {place: weight for place, weight in enumerate(weights) if weight > 0}
    chosen = []
    for _ in range(count):
        (place,) = chance.choices(list(left), list(left.values()))
        del left[place]
        chosen.append(place)
    return chosen
