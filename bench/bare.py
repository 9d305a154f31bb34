"""`python -m bench.bare`: the baseline: plain diffusers in a loop, no queue, no storage. Prints its seconds as JSON.

A process of its own, so that it has the same threads and memory as a worker's child and nothing of ours around it.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline


def main() -> None:
    """Load, warm up, then time `--images` pictures in batches of `--batch`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance", type=float, required=True)
    parser.add_argument("--prompt", required=True)
    given = parser.parse_args()

    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(given.folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def batch(count: int, first_seed: int) -> None:
        generators = [torch.Generator().manual_seed(first_seed + index) for index in range(count)]
        pipeline(
            [given.prompt] * count,
            num_inference_steps=given.steps,
            guidance_scale=given.guidance,
            generator=generators,
            output_type="np",
        )

    batch(given.batch, 0)
    began = time.monotonic()
    for start in range(0, given.images, given.batch):
        batch(min(given.batch, given.images - start), start)
    print(json.dumps({"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
