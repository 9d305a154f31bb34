"""Does choosing by CLIP help? Each prompt is drawn several times, and the picture whose features lie nearest is kept.

The judge, which knows nothing of CLIP, grades the first picture and the kept one.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPTokenizer

from worker.nets.judge import Judge
from worker.training.batches import to_tensor
from worker.training.clip import picture_features
from worker.training.evaluate import WRITERS, EvaluationSettings, chosen, draw, graded, prompts_for, summary
from worker.training.evaluate_clip import features_of

BATCH: Final = 100


@torch.no_grad()
def best_of(
    clip: CLIPModel, tokenizer: CLIPTokenizer, prompts: list[str], pictures: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Which of each prompt's pictures lies nearest to it: ``(P, N, 64, 64, 3)`` in [0, 1] to ``(P,)``."""
    count, several = pictures.shape[:2]
    flat = pictures.reshape(-1, *pictures.shape[2:])
    starts = range(0, len(flat), BATCH)
    seen = torch.cat([picture_features(clip, to_tensor(flat[start : start + BATCH])) for start in starts])
    scores = (seen.view(count, several, -1) * features_of(clip, tokenizer, prompts)[:, None]).sum(dim=2)
    nearest: NDArray[np.int64] = scores.argmax(dim=1).numpy()
    return nearest


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_best_of", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the text-to-image checkpoint")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150, help="prompts in each language")
    parser.add_argument("--several", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = EvaluationSettings(count=arguments.count, steps=arguments.steps, guidance=arguments.guidance)
    pipeline = StableDiffusionPipeline.from_pretrained(arguments.checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    clip = CLIPModel.from_pretrained(arguments.clip).eval()  # our folder  # nosec B615
    tokenizer = CLIPTokenizer.from_pretrained(arguments.clip)  # our folder  # nosec B615
    judge, items = Judge.from_pretrained(arguments.judge), chosen(settings)
    report: dict[str, object] = {"several": arguments.several, "steps": settings.steps, "guidance": settings.guidance}
    for language in WRITERS:
        prompts = prompts_for(items, language, settings.seed)
        flat = draw(pipeline, [prompt for prompt in prompts for _ in range(arguments.several)], settings)
        pictures = flat.reshape(len(prompts), arguments.several, *flat.shape[1:])
        kept = pictures[np.arange(len(prompts)), best_of(clip, tokenizer, prompts, pictures)]
        report[language] = {
            "first": summary(graded(judge, pictures[:, 0], items)),
            "kept": summary(graded(judge, kept, items)),
        }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "best-of.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
