"""Params: one entry per wrong field, defaults from the checkpoint, and nothing gets in that could not be stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ValidationFailedError
from models.jobs import parse_task
from models.params import TASKS, CheckpointProfile, ClassToImageParams, TextToImageParams
from tests.seeding import PROFILE

ANIMALS = CheckpointProfile(class_names=("cat", "dog"))


def pointers(error: ValidationFailedError) -> set[str]:
    return {field.pointer for field in error.fields}


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        ({}, "/params/prompt", "missing"),
        ({"prompt": ""}, "/params/prompt", "string_too_short"),
        ({"prompt": "   "}, "/params/prompt", "value_error"),
        ({"prompt": "a\x00b"}, "/params/prompt", "value_error"),
        ({"prompt": "a", "colour": 1}, "/params/colour", "extra_forbidden"),
        ({"prompt": "a", "width": 7}, "/params/width", "greater_than_equal"),
        ({"prompt": "a", "guidance_scale": float("nan")}, "/params/guidance_scale", "finite_number"),
        ({"prompt": "a", "scheduler": "magic"}, "/params/scheduler", "enum"),
        ({"prompt": "a", "seed": -1}, "/params/seed", "greater_than_equal"),
        ({"prompt": "a", "seed": 2**60}, "/params/seed", "less_than_equal"),
    ],
)
def test_a_wrong_field_is_named(raw: dict[str, object], pointer: str, code: str) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        parse_task("text_to_image", raw)
    assert [(field.pointer, field.code) for field in refused.value.fields] == [(pointer, code)]


def test_every_wrong_field_gets_its_own_entry() -> None:
    with pytest.raises(ValidationFailedError) as refused:
        parse_task("text_to_image", {"prompt": 3, "width": "wide", "x/y": 0})
    assert pointers(refused.value) == {"/params/prompt", "/params/width", "/params/x~1y"}


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValidationFailedError, match="text_to_image"):
        parse_task("text_to_music", {})


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ({"width": 256}, "/params/width"),
        ({"height": 8}, "/params/height"),
        ({"width": 68}, "/params/width"),
        ({"num_inference_steps": 1000}, "/params/num_inference_steps"),
        ({"prompt": "a" * 201}, "/params/prompt"),
        ({"negative_prompt": "a" * 201}, "/params/negative_prompt"),
        ({"num_images": 5}, "/params/num_images"),
    ],
)
def test_what_the_checkpoint_does_not_allow_is_refused(raw: dict[str, object], pointer: str) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        parse_task("text_to_image", {"prompt": "a", **raw}).resolved(PROFILE)
    assert pointers(refused.value) == {pointer}


def test_resolving_fills_in_the_checkpoints_defaults_and_draws_a_seed() -> None:
    params = parse_task("text_to_image", {"prompt": "a"}).resolved(PROFILE)
    assert isinstance(params, TextToImageParams)
    assert (params.width, params.height, params.num_inference_steps) == (64, 64, 4)
    assert params.guidance_scale == PROFILE.default_guidance
    assert params.seed is not None
    assert params.cost() == 8


def test_params_survive_the_trip_through_json() -> None:
    params = parse_task("text_to_image", {"prompt": "一只猫", "seed": 1}).resolved(PROFILE)
    again = TASKS["text_to_image"].model_validate(json.loads(json.dumps(params.model_dump(mode="json"))))
    assert again == params


def test_a_class_is_taken_by_name_or_by_index() -> None:
    by_name = parse_task("class_to_image", {"class_label": "dog"}).resolved(ANIMALS)
    assert isinstance(by_name, ClassToImageParams)
    assert by_name.class_label == 1
    for wrong in ("horse", 2, -1):
        with pytest.raises(ValidationFailedError) as refused:
            parse_task("class_to_image", {"class_label": wrong}).resolved(ANIMALS)
        assert pointers(refused.value) == {"/params/class_label"}


def test_the_shape_separates_what_one_call_cannot_do_together() -> None:
    def shape(**raw: object) -> tuple[object, ...]:
        return parse_task("text_to_image", {"prompt": "a", "seed": 1, **raw}).resolved(PROFILE).shape()

    plain = shape()
    assert shape(prompt="b", negative_prompt="c", seed=9) == plain
    changes = [
        {"width": 32},
        {"num_inference_steps": 9},
        {"guidance_scale": 1.5},
        {"scheduler": "ddim"},
        {"num_images": 2},
    ]
    assert plain not in [shape(**change) for change in changes]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(raw=st.dictionaries(st.sampled_from([*TextToImageParams.model_fields, "class_label", "x"]), json_values))
def test_nothing_but_our_own_error_comes_out_of_parsing(raw: dict[str, object]) -> None:
    pointers_found: set[str] = set()
    for task in TASKS:
        try:
            parse_task(task, raw).resolved(PROFILE)
        except ValidationFailedError as error:
            pointers_found.update(pointers(error))
    assert all(pointer.startswith("/params") for pointer in pointers_found)
