"""What a soak submits, by whom and when: a pure function of its seed. Each order knows the pictures it must give."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.params import TextToImageParams

POISON_JOBS = 2
SIZES = ((48, 48), (64, 64), (64, 96))
STEPS = (1, 2, 4)
IMAGES = (1, 1, 1, 1, 2, 3)
FORMATS = ("png", "png", "webp")
"""Lossless ones: the pixels are compared."""


@dataclass(frozen=True)
class Order:
    """One job as its client means it. Seconds count from the start of the run."""

    number: int
    client: int
    at_seconds: float
    params: dict[str, Any]
    lane: str = "interactive"
    cancel_after_seconds: float | None = None
    poison: bool = False
    twice: bool = False
    """Sent once more after it was accepted, as a client does that lost the answer."""

    @property
    def key(self) -> str:
        """Its Idempotency-Key; unique within its client."""
        return f"order-{self.number}"

    @property
    def body(self) -> dict[str, Any]:
        """Of `POST /v1/jobs`."""
        return {"task": "text_to_image", "params": self.params, "lane": self.lane, "tag": "soak"}

    def wanted(self) -> TextToImageParams:
        """The params, to compute the pixels from."""
        return TextToImageParams.model_validate(self.params)


def draw_orders(seed: int, jobs: int, clients: int, span_seconds: float) -> Sequence[Order]:
    """So many orders, spread over the span; two of them kill whoever runs them."""
    dice = random.Random(f"orders-{seed}")
    times = sorted(dice.uniform(0, span_seconds) for _ in range(jobs))
    # Early ones, so that they have crashed often enough by the end.
    poison = set(dice.sample(range(max(jobs // 10, POISON_JOBS)), POISON_JOBS))
    return [_draw(dice, number, at, clients, poison=number in poison) for number, at in enumerate(times)]


def _draw(dice: random.Random, number: int, at: float, clients: int, *, poison: bool) -> Order:
    width, height = dice.choice(SIZES)
    params = {
        "prompt": _prompt(dice),
        "width": width,
        "height": height,
        "num_inference_steps": dice.choice(STEPS),
        "num_images": dice.choice(IMAGES),
        "seed": dice.randrange(2**32),
        "output_format": dice.choice(FORMATS),
    }
    client, lane = dice.randrange(clients), "bulk" if dice.random() < 0.2 else "interactive"
    cancel = dice.uniform(0.0, 2.0) if dice.random() < 0.05 else None
    twice = dice.random() < 0.1
    if poison:
        return Order(number, client, at, params | {"prompt": "kill"}, poison=True)
    return Order(number, client, at, params, lane, cancel, twice=twice)


def _prompt(dice: random.Random) -> str:
    """How long a step takes: nothing, a moment, or so long that a kill hits it in the middle."""
    kind = dice.random()
    if kind < 0.3:
        return "a cat"
    return f"step {dice.uniform(0.2, 0.4) if kind > 0.95 else dice.uniform(0.005, 0.03):.3f}"
