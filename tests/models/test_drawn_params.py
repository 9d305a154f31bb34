"""Params of tasks that draw without words: what a checkpoint has no use for is said to its client, not ignored."""

from typing import Any

import pytest

from models.params import TASKS, CheckpointProfile

GAN = CheckpointProfile(default_steps=1, max_steps=1, reads_prompt=False)
STYLES = GAN.model_copy(update={"style_layers": 8})
DIFFUSION = CheckpointProfile(default_steps=25, max_steps=100, reads_prompt=False)
CLASSES = {"class_names": ("cat", "dog")}


def found(task: str, profile: CheckpointProfile, **params: Any) -> list[tuple[str, str]]:
    parsed = TASKS[task].model_validate(params)
    return [(problem.pointer, problem.code) for problem in parsed.problems(profile)]


@pytest.mark.parametrize(
    ("task", "given"),
    [("sample", {}), ("class_to_image", {"class_label": 0}), ("interpolate", {"seeds": [1, 2], "class_label": 0})],
)
def test_truncation_is_for_one_pass_and_steps_are_for_denoising(task: str, given: dict[str, Any]) -> None:
    gan, diffusion = (profile.model_copy(update=CLASSES if given else {}) for profile in (GAN, DIFFUSION))
    assert found(task, gan, truncation=0.5, **given) == []
    assert found(task, diffusion, truncation=0.5, **given) == [("/params/truncation", "not_used")]
    assert found(task, diffusion, num_inference_steps=100, **given) == []
    assert found(task, gan, num_inference_steps=2, **given) == [("/params/num_inference_steps", "too_many")]
    if task != "interpolate":
        assert found(task, diffusion, scheduler="ddim", **given) == []
        assert found(task, gan, scheduler="ddim", **given) == [("/params/scheduler", "not_used")]


def test_what_was_resolved_can_be_sent_again() -> None:
    for profile in (GAN, DIFFUSION):
        params = TASKS["class_to_image"].model_validate({"class_label": "dog"})
        chosen = profile.model_copy(update=CLASSES)
        resolved = params.resolved(chosen)
        again = TASKS["class_to_image"].model_validate(resolved.model_dump(mode="json"))
        assert again.resolved(chosen) == resolved


def test_styles_are_mixed_where_there_are_some_and_within_them() -> None:
    assert found("sample", GAN, mix_seed=3) == [("/params/mix_seed", "not_used")]
    assert found("sample", STYLES, mix_seed=3, mix_layer=7) == []
    assert found("sample", STYLES, mix_seed=3, mix_layer=8) == [("/params/mix_layer", "layer_out_of_range")]
    assert TASKS["sample"].model_validate({"mix_seed": 3}).resolved(STYLES).model_dump()["mix_layer"] == 4


def test_a_translation_works_at_the_checkpoints_own_size() -> None:
    profile = CheckpointProfile(default_width=256, default_height=128, max_size=512)
    ref = {"upload": "00000000-0000-0000-0000-000000000001"}
    assert TASKS["translate"].model_validate({"image": ref}).resolved(profile).model_dump()["size"] == 256
    assert found("translate", profile, image=ref, size=1024) == [("/params/size", "size_not_allowed")]
