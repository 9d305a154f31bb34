"""Words that prompts may not have."""

import pytest

from models.params.words import has_blocked_word

BLOCKED = ("Sword", "gun*", "血", "naked man", "straße")


@pytest.mark.parametrize(
    "text",
    [
        "a SWORD!",
        "\uff53\uff57\uff4f\uff52\uff44 on grass",
        "gunpowder",
        "a gun.",
        "满是血的手",
        "one naked man, two",
        "STRASSE",
        "a_b sword",
    ],
)
def test_it_is_found_whatever_its_case_and_width(text: str) -> None:
    assert has_blocked_word(text, BLOCKED)


@pytest.mark.parametrize("text", ["swordfish", "password", "begun", "naked mannequin", "", "一只猫", "stras"])
def test_a_word_that_only_contains_it_is_not_meant(text: str) -> None:
    assert not has_blocked_word(text, BLOCKED)


def test_nothing_blocks_nothing() -> None:
    assert not has_blocked_word("anything", ("", " ", "*"))
