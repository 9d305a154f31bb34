"""The committed CLIP, class diffusion, DDPM, DiT and VAE: plain library calls load them, and they do their work."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, DiTPipeline
from PIL import Image
from transformers import AutoModel, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from worker.nets.class_diffusion import ClassDiffusion
from worker.nets.judge import Judge
from worker.nets.vae import GaussianVae, interpolated
from worker.nets.vocabulary import Vocabulary
from worker.training.claims import AXES
from worker.training.clip import text_features
from worker.training.evaluate_best_of import best_of
from worker.training.evaluate_clip import word_features
from worker.training.evaluate_portraits import DRAWERS, SHOWN, enlarged
from worker.training.nouns import nouns
from worker.training.sampling import PREVIEW

STARTER = Path(__file__).parents[2] / "worker" / "starter"
MEGABYTE = 1_000_000
WEIGHTS_MEGABYTES = {
    "emoji-64-canny": 3.0,
    "emoji-64-clip": 4.0,
    "emoji-classes": 3.5,
    "emoji-ddpm": 2.5,
    "emoji-dit": 4.0,
    "emoji-vae": 1.5,
}
TILE = 64


@cache
def clip() -> tuple[CLIPModel, CLIPTokenizer, Vocabulary]:
    folder = STARTER / "emoji-64-clip"
    return (
        CLIPModel.from_pretrained(folder).eval(),
        CLIPTokenizer.from_pretrained(folder),
        Vocabulary.from_folder(folder),
    )


@cache
def previews() -> np.ndarray:
    """The text-to-image starter's pictures of ``PREVIEW``, from its sample sheet: ``(36, 64, 64, 3)`` in [0, 1]."""
    with Image.open(STARTER / "emoji-64" / "samples.png") as sheet:
        small = (
            np.asarray(sheet.convert("RGB").resize((12 * TILE, 3 * TILE), Image.Resampling.NEAREST), np.float32) / 255
        )
    tiles: np.ndarray = small.reshape(3, TILE, 12, TILE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, TILE, TILE, 3)
    return tiles


@pytest.mark.parametrize("name", sorted(WEIGHTS_MEGABYTES))
def test_each_has_a_card_a_sheet_no_pickle_and_small_weights(name: str) -> None:
    card = (STARTER / name / "README.md").read_text(encoding="utf-8").lower()
    for word in ("licen", "seed", "command", "hardware", "limits", "metrics"):
        assert word in card
    assert (STARTER / name / "samples.png").is_file()
    files = [path for path in (STARTER / name).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".md", ".png", ".safetensors"}
    weights = sum(path.stat().st_size for path in files if path.suffix == ".safetensors")
    assert weights <= WEIGHTS_MEGABYTES[name] * MEGABYTE


@torch.no_grad()
def test_clip_names_what_the_text_to_image_starter_drew() -> None:
    model, tokenizer, vocabulary = clip()
    processor = CLIPImageProcessorPil.from_pretrained(STARTER / "emoji-64-clip")
    pictures = [Image.fromarray(np.round(tile * 255).astype(np.uint8)).resize((200, 200)) for tile in previews()[:12]]
    pixels = processor(images=pictures, return_tensors="pt").pixel_values
    seen = torch.nn.functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=1)
    grounds = (
        "blue",
        "black",
        "grass",
        "blue",
        "red",
        "pink",
        "sea",
        "sand",
        "night sky",
        "night sky",
        "pink",
        "purple",
    )
    for language in vocabulary.languages:
        told = {
            axis: (seen @ word_features(model, tokenizer, getattr(vocabulary, f"{axis}s"), language).T).argmax(dim=1)
            for axis in AXES
        }
        names = [vocabulary.backgrounds[index].name["en"] for index in told["background"].tolist()]
        assert sum(ours == theirs for ours, theirs in zip(names, grounds, strict=True)) >= 11
        wanted = (
            "cat",
            "rocket",
            "cat",
            "cat",
            "dog",
            "elephant",
            "hamburger",
            "crab",
            "owl",
            "rocket",
            "cake",
            "guitar",
        )
        named = [vocabulary.nouns[index].name["en"] for index in told["noun"].tolist()]
        assert sum(theirs in ours for ours, theirs in zip(named, wanted, strict=True)) >= 8


