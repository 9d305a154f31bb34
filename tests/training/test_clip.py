"""CLIP: its loss, that it learns, and that its folder loads by the plain library call and says what it can name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from worker.nets.folders import FolderError
from worker.nets.vocabulary import Vocabulary
from worker.training import clip as training
from worker.training.clip import ClipSettings, ClipTask, build, contrast, picture_features, text_features
from worker.training.clip_folder import calibrated, write
from worker.training.composites import combinations, is_held_out
from worker.training.evaluate_clip import naming, word_features
from worker.training.loop import Budget, Keeping, Pace, tensors_of, train
from worker.training.nouns import nouns
from worker.training.sprites import Sprites

SMALL = ClipSettings(batch=8, width=32, text_layers=1, vision_layers=1, heads=2)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    folder = Path(__file__).parents[2] / "worker" / "starter" / "emoji-64" / "tokenizer"
    loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return loaded


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nouns by name in a step, instead of all."""
    whole = training.vocabulary
    monkeypatch.setattr(training, "vocabulary", lambda axis, rng, language=None: whole(axis, rng, language)[:3])


def test_every_fitting_text_counts_as_right() -> None:
    scores = torch.tensor([[5.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    one = torch.tensor([[True, False, False], [False, False, True]])
    both = torch.tensor([[True, True, False], [False, False, True]])
    assert torch.isclose(contrast(scores, both), contrast(scores, one))
    assert contrast(scores, ~both) > contrast(scores, both) + 3
    unknown = torch.cat([both, torch.zeros(1, 3, dtype=torch.bool)])
    assert torch.isclose(contrast(torch.cat([scores, scores[:1]]), unknown), contrast(scores, both))
    assert contrast(scores, torch.zeros_like(both)) == 0


def test_a_few_steps_lower_the_loss_and_no_picture_of_a_batch_is_held_out(
    sprites: Sprites, tokenizer: CLIPTokenizer, quick: None
) -> None:
    task = ClipTask(SMALL, tokenizer, sprites)
    seen = [item for step in range(20) for item in task.batches.draw(step)[1]]
    assert not any(is_held_out(item) for item in seen)
    losses = [task.train_step(step, 1.0)["loss"] for step in range(30)]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:3])


def test_a_resumed_run_equals_an_uninterrupted_one(
    sprites: Sprites, tokenizer: CLIPTokenizer, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClipTask, "sheet", lambda _: Image.new("L", (1, 1)))
    whole = ClipTask(SMALL, tokenizer, sprites)
    train(whole, Budget(steps=2), Pace(), Keeping(tmp_path / "whole", save_seconds=0))
    killed = ClipTask(SMALL, tokenizer, sprites)
    step_once = killed.train_step

    def dies_at_its_second_step(step: int, scale: float) -> dict[str, float]:
        if step == 1:
            raise KeyboardInterrupt
        return step_once(step, scale)

    monkeypatch.setattr(killed, "train_step", dies_at_its_second_step)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    resumed = ClipTask(SMALL, tokenizer, sprites)
    train(resumed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_folder_loads_by_the_plain_library_call(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = build(SMALL, tokenizer).eval()
    write(tmp_path, clip, tokenizer, (20.0, -5.0))
    loaded = CLIPModel.from_pretrained(tmp_path).eval()
    read = CLIPTokenizer.from_pretrained(tmp_path)
    picture = Image.fromarray(np.full((100, 64, 3), 255, np.uint8))
    pixels = CLIPImageProcessorPil.from_pretrained(tmp_path)(images=picture, return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 64, 64)
    assert torch.allclose(pixels, torch.ones_like(pixels))
    texts = ["a cat on a red background", "红色背景上的猫"]
    with torch.no_grad():
        assert loaded.dtype == torch.float32
        assert torch.allclose(picture_features(loaded, pixels), picture_features(clip, pixels), atol=1e-2)
        assert torch.allclose(text_features(loaded, read, texts), text_features(clip, tokenizer, texts), atol=1e-2)


def test_the_vocabulary_of_a_folder_makes_sentences_as_in_training(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    write(tmp_path, build(SMALL, tokenizer), tokenizer, (20.0, -5.0))
    vocabulary = Vocabulary.from_folder(tmp_path)
    names = [word.name["en"] for word in vocabulary.nouns]
    assert names == [noun.english for noun in nouns()]
    owl, jeans = names.index("owl"), names.index("jeans")
    grounds = [word.name["en"] for word in vocabulary.backgrounds]
    orange, night = grounds.index("orange"), grounds.index("night sky")
    assert vocabulary.sentence(owl, 2, orange, "en") == "a 3d owl on an orange background"
    assert vocabulary.sentence(jeans, 0, night, "en") == "flat jeans in the night sky"
    assert vocabulary.sentence(owl, 2, orange, "zh") == "橙色背景上的立体猫头鹰"
    assert vocabulary.sentence(owl, 0, night, "zh") == "夜空中的扁平猫头鹰"
    assert vocabulary.likelihood(0.25) == pytest.approx(0.5)
    assert vocabulary.likelihood(0.9) > 0.99

    (tmp_path / "captions.json").write_text('{"nouns": [{}]}')
    with pytest.raises(FolderError, match=r"captions\.json cannot be read"):
        Vocabulary.from_folder(tmp_path)


def test_calibration_finds_the_boundary_between_right_and_wrong() -> None:
    stream = torch.Generator().manual_seed(0)
    right = torch.arange(4000) % 4 == 0
    cosines = 0.3 + 0.2 * right.float() + 0.05 * torch.randn(4000, generator=stream)
    scale, bias = calibrated(cosines, right)
    # Equal deviations: the boundary lies half-way, and the slope is the distance over the variance.
    assert -bias / scale == pytest.approx(0.4, abs=0.01)
    assert scale == pytest.approx(0.2 / 0.05**2, rel=0.15)


def test_naming_counts_pictures_whose_nearest_word_is_theirs(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = build(SMALL, tokenizer).eval()
    write(tmp_path, clip, tokenizer, (20.0, -5.0))
    vocabulary = Vocabulary.from_folder(tmp_path)
    # Pretend features: the English names of the right nouns, but for the last one.
    words = word_features(clip, tokenizer, vocabulary.nouns, "en")
    shown = torch.tensor([[item.noun, item.style, item.background] for item in combinations(held_out=True)[::100]])
    seen = words[shown[:, 0]].clone()
    seen[-1] = words[(shown[-1, 0] + 1) % len(words)]
    graded = naming(clip, tokenizer, vocabulary, seen, shown)["en"]["noun"]
    assert graded["count"] == len(shown)
    assert graded["share"] == pytest.approx(1 - 1 / len(shown), abs=1e-3)
