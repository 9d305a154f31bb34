"""Params beside the prompt: what a checkpoint has no use for is said to its client, not ignored."""

from typing import Any

import pytest

from models.bootstrap import STARTERS
from models.checkpoints.card import CARD_NAME, read_card
from models.params import TASKS, CheckpointProfile

GAN = CheckpointProfile(default_steps=1, max_steps=1, reads_prompt=False)
STYLES = GAN.model_copy(update={"style_layers": 8})
DIFFUSION = CheckpointProfile(default_steps=25, max_steps=100, reads_prompt=False)
WORDS = CheckpointProfile(default_steps=10, default_guidance=4.0)
STYLES_OF_WORDS = WORDS.model_copy(update={"style_names": ("dusk",)})
UPSCALER = WORDS.model_copy(update={"scales": (2,)})
ENLARGER = GAN.model_copy(update={"scales": (2,)})
REF = {"upload": "00000000-0000-0000-0000-000000000001"}
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


@pytest.mark.parametrize(
    ("task", "given"),
    [("class_to_image", {"class_label": 0}), ("interpolate", {"seeds": [1, 2], "class_label": 0})],
)
def test_guidance_is_for_who_denoises_towards_something(task: str, given: dict[str, Any]) -> None:
    gan, diffusion = (profile.model_copy(update=CLASSES) for profile in (GAN, DIFFUSION))
    assert found(task, diffusion, guidance_scale=2, **given) == []
    assert found(task, gan, guidance_scale=2, **given) == [("/params/guidance_scale", "not_used")]
    assert found(task, gan, guidance_scale=1, **given) == []  # none, which is what such a net has


def test_nothing_guides_what_learned_neither_words_nor_classes() -> None:
    assert found("interpolate", DIFFUSION, seeds=[1, 2], guidance_scale=2) == [("/params/guidance_scale", "not_used")]
    assert found("interpolate", WORDS, prompts=["a cat", "a dog"], guidance_scale=2) == []


def test_a_refusal_says_who_does_heed_it() -> None:
    (told,) = TASKS["interpolate"].model_validate({"seeds": [1, 2], "guidance_scale": 3}).problems(GAN)
    assert "class_diffusion" in told.message


@pytest.mark.parametrize("asked", [{"num_inference_steps": 9}, {"guidance_scale": 4}, {"truncation": 0.5}])
def test_a_walk_through_pictures_takes_nothing_of_a_denoiser(asked: dict[str, float]) -> None:
    profile = GAN.model_copy(update={"max_steps": 100}) if "truncation" not in asked else GAN
    codes = [code for pointer, code in found("interpolate", profile, images=[REF, REF], **asked)]
    assert codes
    assert set(codes) == {"not_used"}


def test_a_walk_through_pictures_costs_a_pass_for_each_frame() -> None:
    walk = TASKS["interpolate"].model_validate({"images": [REF, REF], "frames": 7}).resolved(WORDS)
    assert walk.steps() == 7


@pytest.mark.parametrize(
    ("task", "given", "profile"),
    [
        ("class_to_image", {"class_label": "dog"}, GAN.model_copy(update=CLASSES)),
        ("class_to_image", {"class_label": "dog"}, DIFFUSION.model_copy(update=CLASSES)),
        ("sample", {"mix_seed": 3}, STYLES),
        ("interpolate", {"seeds": [1, 2]}, GAN),
        ("interpolate", {"seeds": [1, 2]}, DIFFUSION),
        ("interpolate", {"prompts": ["a cat", "a dog"]}, WORDS),
        ("interpolate", {"images": [REF, REF]}, WORDS),
        ("style_transfer", {"image": REF, "prompt": "a cat"}, STYLES_OF_WORDS),
        ("style_transfer", {"image": REF, "style": "dusk"}, STYLES_OF_WORDS),
        ("upscale", {"image": REF}, UPSCALER),
        ("upscale", {"image": REF}, ENLARGER),
    ],
)
def test_what_was_resolved_can_be_sent_again(task: str, given: dict[str, Any], profile: CheckpointProfile) -> None:
    """Retries and clones do."""
    resolved = TASKS[task].model_validate(given).resolved(profile)
    again = TASKS[task].model_validate(resolved.model_dump(mode="json"))
    assert again.resolved(profile) == resolved


