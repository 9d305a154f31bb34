"""What a job waits for its checkpoint: the first time in a process, again once evicted, and when it is there."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.families import pictures
from bench.report import Figure, spread
from bench.stack import stack
from safelight import Client

ROUNDS = 3
"""Fresh installations, and so fresh processes."""
TURNS = 4
"""In each of them, from one checkpoint to the other and back."""


@dataclass(frozen=True)
class Ask:
    """A job of one checkpoint."""

    checkpoint: str
    task: str
    params: Mapping[str, Any]


PAIRS = (
    (Ask("emoji-64", "text_to_image", {"prompt": "a cat"}), Ask("real-esrgan-fast", "upscale", {"scale": 2})),
    (Ask("animals-gan", "class_to_image", {"class_label": 0}), Ask("emoji-vae", "sample", {})),
)
"""One of four nets with the one that makes it go, on the GPU pool; and one small net with its own, on the CPU pool."""


def switching() -> list[Figure]:
    """By `load_seconds` of the attempts. A budget of 1 MiB has room for one checkpoint at a time, however small."""
    cold: dict[str, list[float]] = {first.checkpoint: [] for first, _ in PAIRS}
    again: dict[str, list[float]] = {name: [] for name in cold}
    there: dict[str, list[float]] = {name: [] for name in cold}
    for _ in range(ROUNDS):
        with stack(environment={"SAFELIGHT_MEMORY_BUDGET_MIB": "1"}) as running, running.client() as client:
            image = client.upload(pictures(running.home)["image"])
            for first, other in PAIRS:
                name = first.checkpoint
                cold[name].append(_load_ms(client, first))
                there[name].append(_load_ms(client, first))
                for _ in range(TURNS):
                    extra = {"image": image} if other.task == "upscale" else {}
                    _load_ms(client, other, extra)
                    again[name].append(_load_ms(client, first))
                    there[name].append(_load_ms(client, first))
    return [figure for name in cold for figure in _figures(name, cold[name], again[name], there[name])]


def _figures(name: str, cold: list[float], again: list[float], there: list[float]) -> list[Figure]:
    resident = statistics.median(there)
    return [
        Figure(f"{name}: {what}", statistics.median(values), "ms", resident, "resident", "–", spread(values))
        for what, values in (
            ("loaded, verified, in a fresh process", cold),
            ("loaded again after it was evicted", again),
        )
    ]


def _load_ms(client: Client, ask: Ask, extra: Mapping[str, Any] | None = None) -> float:
    done = client.wait(client.submit(ask.task, {**ask.params, **(extra or {})}, checkpoint=ask.checkpoint))
    (attempt,) = client.get(done.id).raw["attempts"]
    return 1000 * float(attempt["measures"]["load_seconds"])
