"""Train the judge on real composites, every combination included: it must know the holdout to grade it.

Blur, noise and small shifts of colour make it lenient towards how a decoder draws, so that it judges what is shown.
"""

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.judge import Judge
from worker.training.batches import Composites, to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.composites import Combination, combinations
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.nouns import nouns
from worker.training.sheets import sheet
from worker.training.sprites import STYLES, Sprites


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Hyper-parameters of the judge."""

    seed: int = 3
    batch: int = 64
    rate: float = 3e-3
    smoothing: float = 0.05
    decay: float = 0.995
    noise: float = 0.08
    tint: float = 0.08


def roughen(images: Tensor, settings: JudgeSettings, stream: torch.Generator) -> Tensor:
    """Blur some pictures, tint and add noise to all: ``(B, 3, H, W)`` to the same."""
    count = len(images)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = torch.rand(count, 1, 1, 1, generator=stream)
    images = torch.lerp(images, soft, share)
    images = images + settings.tint * torch.randn(count, 3, 1, 1, generator=stream)
    strength = settings.noise * torch.rand(count, 1, 1, 1, generator=stream)
    return images + strength * torch.randn(images.shape, generator=stream)


def targets(shown: list[Combination]) -> tuple[Tensor, Tensor]:
    """Noun and style indices, ``(B,)`` each."""
    return torch.tensor([item.noun for item in shown]), torch.tensor([item.style for item in shown])


class JudgeTask:
    """The judge, its average and its optimizer."""

    def __init__(self, settings: JudgeSettings, sprites: Sprites) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.judge = channels_last(Judge(len(nouns()), len(STYLES)))
        self.average = copy.deepcopy(self.judge).eval().requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(self.judge.parameters(), settings.rate, betas=(0.9, 0.99), weight_decay=0.05)
        self.modules: dict[str, nn.Module] = {"judge": self.judge}
        self.averages: dict[str, nn.Module] = {"judge": self.average}
        self.optimizers: dict[str, Optimizer] = {"judge": self.optimizer}
        every = combinations(held_out=False) + combinations(held_out=True)
        self.batches = Composites(sprites, every, settings.batch, settings.seed)
        self.trial = Composites(sprites, combinations(held_out=True), 1000, settings.seed + 1)

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One step of cross-entropy on nouns and styles."""
        del scale
        settings = self.settings
        images, shown = self.batches(step)
        _, stream = rng_of(settings.seed, step)
        with torch.autocast("cpu", torch.bfloat16):
            noun, style = self.judge(roughen(images, settings, stream).contiguous(memory_format=torch.channels_last))
        right_noun, right_style = targets(shown)
        loss = F.cross_entropy(noun.float(), right_noun, label_smoothing=settings.smoothing)
        loss = loss + F.cross_entropy(style.float(), right_style, label_smoothing=settings.smoothing)
        self.optimizer.zero_grad()
        descend(loss)
        self.optimizer.step()
        average(self.judge, self.average, step, settings.decay)
        return {"loss": loss.item(), "right": (noun.argmax(1) == right_noun).float().mean().item()}

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Prints the accuracy over fresh composites; the sheet shows those whose noun was missed, or the first few."""
        images, shown = self.trial.draw(0)
        noun, style = self.average(images)
        right_noun, right_style = targets(shown)
        hit = noun.argmax(1) == right_noun
        print(f"noun {hit.float().mean():.4f} style {(style.argmax(1) == right_style).float().mean():.4f}", flush=True)
        missed = images[~hit][:24]
        return sheet(to_pictures(missed if len(missed) else images[:24]), columns=12)


def main() -> None:
    """Train from the command line, then write the judge."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.judge", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, required=True, help="write the finished judge here")
    arguments = parser.parse_args()
    prepare(arguments)
    task = JudgeTask(JudgeSettings(seed=arguments.seed), Sprites(arguments.data_dir))
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))
    task.average.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
