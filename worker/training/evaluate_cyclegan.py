"""Grade a pair of CycleGAN generators on nouns that neither has seen, and draw their sample sheets.

The judge says which style a translation shows and whether its noun is still the one that went in; both beside the same
figures of real pictures. Going there and back is measured as PSNR. The judge learnt from real composites of all nouns.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.nets.cyclegan import CycleGanGenerator
from worker.nets.judge import Judge
from worker.training.backgrounds import BACKGROUNDS
from worker.training.batches import to_pictures, to_tensor
from worker.training.composites import Combination, compose
from worker.training.cyclegan import is_unseen
from worker.training.evaluate import wilson
from worker.training.nouns import nouns
from worker.training.sheets import sheet
from worker.training.sprites import STYLES, Sprites
from worker.training.vae import psnr

SEED: Final = 31
BATCH: Final = 50
SHOWN: Final = 12


def pairs(sprites: Sprites, count: int) -> tuple[Tensor, Tensor]:
    """Unseen nouns, flat and 3d: twice ``(N, 3, 64, 64)`` in [-1, 1], alike in ground, place, size and mirroring."""
    rng = np.random.default_rng(SEED)
    unseen = [noun for noun in range(len(nouns())) if is_unseen(noun)]
    rows: list[list[NDArray[np.float32]]] = [[], []]
    for at in range(count):
        noun, background = unseen[int(rng.integers(len(unseen)))], int(rng.integers(len(BACKGROUNDS)))
        for row, style in zip(rows, ("flat", "3d"), strict=True):
            shown = Combination(noun, STYLES.index(style), background)
            row.append(compose(sprites, shown, np.random.default_rng([SEED, at])))
    flat, round_ = (to_tensor(np.stack(row)) for row in rows)
    return flat, round_


def share(hits: Tensor) -> dict[str, float | int]:
    """A share with its 95 % Wilson interval."""
    low, high = wilson(int(hits.sum()), len(hits))
    return {
        "share": round(hits.float().mean().item(), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "count": len(hits),
    }


def through(generator: CycleGanGenerator, pictures: Tensor) -> Tensor:
    """``(N, 3, H, W)`` to as many, in batches."""
    return torch.cat([generator(part) for part in torch.split(pictures, BATCH)])


@torch.no_grad()
def measure(
    there: CycleGanGenerator,
    back: CycleGanGenerator,
    judge: Judge,
    styles: tuple[str, str],
    piles: tuple[Tensor, Tensor],
) -> dict[str, object]:
    """Figures of one direction. ``piles`` are real pictures of both styles, pair by pair the same noun in its place."""
    source, target = piles
    index = STYLES.index(styles[1])
    made = through(there, source)
    named, _ = judge(source)
    kept, seen = judge(made)
    real_nouns, real_styles = judge(target)
    return {
        f"judge sees {styles[1]}": share(seen.argmax(1) == index),
        f"judge sees {styles[1]} before translation": share(judge(source)[1].argmax(1) == index),
        f"judge sees {styles[1]} in real {styles[1]} pictures": share(real_styles.argmax(1) == index),
        "judge names the noun as before": share(kept.argmax(1) == named.argmax(1)),
        "judge names the noun alike in the real pair": share(real_nouns.argmax(1) == named.argmax(1)),
        "psnr_db there and back": round(psnr(through(back, made), source).mean().item(), 2),
        "mean absolute error to the real pair": round((made - target).abs().mean().item() / 2, 4),
        "mean absolute error before translation": round((source - target).abs().mean().item() / 2, 4),
    }


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_cyclegan", description=__doc__)
    parser.add_argument("--checkpoints", type=Path, nargs=2, required=True, help="flat to 3d, and 3d to flat")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sprites, judge = Sprites(arguments.data_dir), Judge.from_pretrained(arguments.judge)
    flat, round_ = pairs(sprites, arguments.count)
    to_3d, to_flat = (CycleGanGenerator.from_pretrained(folder) for folder in arguments.checkpoints)
    report = {
        "flat to 3d": measure(to_3d, to_flat, judge, ("flat", "3d"), (flat, round_)),
        "3d to flat": measure(to_flat, to_3d, judge, ("3d", "flat"), (round_, flat)),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2) + "\n"
    (arguments.out / "metrics.json").write_text(text, encoding="utf-8")
    for name, generator, pictures in (("flat-to-3d", to_3d, flat), ("3d-to-flat", to_flat, round_)):
        with torch.no_grad():
            halves = [part for start in (0, SHOWN) for part in (pictures[start : start + SHOWN],) * 2]
            rows = [part if at % 2 == 0 else generator(part) for at, part in enumerate(halves)]
        sheet(to_pictures(torch.cat(rows)), columns=SHOWN).save(arguments.out / f"samples-{name}.png")
    print(text)


if __name__ == "__main__":
    main()
