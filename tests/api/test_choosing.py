"""Which checkpoint a job gets when it names none, and over which one a ControlNet by itself is to run."""

from typing import Any

import pytest

from models.params import CheckpointProfile
from models.params.edits import EDIT_STRENGTH
from tests.api.conftest import Caller
from tests.api.test_chains import refused, upload
from tests.seeding import PROFILE, Seeder


@pytest.fixture
def image(caller: Caller) -> dict[str, Any]:
    return {"image": {"upload": upload(caller)}, "prompt": "a cat"}


def submitted(caller: Caller, task: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = caller.post("/v1/jobs", {"task": task, "params": params, **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json or {})


def bare(seed: Seeder, name: str, base: str = "") -> None:
    """A ControlNet by itself."""
    seed.checkpoint(
        name, family="controlnet", tasks=("control",), profile=CheckpointProfile(takes_base=True, base=base)
    )


def test_an_edit_goes_to_what_follows_instructions_unless_it_asks_for_a_strength(
    caller: Caller, seed: Seeder, image: dict[str, Any]
) -> None:
    # given: what was made for it came last
    seed.checkpoint("anew", tasks=("edit",), profile=PROFILE.model_copy(update={"edits_by_strength": True}))
    seed.checkpoint("obeys", tasks=("edit",))
    jobs = [submitted(caller, "edit", image | more) for more in ({}, {"image_guidance_scale": 2.0}, {"strength": 0.5})]
    assert [job["checkpoint"]["name"] for job in jobs] == ["obeys", "obeys", "anew"]
    named = submitted(caller, "edit", image, checkpoint="anew")
    assert (named["params"]["strength"], "image_guidance_scale" in named["params"]) == (EDIT_STRENGTH, False)
    assert refused(caller, "edit", image | {"strength": 0.5}, checkpoint="obeys") == [("/params/strength", "not_used")]


def test_an_operators_word_goes_before_instructions(caller: Caller, seed: Seeder, image: dict[str, Any]) -> None:
    seed.checkpoint("obeys", tasks=("edit",))
    first = PROFILE.model_copy(update={"edits_by_strength": True, "default_for": ("edit",)})
    seed.checkpoint("anew", tasks=("edit",), profile=first)
    assert submitted(caller, "edit", image)["checkpoint"]["name"] == "anew"
    assert submitted(caller, "edit", image | {"image_guidance_scale": 2.0})["checkpoint"]["name"] == "obeys"


def test_a_controlnet_by_itself_has_the_bounds_of_its_base_and_keeps_its_weights(
    caller: Caller, seed: Seeder, image: dict[str, Any]
) -> None:
    bare(seed, "canny", base="tiny")
    big = seed.checkpoint("big", profile=PROFILE.model_copy(update={"default_width": 128, "default_steps": 9}))
    params = submitted(caller, "control", image)["params"]
    tiny = caller.get("/v1/checkpoints/tiny").json["revision"]
    assert (params["base"], params["base_revision"]) == ("tiny", tiny)
    assert (params["width"], params["num_inference_steps"]) == (64, 4)
    other = submitted(caller, "control", image | {"base": "big", "base_revision": "mine"})["params"]
    assert (other["base_revision"], other["width"], other["num_inference_steps"]) == (big.revision, 128, 9)
    assert refused(caller, "control", image | {"width": 256}) == [("/params/width", "size_not_allowed")]


@pytest.mark.parametrize(
    ("base", "code"),
    [("nothing", "checkpoint_unknown"), ("up", "checkpoint_without_task"), ("words", "no_base"), (None, "missing")],
)
def test_a_base_that_does_not_serve_names_its_field(
    caller: Caller, seed: Seeder, image: dict[str, Any], base: str | None, code: str
) -> None:
    bare(seed, "canny")
    seed.checkpoint("up", tasks=("upscale",), family="real_esrgan")
    seed.checkpoint("words", family="another")
    named = {"base": base} if base else {}
    assert refused(caller, "control", image | named) == [("/params/base", code)]


def test_one_whose_base_is_not_here_is_passed_over(caller: Caller, seed: Seeder, image: dict[str, Any]) -> None:
    bare(seed, "orphan", base="gone")
    bare(seed, "canny", base="tiny")
    seed.checkpoint("whole", tasks=("control",))
    assert submitted(caller, "control", image)["checkpoint"]["name"] == "canny"
    assert refused(caller, "control", image, checkpoint="orphan") == [("/params/base", "checkpoint_unknown")]
    whole = submitted(caller, "control", image | {"base_revision": "mine"}, checkpoint="whole")
    assert "base_revision" not in whole["params"]
    over = image | {"base": "tiny"}
    assert submitted(caller, "control", over)["checkpoint"]["name"] == "orphan"
    assert refused(caller, "control", over, checkpoint="whole") == [("/params/base", "not_used")]