@torch.no_grad()
def test_a_prompt_chooses_its_own_picture_among_others() -> None:
    model, tokenizer, _ = clip()
    tiles, prompts = previews(), list(PREVIEW)
    others = np.stack([np.stack([tiles[(at + shift) % len(tiles)] for shift in (7, 0, 13, 21)]) for at in range(24)])
    chosen = best_of(model, tokenizer, prompts[:24], others)
    assert (chosen == 1).sum() >= 23


@torch.no_grad()
def test_the_same_thing_said_in_two_languages_lies_together() -> None:
    model, tokenizer, _ = clip()
    english = text_features(model, tokenizer, ["a cat on grass", "a 3d rocket on black", "a red background"])
    chinese = text_features(model, tokenizer, ["草地上的猫", "黑色背景上的立体火箭", "红色背景"])
    assert (english @ chinese.T).argmax(dim=1).tolist() == [0, 1, 2]


def test_the_library_finds_the_classes_by_itself() -> None:
    assert isinstance(AutoModel.from_pretrained(STARTER / "emoji-64-clip"), CLIPModel)
    ddpm = DiffusionPipeline.from_pretrained(STARTER / "emoji-ddpm")
    assert isinstance(ddpm, DDPMPipeline)
    assert isinstance(ddpm.scheduler, DDPMScheduler)
    dit = DiffusionPipeline.from_pretrained(STARTER / "emoji-dit")
    assert isinstance(dit, DiTPipeline)
    assert dit.get_label_ids(list(SHOWN["dit"].class_names)) == list(range(16))
    assert ClassDiffusion.from_pretrained(STARTER / "emoji-classes").class_names == SHOWN["class_diffusion"].class_names


@torch.no_grad()
@pytest.mark.parametrize(("name", "family"), [("emoji-classes", "class_diffusion"), ("emoji-dit", "dit")])
def test_the_judge_sees_the_class_that_was_asked_for(name: str, family: str) -> None:
    names = SHOWN[family].class_names
    labels = torch.arange(len(names))
    made = DRAWERS[family](STARTER / name)(labels, 5)
    assert made.shape == (len(names), 3, SHOWN[family].side, SHOWN[family].side)
    judge = Judge.from_pretrained(STARTER / "emoji-64-judge")
    columns = [[noun.english for noun in nouns()].index(word) for word in names]
    hits = judge(enlarged(made))[0][:, columns].argmax(dim=1) == labels
    assert hits.float().mean() >= 0.7


@torch.no_grad()
def test_smileys_are_yellow_in_the_middle_and_differ() -> None:
    for name, family in (("emoji-ddpm", "ddpm"), ("emoji-vae", "vae")):
        made = DRAWERS[family](STARTER / name)(torch.zeros(8, dtype=torch.long), 3)
        side = made.shape[-1]
        middle = made[..., side // 4 : -side // 4, side // 4 : -side // 4].mean(dim=(2, 3))
        red, green, blue = middle.unbind(dim=1)
        yellow = (red > blue + 0.3) & (green > blue + 0.2)
        assert yellow.float().mean() >= 0.75, name  # now and then a mouth or a tongue fills the middle
        assert torch.pdist(made.flatten(1)).min() > 1, name


@torch.no_grad()
def test_the_vae_blends_from_face_to_face() -> None:
    vae = GaussianVae.from_pretrained(STARTER / "emoji-vae")
    ends = torch.randn(2, vae.config.latent_dim, generator=torch.Generator().manual_seed(2))
    frames = vae.decode(interpolated(ends[0], ends[1], torch.linspace(0, 1, 9))).flatten(1)
    steps = (frames[1:] - frames[:-1]).norm(dim=1)
    whole = (frames[-1] - frames[0]).norm()
    assert steps.max() < 0.6 * whole
    assert steps.sum() < 3 * whole
