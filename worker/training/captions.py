# ruff: noqa: RUF001 - Chinese text has full-width commas
"""Captions: what a composite shows, said in English or Chinese, in many wordings.

A caption names the noun, usually the background, and the style about two times in three. Plain white may go unnamed,
so that a bare noun means a white ground. Held-out combinations are never drawn, so nothing ever describes them.
"""

from functools import cache
from typing import Final

import numpy as np

from worker.training.backgrounds import BACKGROUNDS
from worker.training.composites import Combination
from worker.training.nouns import nouns
from worker.training.sprites import STYLES

DROP_RATE: Final = 0.1
STYLE_RATE: Final = 0.7
UNNAMED_WHITE_RATE: Final = 0.3

# Other words for a noun. A colour stands only where the thing has it in all three styles.
ENGLISH_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "cat": ("orange cat", "kitty"),
    "dog": ("puppy",),
    "rabbit": ("bunny",),
    "pig": ("pink pig",),
    "elephant": ("grey elephant",),
    "polar bear": ("white bear",),
    "bear": ("brown bear",),
    "frog": ("green frog",),
    "chick": ("yellow chick", "baby chick"),
    "apple": ("red apple",),
    "rose": ("red rose",),
    "banana": ("yellow banana",),
    "lemon": ("yellow lemon",),
    "strawberry": ("red strawberry",),
    "car": ("red car", "automobile"),
    "fire truck": ("red fire truck", "fire engine"),
    "taxi": ("yellow taxi",),
    "bicycle": ("bike",),
    "airplane": ("plane", "aeroplane"),
    "television": ("tv",),
    "phone": ("mobile phone", "smartphone"),
    "laptop": ("computer",),
    "donut": ("doughnut",),
    "ufo": ("flying saucer",),
    "santa": ("santa claus",),
    "chicken": ("hen",),
    "orange fruit": ("tangerine",),
    "french fries": ("fries",),
    "hamburger": ("burger",),
    "gift": ("present",),
}
CHINESE_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "cat": ("橘猫", "小猫", "猫咪"),
    "dog": ("小狗", "狗狗"),
    "rabbit": ("小兔子",),
    "pig": ("小猪", "粉色的猪"),
    "elephant": ("灰色的大象",),
    "polar bear": ("白熊",),
    "bear": ("棕熊",),
    "frog": ("绿色的青蛙",),
    "chick": ("小黄鸡",),
    "apple": ("红苹果",),
    "rose": ("红玫瑰",),
    "banana": ("黄香蕉",),
    "lemon": ("黄柠檬",),
    "strawberry": ("红草莓",),
    "car": ("红色的汽车", "小汽车"),
    "fire truck": ("红色的消防车",),
    "bicycle": ("单车",),
    "television": ("电视",),
    "laptop": ("电脑",),
    "orange fruit": ("桔子",),
    "horse": ("小马",),
    "tree": ("树",),
    "bird": ("鸟",),
    "fish": ("小鱼",),
}
ENGLISH_STYLES: Final = {"flat": ("flat", "flat"), "cartoon": ("cartoon", "cartoon"), "3d": ("3d", "3d")}
CHINESE_STYLES: Final = {"flat": ("扁平", "扁平"), "cartoon": ("卡通", "卡通"), "3d": ("3d", "立体")}

ENGLISH_PLAIN: Final = (
    "{a}{s}{n} on {g} {b} background",
    "{a}{s}{n} on {b}",
    "{a}{s}{n} against {g} {b} background",
    "{a}{s}{n} with {g} {b} background",
    "{s}{n}, {b} background",
    "{g} {b} background with {a}{s}{n}",
    "{b} background, {s}{n}",
    "{n}{t}, {b} background",
    "{a}{n}{t} on {g} {b} background",
    "a picture of {a}{s}{n} on {g} {b} background",
    "an emoji of {a}{s}{n} on {b}",
)
CHINESE_PLAIN: Final = (
    "{b}背景上的{s}{n}",
    "{b}背景上的{m}{s}{n}",
    "{m}{s}{n}在{b}背景上",
    "{s}{n}，{b}背景",
    "{b}背景，{s}{n}",
    "{b}背景的{s}{n}",
    "{m}{s}{n}，{b}背景",
    "{b}背景上有{m}{s}{n}",
    "{n}{t}，{b}背景",
    "一张{b}背景的{s}{n}图片",
    "{b}的背景上，{m}{s}{n}",
)
ENGLISH_SCENES: Final[dict[str, tuple[str, ...]]] = {
    "grass": ("on the grass", "sitting on the grass", "standing on grass", "in a meadow", "on grass", "in the grass"),
    "sea": ("on the sea", "at sea", "by the sea", "in front of the sea", "on the ocean", "in the sea"),
    "sand": ("on the sand", "on a beach", "sitting on the sand", "on the beach", "on sand", "standing on sand"),
    "night sky": ("in the night sky", "under the stars", "at night", "in front of a night sky", "under a night sky"),
}
CHINESE_SCENES: Final[dict[str, tuple[str, ...]]] = {
    "grass": ("草地上的{x}", "坐在草地上的{x}", "站在草地上的{x}", "{x}在草地上", "草地上有{x}", "{x}，草地"),
    "sea": ("大海上的{x}", "海边的{x}", "海上的{x}", "{x}在海边", "{x}，大海", "大海前的{x}"),
    "sand": ("沙滩上的{x}", "坐在沙滩上的{x}", "站在沙滩上的{x}", "{x}在沙滩上", "沙滩上有{x}", "{x}，沙滩"),
    "night sky": ("夜空中的{x}", "夜空下的{x}", "星空下的{x}", "{x}在夜空中", "{x}，夜空", "夜空里的{x}"),
}
CHINESE_COLOURS: Final[dict[str, tuple[str, ...]]] = {
    "orange": ("橙色", "橘色"),
    "pink": ("粉色", "粉红色"),
    "white": ("白色", "纯白色"),
}
MEASURES: Final = ("一个", "一只", "一只", "一个", "一张", "一辆", "一朵")


