"""How much time our wrapper adds to the plain diffusers call: `python -m tests.pipelines.overhead [steps] [rounds]`.

Both run in turns on one tiny SD 1.x at batch 8, where Python is most of the time; prints the ratio of the medians.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.pipelines.conftest import Recorder, item, open_checkpoint, run
from tests.pipelines.tiny import make
from worker.devices import Device
from worker.pipelines.base import generator_for

BATCH = 8


def measure(steps: int, rounds: int) -> tuple[float, float]:
    """Median seconds of the plain call and of ours."""
    torch.set_num_threads(1)
    device = Device(torch.device("cpu"), torch.float32, "cpu", 1 << 33)
    pipeline: Any = open_checkpoint("sd2", make("sd2", Path(tempfile.mkdtemp())), device)
    jobs = [item("a cat", seed=seed, num_inference_steps=steps) for seed in range(BATCH)]

    def plain() -> None:
        with torch.inference_mode():
            images = pipeline._pipe(
                prompt=["a cat"] * BATCH,
                width=32,
                height=32,
                num_inference_steps=steps,
                guidance_scale=4.0,
                generator=[generator_for(seed, 0) for seed in range(BATCH)],
                output_type="np",
            ).images
        (images * 255).round().astype("uint8")

    plain_seconds, our_seconds = [], []
    for _ in range(rounds):
        plain_seconds.append(_seconds(plain))
        our_seconds.append(_seconds(lambda: run(pipeline, *jobs, context=Recorder())))
    return statistics.median(plain_seconds), statistics.median(our_seconds)


def _seconds(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    numbers = [int(value) for value in sys.argv[1:]]
    plain_median, our_median = measure(*(numbers or [20, 20]))
    sys.stdout.write(f"plain {plain_median * 1e3:.2f} ms, ours {our_median * 1e3:.2f} ms: ")
    sys.stdout.write(f"{our_median / plain_median - 1:+.2%}\n")
