"""Measure the conditional GAN: how often a separate classifier sees the class asked for, and KID with its features.

KID is the unbiased squared MMD with the cubic polynomial kernel of Bińkowski et al. 2018 (arXiv:1801.01401). The
features come from our classifier, not from Inception, so its value compares only with values from this command.
"""

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.conditional_gan import ConditionalGenerator
from worker.training import silhouettes
from worker.training.batches import to_pictures
from worker.training.loop import channels_last, descend
from worker.training.sheets import sheet

FEATURES: Final = 128


@dataclass(frozen=True, slots=True)
class GanEvaluationSettings:
    """The classifier's training and the number of generated pictures."""

    seed: int = 5
    epochs: int = 12
    batch: int = 64
    rate: float = 2e-3
    held_out: int = 1000
    per_class: int = 200
    shift_pixels: int = 2


class Classifier(nn.Module):
    """A small CNN over ``(B, 1, 32, 32)`` in [-1, 1]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (1, 32, 64, FEATURES)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Conv2d(width_in, width_out, 3, padding=1), nn.BatchNorm2d(width_out), nn.ReLU()]
            layers += [nn.Conv2d(width_out, width_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(FEATURES * 16, FEATURES), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, classes))

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores ``(B, classes)``."""
        scores: Tensor = self.head(self.body(pictures))
        return scores


def varied(pictures: Tensor, reach: int, stream: torch.Generator) -> Tensor:
    """Mirror some pictures and roll all by up to ``reach`` pixels."""
    coin = torch.rand(len(pictures), 1, 1, 1, generator=stream) < 0.5  # noqa: PLR2004 - a fair coin
    down, right = torch.randint(-reach, reach + 1, (2,), generator=stream).tolist()
    return torch.where(coin, pictures.flip(3), pictures).roll((down, right), (2, 3))


def train_classifier(pictures: Tensor, labels: Tensor, settings: GanEvaluationSettings) -> Classifier:
    """Train on the given pictures only."""
    torch.manual_seed(settings.seed)
    stream = torch.Generator().manual_seed(settings.seed)
    classifier = channels_last(Classifier(len(silhouettes.CLASSES)))
    steps = settings.epochs * (len(pictures) // settings.batch)
    optimizer = torch.optim.AdamW(classifier.parameters(), settings.rate, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(0, len(pictures), (settings.batch,), generator=stream)
        with torch.autocast("cpu", torch.bfloat16):
            scores = classifier(varied(pictures[index], settings.shift_pixels, stream))
        loss = F.cross_entropy(scores.float(), labels[index], label_smoothing=0.05)
        optimizer.zero_grad()
        descend(loss)
        optimizer.step()
        pace.step()
    return classifier.eval()


def kid(ours: Tensor, theirs: Tensor) -> float:
    """Unbiased squared MMD of features ``(N, D)`` and ``(M, D)``, kernel ``(x.y / D + 1) ** 3``."""

    def kernel(left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = (left @ right.T / left.shape[1] + 1) ** 3
        return result

    def within(values: Tensor) -> Tensor:
        count = len(values)
        grid = kernel(values, values)
        return (grid.sum() - grid.diagonal().sum()) / (count * (count - 1))

    ours, theirs = ours.double(), theirs.double()
    return float(within(ours) + within(theirs) - 2 * kernel(ours, theirs).mean())


@torch.no_grad()
def measure(generator: ConditionalGenerator, settings: GanEvaluationSettings, data_dir: Path) -> dict[str, object]:
    """All figures: accuracy on real held-out and on generated pictures, per class, and KID against a real split."""
    pictures, labels = silhouettes.load(data_dir)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(settings.seed))
    kept, learnt = order[: settings.held_out], order[settings.held_out :]
    with torch.enable_grad():
        classifier = train_classifier(pictures[learnt], labels[learnt], settings)
    stream = torch.Generator().manual_seed(settings.seed)
    wanted = torch.arange(len(silhouettes.CLASSES)).repeat_interleave(settings.per_class)
    made = torch.cat(
        [
            generator(torch.randn(len(part), generator.config.latent_dim, generator=stream), part)
            for part in torch.split(wanted, 100)
        ]
    )
    hits = classifier(made).argmax(1) == wanted
    features, real = classifier.body(made), classifier.body(pictures[kept])
    others = classifier.body(pictures[learnt[: len(made)]])
    per_class = hits.view(len(silhouettes.CLASSES), -1).float().mean(1)
    return {
        "classifier accuracy on real held-out pictures": round(
            (classifier(pictures[kept]).argmax(1) == labels[kept]).float().mean().item(), 4
        ),
        "classifier accuracy on generated pictures": round(hits.float().mean().item(), 4),
        "per class": {name: round(share.item(), 3) for name, share in zip(silhouettes.CLASSES, per_class, strict=True)},
        "kid[silhouette classifier] generated to real": round(kid(features, real), 5),
        "kid[silhouette classifier] real to real": round(kid(others, real), 5),
        "generated": len(made),
        "real held out": settings.held_out,
    }


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_gan", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = ConditionalGenerator.from_pretrained(arguments.checkpoint)
    report = measure(generator, GanEvaluationSettings(), arguments.data_dir)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    labels = torch.arange(len(silhouettes.CLASSES)).repeat_interleave(12)
    latents = torch.randn(len(labels), generator.config.latent_dim, generator=torch.Generator().manual_seed(0))
    sheet(to_pictures(generator(latents, labels)), columns=12, zoom=3).save(arguments.out / "samples.png")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
