"""Params of tasks that start from a picture: what is refused at submit, what may share a batch, what it costs."""

import uuid
from typing import Any

import pytest

from models.errors import ValidationFailedError
from models.jobs import parse_task
from models.params import CheckpointProfile
from models.params.edits import EDIT_STRENGTH

PROFILE = CheckpointProfile(default_width=64, default_height=64, default_steps=10, default_guidance=4.0)
IMAGE = {"upload": str(uuid.UUID(int=1))}
BOX = {"shape": "rectangle", "left": 0, "top": 0, "right": 1, "bottom": 1}


BY_STRENGTH = PROFILE.model_copy(update={"edits_by_strength": True})
BARE = CheckpointProfile(takes_base=True)


def resolved(task: str, profile: CheckpointProfile = PROFILE, **params: Any) -> Any:
    return parse_task(task, {"prompt": "a cat", "image": IMAGE} | params).resolved(profile)


def refused(task: str, profile: CheckpointProfile, **params: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailedError) as caught:
        resolved(task, profile, **params)
    return [(field.pointer, field.code) for field in caught.value.fields]


@pytest.mark.parametrize(
    ("task", "params", "pointer", "code"),
    [
        ("image_to_image", {"strength": 0.05}, "/params/strength", "too_weak"),
        ("image_to_image", {"strength": 0.2, "num_inference_steps": 4}, "/params/strength", "too_weak"),
        ("image_to_image", {"strength": 0}, "/params/strength", "greater_than"),
        ("inpaint", {"mask_shapes": [BOX], "strength": 0.09}, "/params/strength", "too_weak"),
        ("inpaint", {}, "/params/mask", "value_error"),
        ("inpaint", {"mask": IMAGE, "mask_automatic": "foreground"}, "/params/mask", "value_error"),
        (
            "inpaint",
            {"mask_shapes": [BOX, BOX | {"left": 1}]},
            "/params/mask_shapes/1/rectangle/left",
            "value_error",
        ),
        ("outpaint", {"zoom": 1}, "/params/zoom", "less_than_equal"),
        (
            "control",
            {"low_threshold": 0.5, "high_threshold": 0.2},
            "/params/low_threshold",
            "value_error",
        ),
        ("edit", {"image_guidance_scale": 0.5}, "/params/image_guidance_scale", "greater_than_equal"),
    ],
)
def test_what_cannot_be_done_names_its_field(task: str, params: dict[str, Any], pointer: str, code: str) -> None:
    assert refused(task, PROFILE, **params) == [(pointer, code)]


def test_each_kind_of_checkpoint_edits_by_its_own_dial() -> None:
    assert refused("edit", PROFILE, strength=0.5) == [("/params/strength", "not_used")]
    assert refused("edit", BY_STRENGTH, image_guidance_scale=1.5) == [("/params/image_guidance_scale", "not_used")]
    assert refused("edit", BY_STRENGTH, strength=0.05) == [("/params/strength", "too_weak")]
    led, anew = resolved("edit"), resolved("edit", BY_STRENGTH)
    assert (led.image_guidance_scale, led.strength) == (1.5, None)
    assert (anew.image_guidance_scale, anew.strength) == (None, EDIT_STRENGTH)
    assert (led.steps(), anew.steps(), resolved("edit", BY_STRENGTH, strength=0.6).steps()) == (30, 10, 12)
    assert anew.shape() != resolved("edit", BY_STRENGTH, strength=0.6, seed=anew.seed).shape()
    assert [parse_task("edit", {"prompt": "x", "image": IMAGE}).suits(one) for one in (PROFILE, BY_STRENGTH)] == [
        True,
        False,
    ]


def test_what_was_resolved_can_be_sent_again() -> None:
    for task, profile in (("edit", PROFILE), ("edit", BY_STRENGTH), ("control", BARE.over(PROFILE))):
        more = {"base": "a"} if task == "control" else {}
        once = resolved(task, profile, seed=1, **more)
        assert parse_task(task, once.model_dump(mode="json", exclude_none=True)).resolved(profile) == once


def test_a_controlnet_by_itself_needs_a_base_and_has_its_sizes() -> None:
    assert refused("control", PROFILE, base="emoji") == [("/params/base", "not_used")]
    assert refused("control", BARE) == [("/params/base", "missing")]
    assert resolved("control", BARE, base="emoji").base == "emoji"
    known = BARE.model_copy(update={"base": "emoji"}).over(PROFILE)
    params = resolved("control", known)
    assert (params.base, params.width, params.num_inference_steps) == ("emoji", 64, 10)
    other = resolved("control", known, base="photos", seed=params.seed)
    assert other.shape() != params.shape()
    with pytest.raises(ValueError, match="takes_base"):
        CheckpointProfile(base="emoji")


def test_a_strength_that_makes_one_step_is_enough() -> None:
    assert resolved("image_to_image", strength=0.1).steps() == 2  # guided
    assert resolved("image_to_image", strength=0.1, guidance_scale=1).steps() == 1


def test_the_cost_is_that_of_the_steps_that_are_made() -> None:
    assert resolved("image_to_image", strength=0.5).steps() == 10
    assert resolved("inpaint", mask_shapes=[BOX]).steps() == 20
    assert resolved("outpaint").steps() == 20
    assert resolved("edit").steps() == 30  # words and picture guide, each by a pass of its own
    assert resolved("edit", guidance_scale=1).steps() == 10


@pytest.mark.parametrize(
    ("task", "params", "shared"),
    [
        ("image_to_image", {"strength": 0.5}, False),
        ("image_to_image", {"fit": "contain"}, False),
        ("image_to_image", {"image": {"upload": str(uuid.UUID(int=2))}}, True),
        ("edit", {"image_guidance_scale": 2.0}, False),
        ("inpaint", {"strength": 0.5}, False),
        ("inpaint", {"mask_feather": 0.1}, True),
        ("outpaint", {"zoom": 0.7}, True),
        ("control", {"control_scale": 0.5}, False),
        ("control", {"control": "depth"}, True),
    ],
)
def test_jobs_share_a_batch_unless_one_call_takes_one_of_it(task: str, params: dict[str, Any], shared: bool) -> None:
    given: dict[str, Any] = {"seed": 1} | ({"mask_shapes": [BOX]} if task == "inpaint" else {})
    assert (resolved(task, **given).shape() == resolved(task, **given, **params).shape()) is shared