def test_a_style_in_words_costs_what_image_to_image_of_its_strength_does() -> None:
    asked = {"image": REF, "prompt": "a cat", "num_inference_steps": 20, "guidance_scale": 5}
    styled = TASKS["style_transfer"].model_validate(asked | {"strength": 0.8}).resolved(STYLES_OF_WORDS)
    painted = TASKS["image_to_image"].model_validate(asked | {"strength": 0.6}).resolved(STYLES_OF_WORDS)
    assert styled.cost() == painted.cost() == 24
    assert TASKS["style_transfer"].model_validate({"image": REF, "style": "dusk"}).resolved(STYLES_OF_WORDS).cost() == 1


def test_steps_and_guidance_of_a_style_go_with_words() -> None:
    for asked in ({"num_inference_steps": 9}, {"guidance_scale": 4.0}):
        (name,) = asked
        assert found("style_transfer", STYLES_OF_WORDS, image=REF, prompt="a cat", **asked) == []
        refused = found("style_transfer", STYLES_OF_WORDS, image=REF, style="dusk", **asked)
        assert refused == [(f"/params/{name}", "not_used")]
    too_many = found("style_transfer", STYLES_OF_WORDS, image=REF, prompt="a cat", num_inference_steps=1000)
    assert too_many == [("/params/num_inference_steps", "too_many")]


@pytest.mark.parametrize("asked", [{"guidance_scale": 4}, {"noise_level": 100}])
def test_an_enlargement_in_one_pass_takes_nothing_of_a_diffusion_upscaler(asked: dict[str, float]) -> None:
    (name,) = asked
    assert found("upscale", UPSCALER, image=REF, **asked) == []
    assert found("upscale", ENLARGER, image=REF, **asked) == [(f"/params/{name}", "not_used")]


def test_styles_are_mixed_where_there_are_some_and_within_them() -> None:
    assert found("sample", GAN, mix_seed=3) == [("/params/mix_seed", "not_used")]
    assert found("sample", STYLES, mix_seed=3, mix_layer=7) == []
    assert found("sample", STYLES, mix_seed=3, mix_layer=8) == [("/params/mix_layer", "layer_out_of_range")]
    assert TASKS["sample"].model_validate({"mix_seed": 3}).resolved(STYLES).model_dump()["mix_layer"] == 4


def test_a_translation_works_at_the_checkpoints_own_size() -> None:
    profile = CheckpointProfile(default_width=256, default_height=128, max_size=512)
    assert TASKS["translate"].model_validate({"image": REF}).resolved(profile).model_dump()["size"] == 256
    assert found("translate", profile, image=REF, size=1024) == [("/params/size", "size_not_allowed")]


@pytest.mark.parametrize(
    ("task", "given", "asked"),
    [
        ("expand_prompt", {"prompt": "a cat"}, {"temperature": 0.5}),
        ("expand_prompt", {"prompt": "a cat"}, {"top_p": 0.5}),
        ("expand_prompt", {"prompt": "a cat"}, {"max_tokens": 20}),
        ("caption", {"image": REF}, {"max_tokens": 20}),
    ],
)
def test_what_is_a_language_models_is_refused_by_who_is_none(
    task: str, given: dict[str, Any], asked: dict[str, float]
) -> None:
    (name,) = asked
    chooses = CheckpointProfile(writes_freely=False)
    assert found(task, CheckpointProfile(), **given, **asked) == []
    assert found(task, chooses, **given) == []
    assert found(task, chooses, **given, **asked) == [(f"/params/{name}", "not_used")]


def test_the_shipped_cards_say_who_is_a_language_model() -> None:
    cards = {path.parent.name: read_card(path.parent) for path in STARTERS.glob(f"*/{CARD_NAME}")}
    writers = {name for name, card in cards.items() if {"expand_prompt", "caption"} & set(card.tasks)}
    assert {name for name in writers if cards[name].profile.writes_freely} == {"smollm2", "remote-prompts"}
