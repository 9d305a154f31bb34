"""The committed ControlNet: diffusers' plain classes run it over the starter, and its maps lead."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image

from worker.training.backgrounds import BACKGROUNDS, recognise
from worker.training.controlnet import draw, led
from worker.training.evaluate_controlnet import agreement
from worker.training.lora import load_pipeline
from worker.training.mapped import as_maps, edges_of

STARTER = Path(__file__).parents[2] / "worker" / "starter"
ZOOM = 2
ELSEWHERE = {"a cat on red": (-6, 4), "黄色背景上的狗": (5, -5)}
"""Of a cat and a dog of the base's own sheet: what is asked for, and where to (down, to the right)."""
TILES = {"a cat on red": 0, "黄色背景上的狗": 4}


@cache
def wanted() -> torch.Tensor:
    """Edges of two of the base's pictures, mirrored and moved to where it never draws them: ``(2, 64, 64)`` bool."""
    with Image.open(STARTER / "emoji-64" / "samples.png") as sheet:
        small = np.asarray(sheet.convert("RGB").resize((sheet.width // ZOOM, sheet.height // ZOOM), 0), np.float32)
    tiles = [small[:64, 64 * place : 64 * place + 64][:, ::-1] / 255 for place in TILES.values()]
    moved = [np.roll(tile, way, (0, 1)) for tile, way in zip(tiles, ELSEWHERE.values(), strict=True)]
    return edges_of(np.stack(moved))


@cache
def drawn(scale: float) -> np.ndarray:
    net = ControlNetModel.from_pretrained(STARTER / "emoji-64-canny")
    pipeline = led(load_pipeline(STARTER / "emoji-64"), net)
    return draw(pipeline, list(ELSEWHERE), as_maps(wanted()), scale, steps=10, guidance=3.0, seed=7)


def test_edges_are_found_again_where_the_map_has_them() -> None:
    with_map, without = (agreement(wanted(), edges_of(drawn(scale))) for scale in (1.0, 0.0))
    assert (with_map > without + 0.2).all()


def test_the_words_still_say_what_colour_the_ground_has() -> None:
    assert [BACKGROUNDS[index].english for index in recognise(drawn(1.0))] == ["red", "yellow"]
