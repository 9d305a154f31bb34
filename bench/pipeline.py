"""Pictures a second through the whole system beside the bare loop, and the latency that the system adds to one job."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.report import Figure, spread
from bench.stack import CHECKPOINT, Stack
from bench.work import time_of

JOBS = 64
BATCH = 8
ROUNDS = 3
LATENCY_JOBS = 20
PROMPT = "a cat on a blue background"
STARTER = Path(__file__).resolve().parent.parent / "worker" / "starter" / CHECKPOINT


def throughput(stack: Stack) -> list[Figure]:
    """64 jobs of one shape; between two bare loops each time, since the machine's speed drifts."""
    steps, guidance = _defaults(stack)
    ratios, through, bare = [], [], []
    before = bare_seconds(JOBS, BATCH, steps, guidance)
    for number in range(ROUNDS):
        system = _through_system(stack, f"throughput-{number}")
        after = bare_seconds(JOBS, BATCH, steps, guidance)
        loop = (before + after) / 2
        through.append(JOBS / system)
        bare.append(JOBS / loop)
        ratios.append(loop / system)
        before = after
    note = f"ratios: {spread(ratios)}; {steps} steps, batch {BATCH}"
    return [
        Figure(
            "images/s through the system",
            statistics.median(through),
            "images/s",
            statistics.median(bare),
            "bare diffusers loop",
            "≥ 0.90 now, 0.97 the goal",
            note,
        )
    ]


def latency(stack: Stack) -> list[Figure]:
    """Submit → succeeded as the client sees it, minus the device's own seconds of the same job."""
    added, whole, device = [], [], []
    with stack.client() as client:
        client.run("text_to_image", prompt=PROMPT, checkpoint=CHECKPOINT)
        for seed in range(LATENCY_JOBS):
            began = time.monotonic()
            job = client.submit("text_to_image", prompt=PROMPT, checkpoint=CHECKPOINT, params={"seed": seed})
            done = client.wait(job)
            seconds = time.monotonic() - began
            run = client.get(done.id).raw["attempts"][-1]["measures"]["run_seconds"]
            added.append(1000 * (seconds - run))
            whole.append(1000 * seconds)
            device.append(1000 * run)
    return [
        Figure(
            "latency added to one job",
            statistics.median(added),
            "ms",
            None,
            "",
            "median < 60 ms, idle machine",
            f"{spread(added)}; whole {statistics.median(whole):.0f} ms, device {statistics.median(device):.0f} ms",
        )
    ]


def bare_seconds(images: int, batch: int, steps: int, guidance: float) -> float:
    """The bare loop, in a process of its own."""
    command = [sys.executable, "-m", "bench.bare", "--folder", str(STARTER), "--prompt", PROMPT]
    command += ["--images", str(images), "--batch", str(batch), "--steps", str(steps), "--guidance", str(guidance)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def _defaults(stack: Stack) -> tuple[int, float]:
    with stack.client() as client:
        priced = client.get(client.run("text_to_image", prompt=PROMPT, checkpoint=CHECKPOINT).id).raw["params"]
    return int(priced["num_inference_steps"]), float(priced["guidance_scale"])


def _through_system(stack: Stack, tag: str) -> float:
    """Seconds from the first of the 64 jobs' start to the last one's publish, by Postgres' clock.

    A job of another shape holds the worker while the 64 are posted, so that batches are full as they are under load.
    """
    with stack.client() as client:
        plug = client.submit("text_to_image", prompt=PROMPT, checkpoint=CHECKPOINT, params={"num_inference_steps": 60})
        jobs = [
            client.submit("text_to_image", prompt=PROMPT, checkpoint=CHECKPOINT, params={"seed": seed}, tag=tag)
            for seed in range(JOBS)
        ]
        for job in (plug, *jobs):
            client.wait(job)
    seconds, batches = time_of(stack.settings, tag)
    assert batches == BATCH, f"the worker's batches held {batches} jobs, the baseline's {BATCH}"
    return seconds
