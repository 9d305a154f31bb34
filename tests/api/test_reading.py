"""Numbers of a body: what JSON calls an integer is one, however its sender writes it."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from api.reading import validated
from models.errors import ValidationFailedError
from tests.api.conftest import Caller
from tests.api.test_problems import assert_problem

PARAMS = '{"prompt": "a cat 1.0", "seed": 7, "num_inference_steps": %s, "guidance_scale": %s}'
BODY = '{"task": "text_to_image", "params": ' + PARAMS + "}"


def send(caller: Caller, steps: str, guidance: str = "7.5", **headers: str) -> Any:
    return caller.post("/v1/jobs", data=BODY % (steps, guidance), content_type="application/json", headers=headers)


def test_a_whole_number_may_be_written_with_a_point(caller: Caller) -> None:
    for steps in ("20", "20.0", "2e1"):
        answer = send(caller, steps, guidance="5.0")
        assert answer.status_code == 202, answer.text
        params = answer.json["params"]
        assert (params["num_inference_steps"], params["guidance_scale"], params["prompt"]) == (20, 5.0, "a cat 1.0")
        assert isinstance(params["num_inference_steps"], int)


def test_it_is_the_same_request_then(caller: Caller) -> None:
    first, second = (send(caller, steps, **{"Idempotency-Key": "same"}).json["id"] for steps in ("20", "20.0"))
    assert first == second


@pytest.mark.parametrize("steps", ["20.5", '"20"', "1e300", "1e999", "true", "9007199254740993.5"])
def test_what_is_no_whole_number_is_none(caller: Caller, steps: str) -> None:
    assert_problem(send(caller, steps), 422, "validation_failed")


@pytest.mark.parametrize("steps", ["NaN", "-Infinity", "20.", ".5", "[" * 10_000])
def test_what_is_no_number_of_json_is_broken(caller: Caller, steps: str) -> None:
    assert_problem(send(caller, steps), 400, "broken_json")


def test_an_entry_that_a_pair_lacks_is_told_by_its_place() -> None:
    class Pairs(BaseModel):
        points: tuple[tuple[float, float], ...]

    given = {"points": [[0.0, 1.0], [0.5]]}
    with pytest.raises(ValidationFailedError) as error:
        validated(lambda: Pairs.model_validate_json(json.dumps(given), strict=True), given)
    assert [(field.pointer, field.code) for field in error.value.fields] == [("/points/1/1", "missing")]
