"""What a training is told at submit: a taken name, classes and splits that are not there, a base that is none."""

from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder
from tests.zips import image_folder, zipped


@pytest.fixture
def data_set(caller: Caller, seed: Seeder) -> dict[str, str]:
    """An upload without classes, with one split; and a trainer."""
    seed.checkpoint("trainer", family="trainer", tasks=("train",))
    files = {f"train/{name}": body for name, body in zip("abc", image_folder({"x": 3}).values(), strict=True)}
    body = zipped({f"{name}.png": body for name, body in files.items()})
    return {"upload": caller.upload(body, media_type="application/zip").json["id"]}


def submit(caller: Caller, data_set: dict[str, str], **params: Any) -> Any:
    given = {"data_set": data_set, "method": "dcgan", "name": "mine"} | params
    return caller.post("/v1/jobs", {"task": "train", "params": given})


def test_a_training_that_can_be_is_queued(caller: Caller, data_set: dict[str, str], seed: Seeder) -> None:
    assert submit(caller, data_set).status_code == 202
    assert submit(caller, data_set, method="vae", name="other").status_code == 202
    seed.checkpoint("base")
    assert submit(caller, data_set, method="lora", base="base").status_code == 202


def test_what_cannot_be_is_said_at_once(caller: Caller, data_set: dict[str, str], seed: Seeder) -> None:
    seed.checkpoint("taken")
    seed.checkpoint("adapter", family="lora", tasks=())
    wrong = (
        ({"name": "taken"}, "/params/name", "name_taken"),
        ({"method": "conditional_gan"}, "/params/data_set", "no_classes"),
        ({"method": "class_diffusion"}, "/params/data_set", "no_classes"),
        ({"split": "tuning"}, "/params/split", "split_unknown"),
        ({"method": "lora", "base": "nothing"}, "/params/base", "checkpoint_unknown"),
        ({"method": "lora", "base": "adapter"}, "/params/base", "checkpoint_without_task"),
        ({"method": "lora"}, "/params/base", "value_error"),
        ({"method": "dcgan", "base": "taken"}, "/params/base", "value_error"),
        ({"name": "../up"}, "/params/name", "string_pattern_mismatch"),
        ({"image_size": 48}, "/params/image_size", "literal_error"),
    )
    for params, pointer, code in wrong:
        found = assert_problem(submit(caller, data_set, **params), 422, "validation_failed")["errors"]
        assert [(entry["pointer"], entry["code"]) for entry in found] == [(pointer, code)], params


def test_a_data_set_that_a_job_will_make_is_not_judged_yet(
    caller: Caller, data_set: dict[str, str], seed: Seeder
) -> None:
    seed.checkpoint("preprocess", family="preprocess", tasks=("preprocess",))
    steps = [{"task": "train", "params": {"method": "class_diffusion", "name": "mine", "split": "tuning"}}]
    answer = caller.post("/v1/jobs", {"task": "preprocess", "params": {"data_set": data_set}, "then": steps})
    assert answer.status_code == 202, answer.text
