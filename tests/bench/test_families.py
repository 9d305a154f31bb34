"""The measurement of all families has a row for each, and its rows are jobs that their checkpoints take."""

import pytest

from bench.families import ROWS, Row
from models.bootstrap import STARTERS
from models.checkpoints.card import CARD_NAME, Card, read_card
from models.params import TASKS

OF_DATA_SETS = {"preprocess", "trainer"}
ELSEWHERE = {"openai_endpoint"}
"""Its speed is another machine's."""


def cards() -> dict[str, Card]:
    found = [read_card(path.parent) for path in STARTERS.glob(f"*/{CARD_NAME}")]
    return {card.name: card for card in found}


def test_every_family_with_a_checkpoint_of_ours_is_measured() -> None:
    measured = {cards()[row.checkpoint].family for row in ROWS}
    assert measured | OF_DATA_SETS | ELSEWHERE == {card.family for card in cards().values()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.checkpoint}, {row.task}")
def test_a_row_is_a_job_that_its_checkpoint_takes(row: Row) -> None:
    card = cards()[row.checkpoint]
    refs = {name: {"upload": "00000000-0000-0000-0000-000000000001"} for name in row.inputs}
    params = TASKS[row.task].model_validate({**row.params, **refs})
    assert row.task in card.tasks
    assert params.problems(card.profile) == []
