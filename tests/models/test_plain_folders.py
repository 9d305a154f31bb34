"""Folders without a card: what they say of themselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.card import read_card
from models.errors import ValidationFailedError


def folder_of(root: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(("class_name", "steps"), [("DDPMPipeline", 1000), ("DDIMPipeline", 50)])
def test_diffusion_of_pixels_samples_at_its_one_size(tmp_path: Path, class_name: str, steps: int) -> None:
    files = {"model_index.json": {"_class_name": class_name}, "unet/config.json": {"sample_size": 256}}
    card = read_card(folder_of(tmp_path / "cats", files))
    assert (card.name, card.family, card.tasks) == ("cats", "ddpm", ("sample", "interpolate"))
    assert (card.profile.default_width, card.profile.fixed_size, card.profile.default_steps) == (256, True, steps)
    assert not card.profile.reads_prompt


def dit(**index: Any) -> dict[str, Any]:
    return {
        "model_index.json": {"_class_name": "DiTPipeline", **index},
        "transformer/config.json": {"sample_size": 32, "num_embeds_ada_norm": 1000},
        "vae/config.json": {"block_out_channels": [128, 256, 512, 512]},
    }


def test_dit_names_its_classes_by_the_first_synonym_that_is_its_own(tmp_path: Path) -> None:
    labels = {"0": "tench, Tinca tinca", "1": "crane", "2": "crane, lifting machine"}
    card = read_card(folder_of(tmp_path, dit(id2label=labels)), name="dit")
    assert (card.family, card.tasks, card.profile.default_width) == ("dit", ("class_to_image", "interpolate"), 256)
    assert card.profile.class_names == ("tench", "crane", "crane, lifting machine")


def test_dit_numbers_its_classes_where_nothing_names_them(tmp_path: Path) -> None:
    names = read_card(folder_of(tmp_path, dit()), name="dit").profile.class_names
    assert (len(names), names[0], names[-1]) == (1000, "0", "999")


@pytest.mark.parametrize(
    ("class_name", "tasks"), [("FluxFillPipeline", ("inpaint", "outpaint")), ("FluxControlPipeline", ("control",))]
)
def test_nets_that_see_more_than_words_do_what_that_is_for(
    tmp_path: Path, class_name: str, tasks: tuple[str, ...]
) -> None:
    files = {"model_index.json": {"_class_name": class_name}, "transformer/config.json": {"in_channels": 128}}
    card = read_card(folder_of(tmp_path, files), name="flux")
    assert (card.tasks, card.profile.default_guidance, card.profile.needs_prompt) == (tasks, 30.0, False)


def test_swin2sr_says_how_much_larger_it_makes_a_picture(tmp_path: Path) -> None:
    card = read_card(folder_of(tmp_path, {"config.json": {"model_type": "swin2sr", "upscale": 4}}), name="swin")
    assert (card.family, card.tasks, card.profile.scales) == ("swin2sr", ("upscale",), (4,))
    assert not card.profile.reads_prompt


@pytest.mark.parametrize(
    ("kind", "family", "task"),
    [
        ("clip", "clip", "score"),
        ("siglip", "clip", "score"),
        ("blip", "captioner", "caption"),
        ("florence2", "captioner", "caption"),
    ],
)
def test_nets_between_pictures_and_words_score_or_caption(tmp_path: Path, kind: str, family: str, task: str) -> None:
    card = read_card(folder_of(tmp_path, {"config.json": {"model_type": kind}}), name="words")
    assert (card.family, card.tasks, card.profile.reads_prompt) == (family, (task,), True)


@pytest.mark.parametrize("class_name", ["ControlNetModel", "SD3ControlNetModel", "FluxControlNetModel"])
def test_a_controlnet_by_itself_wants_a_base(tmp_path: Path, class_name: str) -> None:
    card = read_card(folder_of(tmp_path, {"config.json": {"_class_name": class_name}}), name="canny")
    assert (card.family, card.tasks, card.description) == ("controlnet", ("control",), class_name)
    assert (card.profile.takes_base, card.profile.base) == (True, "")


def test_public_biggan_folders_go_by_number(tmp_path: Path) -> None:
    config = {"output_dim": 128, "z_dim": 128, "class_embed_dim": 128, "num_classes": 1000, "n_stats": 51}
    card = read_card(folder_of(tmp_path / "public", {"config.json": config}), name="deep")
    assert (card.family, card.tasks) == ("biggan", ("class_to_image", "interpolate"))
    assert (card.profile.default_width, card.profile.fixed_size, len(card.profile.class_names)) == (128, True, 1000)
    ours = folder_of(tmp_path / "ours", {"config.json": config | {"num_classes": 2, "class_names": ["cat", "dog"]}})
    assert read_card(ours, name="ours").profile.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("files", "code", "told"),
    [
        ({"config.json": {"model_type": "llama"}}, "no_card", "'llama'"),
        ({"config.json": {}}, "no_card", "needs a card"),
        ({"config.json": {"model_type": "swin2sr"}}, "bad_json", "upscale must be a number"),
        ({"config.json": []}, "bad_json", "no JSON object"),
        (
            {"model_index.json": {"_class_name": "DDPMPipeline"}, "unet/config.json": {"sample_size": "x"}},
            "bad_json",
            "s",
        ),
        ({"notes.txt": ""}, "no_card", "nor config.json"),
        ({"model_index.json": {"_class_name": "QwenImageEditPipeline"}}, "no_card", "takes more than words"),
    ],
)
def test_folders_that_say_too_little_are_refused(tmp_path: Path, files: Any, code: str, told: str) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        read_card(folder_of(tmp_path, files))
    (field,) = caught.value.fields
    assert (field.pointer, field.code) == ("/location", code)
    assert told in field.message
