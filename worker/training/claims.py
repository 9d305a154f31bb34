# ruff: noqa: RUF001 - Chinese text has full-width commas
"""Claims: texts that name some of a picture's noun, style and background, and which pictures each of them fits.

The captions of :mod:`worker.training.captions` describe a whole composite. A model that judges pictures must also know
what ``a cat``, ``3d`` and ``红色背景`` mean by themselves; those wordings live here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from worker.training.backgrounds import BACKGROUNDS
from worker.training.captions import (
    CHINESE_ALIASES,
    CHINESE_COLOURS,
    CHINESE_SCENES,
    CHINESE_STYLES,
    ENGLISH_ALIASES,
    ENGLISH_SCENES,
    article,
    chinese,
    english,
    pick,
)
from worker.training.composites import Combination, is_held_out
from worker.training.nouns import nouns
from worker.training.sprites import STYLES

UNNAMED: Final = -1
STYLE_RATE: Final = 0.8
PLACELESS_RATE: Final = 0.15
LANGUAGES: Final = ("en", "zh")
AXES: Final = ("noun", "style", "background")

ENGLISH_NOUNS: Final = ("{a}{n}", "{a}{n}", "{n}", "a picture of {a}{n}", "an emoji of {a}{n}", "{n} emoji")
CHINESE_NOUNS: Final = ("{n}", "{n}", "一个{n}", "一只{n}", "一张{n}的图片", "{n}的表情")
ENGLISH_STYLE: Final = ("{s}", "{s} style", "a {s} picture", "a {s} emoji", "in {s} style")
CHINESE_STYLE: Final = ("{s}", "{s}风格", "{s}风格的图片", "一张{s}图片", "{s}的")
ENGLISH_GROUND: Final = ("{g} {b} background", "on {g} {b} background", "{b} background", "on {b}")
CHINESE_GROUND: Final = ("{b}背景", "{b}的背景", "在{b}背景上", "{b}背景上的图片")


@dataclass(frozen=True, slots=True)
class Claim:
    """A text and what it names: indices into the tables, ``UNNAMED`` where it says nothing."""

    text: str
    noun: int = UNNAMED
    style: int = UNNAMED
    background: int = UNNAMED


def named(claims: Sequence[Claim]) -> Tensor:
    """What each claim names: ``(T, 3)`` integers."""
    return torch.tensor([[claim.noun, claim.style, claim.background] for claim in claims])


def shown_in(items: Sequence[Combination]) -> Tensor:
    """What each picture shows: ``(B, 3)`` integers."""
    return torch.tensor([[item.noun, item.style, item.background] for item in items])


def fits(shown: Tensor, claimed: Tensor) -> Tensor:
    """Which claims are true of which pictures: ``(B, 3)`` and ``(T, 3)`` to booleans ``(B, T)``."""
    return ((claimed[None] == UNNAMED) | (claimed[None] == shown[:, None])).all(dim=2)


def noun_text(noun: int, language: str, rng: np.random.Generator) -> str:
    """A text that names a noun only."""
    entry = nouns()[noun]
    if language == "zh":
        name = pick((entry.chinese, entry.chinese, *CHINESE_ALIASES.get(entry.english, ())), rng)
        return pick(CHINESE_NOUNS, rng).format(n=name)
    name = pick((entry.english, entry.english, *ENGLISH_ALIASES.get(entry.english, ())), rng)
    return pick(ENGLISH_NOUNS, rng).format(a=article(name), n=name)


def style_text(style: int, language: str, rng: np.random.Generator) -> str:
    """A text that names a style only."""
    if language == "zh":
        return pick(CHINESE_STYLE, rng).format(s=pick(CHINESE_STYLES[STYLES[style]], rng))
    return pick(ENGLISH_STYLE, rng).format(s=STYLES[style])


def background_text(background: int, language: str, rng: np.random.Generator) -> str:
    """A text that names a background only."""
    entry = BACKGROUNDS[background]
    if entry.rgb is None:
        if language == "zh":
            return pick(CHINESE_SCENES[entry.english], rng).format(x="").removesuffix("的").strip("，")
        return pick((entry.english, *ENGLISH_SCENES[entry.english]), rng)
    if language == "zh":
        colour = pick(CHINESE_COLOURS.get(entry.english, (entry.chinese,)), rng)
        return pick(CHINESE_GROUND, rng).format(b=colour)
    return pick(ENGLISH_GROUND, rng).format(b=entry.english, g=article(entry.english).strip())


def styled_noun_text(combination: Combination, language: str, rng: np.random.Generator) -> str:
    """A text that names noun and style, and leaves the background open."""
    entry, style = nouns()[combination.noun], STYLES[combination.style]
    if language == "zh":
        word = pick(CHINESE_STYLES[style], rng)
        return pick(("{s}{n}", "{s}风格的{n}", "{s}的{n}"), rng).format(s=word, n=entry.chinese)
    a = article(style) if article(entry.english) else ""
    return pick(("{a}{s} {n}", "{s} {n}"), rng).format(a=a, s=style, n=entry.english)


def describe(combination: Combination, rng: np.random.Generator) -> Claim:
    """A claim true of a combination that names at least its noun, in either language."""
    language = pick(LANGUAGES, rng)
    if rng.random() < PLACELESS_RATE:
        return Claim(styled_noun_text(combination, language, rng), combination.noun, combination.style)
    write, style = (chinese if language == "zh" else english), rng.random() < STYLE_RATE
    text = write(combination, rng, style=style, bare_white=False)
    return Claim(text, combination.noun, combination.style if style else UNNAMED, combination.background)


def near_miss(combination: Combination, rng: np.random.Generator) -> Combination:
    """A combination that differs in one of noun, style and background, and is not held out either."""
    sizes = {"noun": len(nouns()), "style": len(STYLES), "background": len(BACKGROUNDS)}
    while True:
        axis = pick(AXES, rng)
        parts = {name: getattr(combination, name) for name in AXES}
        parts[axis] = (parts[axis] + int(rng.integers(1, sizes[axis]))) % sizes[axis]
        missed = Combination(**parts)
        if not is_held_out(missed):
            return missed


def vocabulary(axis: str, rng: np.random.Generator, language: str | None = None) -> list[Claim]:
    """One claim for every entry of an axis, in a random wording; without a language, each in either."""
    write, size = {
        "noun": (noun_text, len(nouns())),
        "style": (style_text, len(STYLES)),
        "background": (background_text, len(BACKGROUNDS)),
    }[axis]
    return [Claim(write(index, language or pick(LANGUAGES, rng), rng), **{axis: index}) for index in range(size)]
