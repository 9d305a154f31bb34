"""Train a small CLIP: one space for pictures and for English and Chinese texts.

Contrastive (Radford et al. 2021, arXiv:2103.00020). Many texts of a batch fit a picture, so every fitting one counts as
right (Khosla et al. 2020, arXiv:2004.11362). Beside whole captions and their near misses, each picture is told apart
from all other nouns, styles and backgrounds by name.
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from worker.training.batches import Composites, to_pictures
from worker.training.claims import AXES, LANGUAGES, describe, fits, named, near_miss, shown_in, vocabulary
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.composites import combinations
from worker.training.judge import JudgeSettings, roughen
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.muon import Rates, optimizers_of
from worker.training.sheets import sheet
from worker.training.sprites import Sprites

OUTER_LAYERS: Final = ("patch_embedding", "class_embedding", "position_embedding", "token_embedding")
LARGEST_SCALE: Final = 4.6  # e ** 4.6 is 100, CLIP's own bound


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """Hyper-parameters of both towers and their training."""

    seed: int = 1
    batch: int = 64
    width: int = 128
    text_layers: int = 2
    vision_layers: int = 5
    heads: int = 4
    patch_pixels: int = 8
    near_misses: int = 2
    rates: Rates = field(default_factory=lambda: Rates(muon=3e-3, adamw=1.5e-3))
    clip: float = 1.0
    decay: float = 0.998


def build(settings: ClipSettings, tokenizer: CLIPTokenizer) -> CLIPModel:
    """Two small transformers over our own vocabulary and 64 px pictures."""
    shared = {
        "hidden_size": settings.width,
        "intermediate_size": 4 * settings.width,
        "projection_dim": settings.width,
        "num_attention_heads": settings.heads,
    }
    text = shared | {
        "num_hidden_layers": settings.text_layers,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = shared | {
        "num_hidden_layers": settings.vision_layers,
        "image_size": 64,
        "patch_size": settings.patch_pixels,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=settings.width))


def picture_features(clip: CLIPModel, images: Tensor) -> Tensor:
    """``(B, 3, 64, 64)`` in [-1, 1] to unit vectors ``(B, width)``."""
    return F.normalize(clip.get_image_features(pixel_values=images).pooler_output.float(), dim=1)


def text_features(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Texts to unit vectors ``(T, width)``."""
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=tokenizer.model_max_length)
    features = clip.get_text_features(input_ids=torch.tensor(tokens.input_ids)).pooler_output
    return F.normalize(features.float(), dim=1)


def contrast(scores: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of each row against an even share for each of its right columns: ``(R, C)`` twice to a scalar.

    Rows without a right column say nothing; without any other row the loss is zero.
    """
    share = right.float()
    known = share.sum(dim=1) > 0
    share = share[known] / share[known].sum(dim=1, keepdim=True)
    return -(share * scores[known].log_softmax(dim=1)).sum() / known.sum().clamp_min(1)


class ClipTask:
    """Both towers, their average and their optimizers."""

    def __init__(self, settings: ClipSettings, tokenizer: CLIPTokenizer, sprites: Sprites) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        torch.manual_seed(settings.seed)
        self.clip = channels_last(build(settings, tokenizer))
        self.average = copy.deepcopy(self.clip).eval().requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"clip": self.clip}
        self.averages: dict[str, nn.Module] = {"clip": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.clip], OUTER_LAYERS, settings.rates)
        self.batches = Composites(sprites, combinations(held_out=False), settings.batch, settings.seed)
        self.trial = Composites(sprites, combinations(held_out=True), 500, settings.seed + 1)
        self.rough = JudgeSettings()

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One contrastive step: captions and near misses, then every noun, style and background by name."""
        del scale
        settings = self.settings
        images, items = self.batches(step)
        rng, stream = rng_of(settings.seed, step)
        whole = [describe(item, rng) for item in items]
        missed = [describe(near_miss(item, rng), rng) for item in items for _ in range(settings.near_misses)]
        groups = [whole + missed, *(vocabulary(axis, rng) for axis in AXES)]
        shown = shown_in(items)
        with torch.autocast("cpu", torch.bfloat16):
            seen = picture_features(self.clip, roughen(images, self.rough, stream))
            read = text_features(self.clip, self.tokenizer, [claim.text for group in groups for claim in group])
        scores = (seen @ read.T * self.clip.logit_scale.exp()).split([len(group) for group in groups], dim=1)
        right = [fits(shown, named(group)) for group in groups]
        captions = contrast(scores[0], right[0])
        pictures = contrast(scores[0].T, right[0].T)
        by_name = [contrast(ours, theirs) for ours, theirs in zip(scores[1:], right[1:], strict=True)]
        loss = captions + pictures + torch.stack(by_name).sum()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.clip.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            self.clip.logit_scale.clamp_(max=LARGEST_SCALE)
        average(self.clip, self.average, step, settings.decay)
        parts = {f"by_{axis}": value.item() for axis, value in zip(AXES, by_name, strict=True)}
        return {
            "loss": loss.item(),
            "captions": captions.item(),
            "pictures": pictures.item(),
            "norm": norm.item(),
        } | parts

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Prints how many held-out pictures are named rightly; the sheet shows those whose noun was missed."""
        images, items = self.trial.draw(0)
        shown, seen = shown_in(items), picture_features(self.average, images)
        missed = torch.zeros(len(items), dtype=torch.bool)
        for language in LANGUAGES:
            rng, _ = rng_of(self.settings.seed, 0)
            for column, axis in enumerate(AXES):
                texts = [claim.text for claim in vocabulary(axis, rng, language)]
                told = (seen @ text_features(self.average, self.tokenizer, texts).T).argmax(dim=1)
                hit = told == shown[:, column]
                missed |= ~hit if axis == "noun" else False
                print(f"{language} {axis} {hit.float().mean():.4f}", end="  ", flush=True)
        print(flush=True)
        picked = images[missed][:24]
        return sheet(to_pictures(picked if len(picked) else images[:24]), columns=12)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.clip", description=__doc__)
    add_common(parser)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder of the text-to-image starter")
    arguments = parser.parse_args()
    prepare(arguments)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.tokenizer)  # our own folder  # nosec B615
    task = ClipTask(ClipSettings(seed=arguments.seed), tokenizer, Sprites(arguments.data_dir))
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))


if __name__ == "__main__":
    main()
