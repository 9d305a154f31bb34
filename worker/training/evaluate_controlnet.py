"""Does the map lead? Held-out combinations are drawn to the edges of a real picture of theirs, in any pose.

Each is drawn three times from the same noise: to its own map; from the words alone; and to the map of another thing,
against the words. How much of a map is found again is the F1 of its edges and the picture's, each within one pixel of
the other's; the judge says whether it still shows what the words ask for.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from worker.nets.judge import Judge
from worker.training.composites import Combination, compose
from worker.training.controlnet import draw, led
from worker.training.evaluate import WRITERS, EvaluationSettings, chosen, graded, prompts_for, summary
from worker.training.loop import rng_of
from worker.training.lora import load_pipeline
from worker.training.mapped import as_maps, edges_of
from worker.training.sheets import sheet
from worker.training.sprites import Sprites

BATCH: Final = 20
SHOWN: Final = 12
NEAR_PIXELS: Final = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """What is drawn: held-out combinations, a real picture of each, its map ``(N, 64, 64)`` bool, and words for it."""

    items: list[Combination]
    real: NDArray[np.float32]
    edges: Tensor
    prompts: list[str]


def trial(sprites: Sprites, settings: EvaluationSettings) -> Trial:
    """One for each of the chosen combinations; the words are English and Chinese by turns."""
    items = chosen(settings)
    rng, _ = rng_of(settings.seed, 0)
    real = np.stack([compose(sprites, item, rng) for item in items])
    written = [prompts_for(items, language, settings.seed) for language in WRITERS]
    prompts = [written[place % len(written)][place] for place in range(len(items))]
    return Trial(items, real, edges_of(real), prompts)


def near(edges: Tensor) -> Tensor:
    """``(B, H, W)`` bool, and every pixel about an edge as well."""
    side = 2 * NEAR_PIXELS + 1
    return F.max_pool2d(edges[:, None].float(), side, stride=1, padding=NEAR_PIXELS)[:, 0] > 0


def agreement(wanted: Tensor, found: Tensor) -> Tensor:
    """F1 of the edges ``(B, H, W)`` bool of two piles, pair by pair ``(B,)``; 1 where neither has any."""
    kept = (found & near(wanted)).sum(dim=(1, 2)) / found.sum(dim=(1, 2)).clamp_min(1)
    met = (wanted & near(found)).sum(dim=(1, 2)) / wanted.sum(dim=(1, 2)).clamp_min(1)
    both = 2 * kept * met / (kept + met).clamp_min(1e-9)
    return torch.where((wanted | found).any(dim=2).any(dim=1), both, torch.ones_like(both))


def mean_agreement(wanted: Tensor, found: Tensor) -> float:
    """Their mean over a pile."""
    return round(agreement(wanted, found).mean().item(), 4)


def drawn(
    pipeline: StableDiffusionControlNetPipeline,
    wanted: Trial,
    edges: Tensor,
    scale: float,
    settings: EvaluationSettings,
) -> NDArray[np.float32]:
    """A picture for each prompt, led by these maps at this scale."""
    parts = []
    for start in track(range(0, len(wanted.prompts), BATCH), description=f"drawing at {scale}"):
        part = slice(start, start + BATCH)
        parts.append(
            draw(
                pipeline,
                wanted.prompts[part],
                as_maps(edges[part]),
                scale,
                steps=settings.steps,
                guidance=settings.guidance,
                seed=settings.seed * 100_000 + start,
            )
        )
    return np.concatenate(parts)


def measure(
    pipeline: StableDiffusionControlNetPipeline, judge: Judge, wanted: Trial, settings: EvaluationSettings
) -> tuple[dict[str, object], list[NDArray[np.float32]]]:
    """The figures, and the pictures led, unled and led by another's map."""
    others = wanted.edges.roll(1, dims=0)
    made = [
        drawn(pipeline, wanted, edges, scale, settings)
        for edges, scale in ((wanted.edges, 1.0), (wanted.edges, 0.0), (others, 1.0))
    ]
    own, free, crossed = (edges_of(pictures) for pictures in made)
    report: dict[str, object] = {
        "edges found again": {
            "led": mean_agreement(wanted.edges, own),
            "from the words alone": mean_agreement(wanted.edges, free),
            "led, beside another's map": mean_agreement(others, own),
            "led by another's map": mean_agreement(others, crossed),
        },
        "led": summary(graded(judge, made[0], wanted.items)),
        "from the words alone": summary(graded(judge, made[1], wanted.items)),
        "led by another's map": summary(graded(judge, made[2], wanted.items)),
        "judge on real pictures": summary(graded(judge, wanted.real, wanted.items)),
    }
    return report, made


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_controlnet", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the ControlNet")
    parser.add_argument("--base", type=Path, required=True, help="what it leads")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = EvaluationSettings(count=arguments.count, steps=arguments.steps, guidance=arguments.guidance)
    pipeline = led(load_pipeline(arguments.base), ControlNetModel.from_pretrained(arguments.checkpoint))
    wanted = trial(Sprites(arguments.data_dir), settings)
    report, made = measure(pipeline, Judge.from_pretrained(arguments.judge), wanted, settings)
    told = {"count": len(wanted.items), "steps": settings.steps, "guidance": settings.guidance, "seed": settings.seed}
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"settings": told} | report, indent=2) + "\n"
    (arguments.out / "metrics.json").write_text(text, encoding="utf-8")
    maps = as_maps(wanted.edges).permute(0, 2, 3, 1).numpy()
    rows = [pile[:SHOWN] for pile in (maps, made[0], made[1], np.roll(maps, 1, axis=0), made[2])]
    sheet(np.concatenate(rows), columns=SHOWN).save(arguments.out / "samples.png")
    print(text)


if __name__ == "__main__":
    main()