def article(noun: str) -> str:
    """``a``, ``an`` or nothing before a noun (nothing before a plural)."""
    if noun.endswith("s") and not noun.endswith(("ss", "us")):
        return ""
    return "an " if noun[0] in "aeiou" else "a "


def pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of the choices, evenly."""
    return choices[int(rng.integers(len(choices)))]


def english(combination: Combination, rng: np.random.Generator, *, style: bool, bare_white: bool = True) -> str:
    """One English caption. ``bare_white`` lets a white background go unnamed."""
    noun, background = nouns()[combination.noun].english, BACKGROUNDS[combination.background]
    noun = pick((noun, noun, *ENGLISH_ALIASES.get(noun, ())), rng)
    word = STYLES[combination.style] if style else ""
    before = f"{word} " if word else ""
    a = article(word or noun) if article(noun) else ""
    a = a if rng.random() < 0.8 else ""  # noqa: PLR2004 - people often leave the article out
    if background.rgb is None:
        thing = f"{a}{before}{noun}"
        place = pick(ENGLISH_SCENES[background.english], rng)
        return f"{thing}, {background.english}" if rng.random() < 0.15 else f"{thing} {place}"  # noqa: PLR2004 - rare
    if background.english == "white" and bare_white and rng.random() < UNNAMED_WHITE_RATE:
        return f"{a}{before}{noun}"
    after = f" in {word} style" if word else ""
    template = pick(ENGLISH_PLAIN, rng)
    bare = article(noun) if a and "{s}" not in template else a
    return template.format(
        a=bare, s=before, n=noun, b=background.english, t=after, g=article(background.english).strip()
    )


def chinese(combination: Combination, rng: np.random.Generator, *, style: bool, bare_white: bool = True) -> str:
    """One Chinese caption. ``bare_white`` lets a white background go unnamed."""
    noun, background = nouns()[combination.noun], BACKGROUNDS[combination.background]
    name = pick((noun.chinese, noun.chinese, *CHINESE_ALIASES.get(noun.english, ())), rng)
    word = pick(CHINESE_STYLES[STYLES[combination.style]], rng) if style else ""
    measure = pick(MEASURES, rng)
    before = pick((word, f"{word}风格的", f"{word}的"), rng) if word else ""
    if background.rgb is None:
        scene = pick(CHINESE_SCENES[background.english], rng)
        if scene.startswith("{x}") or "有" in scene:
            return scene.format(x=pick((measure, ""), rng) + before + name)
        return pick((measure, ""), rng) + scene.format(x=before + name)
    if background.english == "white" and bare_white and rng.random() < UNNAMED_WHITE_RATE:
        return pick((measure, ""), rng) + before + name
    after = f"，{word}风格" if word else ""
    colour = pick(CHINESE_COLOURS.get(background.english, (background.chinese,)), rng)
    return pick(CHINESE_PLAIN, rng).format(m=measure, s=before, n=name, b=colour, t=after)


def caption(combination: Combination, rng: np.random.Generator) -> str:
    """A training caption: either language, the style often named, empty once in ten for classifier-free guidance."""
    if rng.random() < DROP_RATE:
        return ""
    write = chinese if rng.random() < 0.5 else english  # noqa: PLR2004 - half and half
    return write(combination, rng, style=rng.random() < STYLE_RATE)


@cache
def corpus(language: str, wordings: int = 2) -> tuple[str, ...]:
    """Captions of every noun, style and background in ``wordings`` wordings, for training the tokenizer."""
    rng = np.random.default_rng(0)
    write = chinese if language == "zh" else english
    return tuple(
        write(Combination(noun, style, background), rng, style=True)
        for noun in range(len(nouns()))
        for style in range(len(STYLES))
        for background in range(len(BACKGROUNDS))
        for _ in range(wordings)
    )
