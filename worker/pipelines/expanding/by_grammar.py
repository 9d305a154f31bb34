"""Prompts from a prompt by the grammar: its own choices, or where it has none, fitting words of its language."""

import random

from models.errors import InvalidInputError
from models.params import ExpandPromptParams
from worker.pipelines.base import Item
from worker.pipelines.expanding.drawing import different
from worker.pipelines.expanding.expanded import Expanded
from worker.pipelines.expanding.template import Choice, Template, TemplateError, Wildcard, parse
from worker.pipelines.expanding.wordlists import drawer, language_of

METHOD = "grammar"
STOPS = (".", "!", "?", "。", "！", "？")  # noqa: RUF001  # the Chinese ones are wide
_SOME_MOOD = Choice((Template((Wildcard("mood"),)), Template(())), (1.0, 1.0))


def expand(item: Item, params: ExpandPromptParams) -> Expanded:
    """As many texts as are asked for.

    Raises:
        InvalidInputError: the template is broken; says at which character.
    """
    language = language_of(params.prompt)
    source = drawer(language)
    try:
        template = parse(params.prompt, source.words.keys())
    except TemplateError as error:
        raise InvalidInputError(str(error), job_id=str(item.job_id), field="/params/prompt") from error
    if template.plain:
        template = _with_words(template, source.comma, first=params.keep_words)
    texts, alike = different(
        params.num_prompts,
        lambda at: source.draw(template, _chance(item.seed, at)),
        lambda: source.every(template),
    )
    notes = [] if alike == params.num_prompts else [f"Only {alike} of them differ: the prompt leaves no more choices."]
    return Expanded(tuple(texts), METHOD, notes=tuple(notes))


def _with_words(plain: Template, comma: str, *, first: bool) -> Template:
    """The prompt, then a style, a light, and often a mood; the style goes first where the prompt need not."""
    style, rest = Wildcard("style"), (Wildcard("light"), comma, _SOME_MOOD)
    if not first:
        return Template((style, comma, *plain.parts, comma, *rest))
    text = "".join(part for part in plain.parts if isinstance(part, str)).rstrip()
    joint = comma.strip(",，") if text.endswith(STOPS) else comma  # noqa: RUF001  # a Chinese comma
    return Template((*plain.parts, joint, style, comma, *rest))


def _chance(seed: int, at: int) -> random.Random:
    """Of one draw. Python hashes a text for its state, so neighbouring seeds have nothing in common."""
    return random.Random(f"{seed}/{at}")
