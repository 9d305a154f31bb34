"""The committed starters: they load as anybody would load them, stay small, and do what their cards say."""

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from worker.nets.conditional_gan import ConditionalGenerator
from worker.nets.judge import Judge
from worker.training.backgrounds import BACKGROUNDS, recognise
from worker.training.batches import to_tensor
from worker.training.nouns import nouns

STARTER = Path(__file__).parents[2] / "worker" / "starter"
MEBIBYTE = 1 << 20
PROMPTS = {
    "a cat on a blue background": ("blue", "cat"),
    "黄色背景上的熊猫": ("yellow", "panda"),
    "a 3d rocket on a black background": ("black", "rocket"),
    "草地上的卡通大象": ("grass", "elephant"),
}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@cache
def pipeline() -> StableDiffusionPipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = StableDiffusionPipeline.from_pretrained(STARTER / "emoji-64")
    loaded.set_progress_bar_config(disable=True)
    return loaded


@cache
def drawn() -> np.ndarray:
    generators = [torch.Generator().manual_seed(7) for _ in PROMPTS]
    made = pipeline()(list(PROMPTS), num_inference_steps=20, guidance_scale=3.0, generator=generators, output_type="np")
    pictures: np.ndarray = made.images.astype(np.float32)
    return pictures


def test_the_starters_stay_small() -> None:
    assert size_of(STARTER) <= 60_000_000
    assert size_of(STARTER / "emoji-64") <= 30 * MEBIBYTE
    assert size_of(STARTER / "emoji-64-judge") <= MEBIBYTE


@pytest.mark.parametrize("name", ["emoji-64", "emoji-64-judge", "animals-gan"])
def test_every_starter_has_a_card_and_no_pickle(name: str) -> None:
    card = (STARTER / name / "README.md").read_text(encoding="utf-8")
    for word in ("Licen", "Seed", "Command", "Hardware", "Limits"):
        assert word.lower() in card.lower()
    suffixes = {path.suffix for path in (STARTER / name).rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".md", ".png", ".safetensors", ".txt"}


def test_the_text_to_image_starter_loads_without_arguments() -> None:
    index = json.loads((STARTER / "emoji-64" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert pipeline().safety_checker is None
    assert pipeline().scheduler.config.prediction_type == "v_prediction"
    assert {parameter.dtype for parameter in pipeline().text_encoder.parameters()} == {torch.float32}


def test_prompts_get_their_backgrounds() -> None:
    told = [BACKGROUNDS[index].english for index in recognise(drawn())]
    assert told == [background for background, _ in PROMPTS.values()]


def test_the_judge_recognises_what_was_asked_for() -> None:
    judge = Judge.from_pretrained(STARTER / "emoji-64-judge")
    with torch.no_grad():
        scores, _ = judge(to_tensor(drawn()))
    told = [nouns()[index].english for index in scores.argmax(1).tolist()]
    assert sum(ours == noun for ours, (_, noun) in zip(told, PROMPTS.values(), strict=True)) >= 3


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (
        pipeline()("a dog", num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="np").images
        for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_the_gan_starter_draws_every_class() -> None:
    generator = ConditionalGenerator.from_pretrained(STARTER / "animals-gan")
    assert generator.config.num_classes == 10
    latents = torch.randn(1, generator.config.latent_dim, generator=torch.Generator().manual_seed(0)).expand(10, -1)
    pictures = generator(latents, torch.arange(10))
    assert pictures.shape == (10, 1, 32, 32)
    assert torch.pdist(pictures.flatten(1)).min() > 1
