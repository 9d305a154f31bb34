# ruff: noqa: RUF001 - Chinese text has full-width commas
"""Prompts by the grammar: what its marks mean, what is wrong with broken ones, and words in the prompt's language."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder
from tests.pipelines.expanding.asked import asked, said
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline
from worker.pipelines.expanding.by_grammar import expand
from worker.pipelines.expanding.template import TemplateError, parse
from worker.pipelines.expanding.wordlists import CHINESE, ENGLISH, drawer
from worker.training.nouns import nouns


@pytest.fixture
def grammar(cpu: Device) -> Pipeline:
    files = CheckpointFiles("prompt-grammar", Path(), "grammar", CheckpointProfile(), {})
    return load_family("grammar").setup(files, cpu)


def texts(prompt: str, **params: Any) -> list[str]:
    item = asked(prompt, **params)
    return list(expand(item, item.params).texts)  # type: ignore[arg-type]


def test_choices_may_stand_in_each_other() -> None:
    assert set(texts("a {red|{light|dark} blue} fox", num_prompts=3)) == {
        "a red fox", "a light blue fox", "a dark blue fox",
    }  # fmt: skip


def test_heavier_options_come_more_often() -> None:
    drawn = Counter(texts("{9::a|1::b|0::c}", num_prompts=1, seed=seed)[0] for seed in range(300))
    assert set(drawn) == {"a", "b"}
    assert 240 <= drawn["a"] <= 295


def test_several_options_are_different_ones() -> None:
    assert set(texts("{2$$a|b|c}", num_prompts=6)) == {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}
    assert set(texts("x{0-1$$a|b}", num_prompts=3)) == {"x", "xa", "xb"}
    assert set(texts("{2$$猫|狗}", num_prompts=2)) == {"猫，狗", "狗，猫"}


def test_marks_can_be_escaped() -> None:
    assert texts(r"a \{b\|c\} \__style__ \\ {d}") == [r"a {b|c} __style__ \ d"]
    assert texts("a | b, {c}") == ["a | b, c"]


def test_wildcards_take_words_of_the_prompts_language() -> None:
    (english,) = texts("a __colour__ fox __place__")
    colour, place = english.removeprefix("a ").split(" fox ")
    assert colour in drawer(ENGLISH).words["colour"]
    assert place in drawer(ENGLISH).words["place"]
    (chinese,) = texts("一只__colour__的__subject__")
    colour, subject = chinese.removeprefix("一只").split("的")
    assert colour in drawer(CHINESE).words["colour"]
    assert subject in drawer(CHINESE).words["subject"]


@pytest.mark.parametrize(("prompt", "language", "comma"), [("a cat", ENGLISH, ", "), ("橘猫", CHINESE, "，")])
def test_a_plain_prompt_gets_words_of_its_own_language(prompt: str, language: str, comma: str) -> None:
    words = drawer(language).words
    for text in texts(prompt, num_prompts=20):
        first, style, light, *mood = text.split(comma)
        assert (first, style in words["style"], light in words["light"]) == (prompt, True, True)
        assert set(mood) <= set(words["mood"])
    begins = [text.split(comma)[0] for text in texts(prompt, num_prompts=5, keep_words=False)]
    assert set(begins) <= set(words["style"])


def test_no_two_are_alike_as_long_as_there_are_so_many(grammar: Pipeline) -> None:
    """Even where drawing alone would hardly ever come upon the rare ones."""
    enough, short, plain = said(
        grammar,
        [
            asked("{999999::a|1::b|1::c}{999999::x|1::y}", num_prompts=6),
            asked("{a|b}", num_prompts=4),
            asked("cat", num_prompts=64),
        ],
    )
    assert len(set(enough["texts"])) == 6
    assert enough["notes"] == []
    assert (len(short["texts"]), set(short["texts"])) == (4, {"a", "b"})
    assert short["notes"] == ["Only 2 of them differ: the prompt leaves no more choices."]
    assert len(set(plain["texts"])) == 64
    assert (plain["method"], plain["cached"]) == ("grammar", False)


def test_the_seed_decides() -> None:
    prompt = "a __colour__ __subject__ __place__, __style__"
    assert texts(prompt, num_prompts=4, seed=7) == texts(prompt, num_prompts=4, seed=7)
    assert texts(prompt, seed=7) != texts(prompt, seed=8)
    assert texts(prompt, num_prompts=2, seed=7) == texts(prompt, num_prompts=4, seed=7)[:2]


@pytest.mark.parametrize(
    ("prompt", "at", "message"),
    [
        ("a {red|blue fox", 3, "never closed"),
        ("a {red|{blue} fox", 3, "never closed"),
        ("a red} fox", 6, "closes no"),
        ("a fox in __garden__", 10, "camera, colour, light, mood, place, style, subject"),
        ("{3$$a|b}", 1, "3 are to be chosen, and there are 2"),
        ("x {2$$a|a}", 3, "2 are to be chosen, and there are 1"),
        ("{2-1$$a|b}", 1, "smaller count comes first"),
        ("{0::a}", 1, "there are 0 to choose from"),
        ("{" * 21 + "a" + "}" * 21, 21, "20 deep"),
        ("{a}" * 101, 301, "at most 100"),
        ("{" + "|".join(f"{number}" for number in range(1002)) + "}", 1, "1000 options"),
    ],
)
def test_broken_ones_are_told_with_the_place(prompt: str, at: int, message: str) -> None:
    item = asked(prompt)
    with pytest.raises(InvalidInputError, match=message) as caught:
        texts(prompt)
    assert caught.value.detail.startswith(f"Character {at}: ")
    assert caught.value.extra["field"] == "/params/prompt"
    with pytest.raises(InvalidInputError) as caught:
        expand(item, item.params)  # type: ignore[arg-type]
    assert caught.value.extra["job_id"] == str(item.job_id)


@given(st.text("{}|_$:\\123.,ab 猫-", max_size=60))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    source, places = drawer(ENGLISH), []
    try:
        assert next(source.every(parse(text, source.words))) is not None
    except TemplateError as error:
        places.append(error.at)
    assert all(1 <= place <= len(text) for place in places)
    if text.strip() and not places:
        item = asked(text)
        assert all("\n" not in made for made in expand(item, item.params).texts)  # type: ignore[arg-type]


def test_prompts_of_many_choices_are_gone_through_without_end_of_the_stack() -> None:
    assert texts("{1::a|0::b} " * 100, num_prompts=2) == [" ".join("a" * 100)] * 2


def test_lists_agree_in_both_languages_and_the_starter_knows_the_subjects() -> None:
    english, chinese = drawer(ENGLISH).words, drawer(CHINESE).words
    assert english.keys() == chinese.keys()
    assert all(len(set(words)) == len(words) >= 40 for words in (*english.values(), *chinese.values()))
    known = {(noun.english, noun.chinese) for noun in nouns()}
    assert set(zip(english["subject"], chinese["subject"], strict=True)) <= known


def test_stopped_items_say_nothing(grammar: Pipeline) -> None:
    items = [asked("a cat"), asked("a dog")]
    assert len(said(grammar, items, Recorder(stopped_ids={items[0].job_id}))) == 1
    with pytest.raises(StoppedError):
        said(grammar, items, Recorder(stopped_ids={item.job_id for item in items}))
