"""Measure a text-to-image checkpoint on held-out combinations: background, style and noun, in English and Chinese.

The background is told from the border's colour, noun and style by the judge, which learnt from real composites only.
Each figure comes with its count and its 95 % Wilson interval.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from rich.progress import track

from worker.nets.judge import Judge
from worker.training.backgrounds import BACKGROUNDS, recognise
from worker.training.batches import to_tensor
from worker.training.captions import chinese, english
from worker.training.composites import Combination, combinations, compose
from worker.training.loop import rng_of
from worker.training.nouns import nouns
from worker.training.sampling import PREVIEW
from worker.training.sheets import sheet
from worker.training.sprites import STYLES, Sprites
from worker.training.vae import psnr

BATCH: Final = 25
AXES: Final = ("background", "style", "noun")
WRITERS: Final = {"en": english, "zh": chinese}
Z_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How many pictures, how they are sampled, and from which seed."""

    count: int = 500
    seed: int = 11
    steps: int = 25
    guidance: float = 3.0


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927)."""
    share, spread = hits / count, Z_95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * (share * (1 - share) / count + spread / (4 * count)) ** 0.5
    return centre - half, centre + half


def chosen(settings: EvaluationSettings) -> list[Combination]:
    """The held-out combinations that are graded."""
    rng = np.random.default_rng(settings.seed)
    every = combinations(held_out=True)
    return [every[index] for index in rng.permutation(len(every))[: settings.count]]


def prompts_for(items: list[Combination], language: str, seed: int) -> list[str]:
    """One prompt each, in a random wording that names noun, style and background."""
    rng = np.random.default_rng(seed)
    return [WRITERS[language](item, rng, style=True, bare_white=False) for item in items]


def draw(pipeline: StableDiffusionPipeline, prompts: list[str], settings: EvaluationSettings) -> NDArray[np.float32]:
    """One picture per prompt, each from its own generator: ``(B, 64, 64, 3)`` in [0, 1]."""
    parts = []
    for start in track(range(0, len(prompts), BATCH), description="drawing"):
        part = prompts[start : start + BATCH]
        generators = [torch.Generator().manual_seed(settings.seed * 100_000 + start + i) for i in range(len(part))]
        made = pipeline(
            part,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=generators,
            output_type="np",
        )
        parts.append(made.images)
    return np.concatenate(parts).astype(np.float32)


@torch.no_grad()
def graded(judge: Judge, pictures: NDArray[np.float32], items: list[Combination]) -> NDArray[np.bool_]:
    """Whether each picture has the right background, style and noun: ``(B, 3)``."""
    noun, style = judge(to_tensor(pictures))
    told = (recognise(pictures), style.argmax(1).numpy(), noun.argmax(1).numpy())
    wanted = np.array([[item.background, item.style, item.noun] for item in items]).T
    return np.stack([ours == theirs for ours, theirs in zip(told, wanted, strict=True)], axis=1)


def summary(right: NDArray[np.bool_]) -> dict[str, dict[str, float | int]]:
    """Share, interval and count per axis, and for all three at once."""
    columns = dict(zip(AXES, right.T, strict=True)) | {"all three": right.all(axis=1)}
    report: dict[str, dict[str, float | int]] = {}
    for name, column in columns.items():
        low, high = wilson(int(column.sum()), len(column))
        report[name] = {"share": round(float(column.mean()), 4), "low": round(low, 4), "high": round(high, 4)}
        report[name]["count"] = len(column)
    return report


@torch.no_grad()
def reconstruction(pipeline: StableDiffusionPipeline, pictures: NDArray[np.float32]) -> dict[str, float | int]:
    """Mean PSNR of the autoencoder over pictures, in dB."""
    values = []
    for start in range(0, len(pictures), BATCH):
        images = to_tensor(pictures[start : start + BATCH])
        values.append(psnr(pipeline.vae.decode(pipeline.vae.encode(images).latent_dist.mode()).sample, images))
    scores = torch.cat(values)
    return {"psnr_db": round(scores.mean().item(), 2), "worst_db": round(scores.min().item(), 2), "count": len(scores)}


def misses(right: NDArray[np.bool_], items: list[Combination], prompts: list[str]) -> list[str]:
    """Up to forty prompts that went wrong, with the axes that did."""
    wrong = [
        f"{prompt} [{nouns()[item.noun].english}/{STYLES[item.style]}/{BACKGROUNDS[item.background].english}]: "
        + ", ".join(axis for axis, good in zip(AXES, row, strict=True) if not good)
        for prompt, item, row in zip(prompts, items, right, strict=True)
        if not row.all()
    ]
    return wrong[:40]


def evaluate(checkpoint: Path, judge: Judge, sprites: Sprites, settings: EvaluationSettings, out: Path) -> None:
    """Grade a checkpoint; writes ``metrics.json``, a sheet of samples and one sheet per language into ``out``."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    items = chosen(settings)
    rng, _ = rng_of(settings.seed, 0)
    real = np.stack([compose(sprites, item, rng) for item in items])
    report: dict[str, object] = {
        "settings": {
            "count": len(items),
            "steps": settings.steps,
            "guidance": settings.guidance,
            "seed": settings.seed,
        },
        "autoencoder": reconstruction(pipeline, real),
        "judge on real pictures": summary(graded(judge, real, items)),
    }
    out.mkdir(parents=True, exist_ok=True)
    for language in WRITERS:
        prompts = prompts_for(items, language, settings.seed)
        pictures = draw(pipeline, prompts, settings)
        right = graded(judge, pictures, items)
        report[language] = summary(right)
        report[f"misses {language}"] = misses(right, items, prompts)
        sheet(pictures[:96], columns=12).save(out / f"held-out-{language}.png")
    sheet(draw(pipeline, list(PREVIEW), settings), columns=12).save(out / "samples.png")
    (out / "metrics.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1, ensure_ascii=False))


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = EvaluationSettings(count=arguments.count, steps=arguments.steps, guidance=arguments.guidance)
    judge = Judge.from_pretrained(arguments.judge)
    evaluate(arguments.checkpoint, judge, Sprites(arguments.data_dir), settings, arguments.out)


if __name__ == "__main__":
    main()
