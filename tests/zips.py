"""Zips of small pictures for tests, in any layout and as hostile as wanted."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (24, 24), name: str = "PNG", noise: float = 1.0) -> bytes:
    """A picture of its own for each seed: bright blocks, so that no two look alike, and some noise."""
    draw = np.random.default_rng(seed)
    width, height = size
    blocks = draw.integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    grain = draw.normal(0, 6 * noise, (height, width, 3))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, name)
    return body.getvalue()


def zipped(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


def image_folder(classes: Mapping[str, int], size: tuple[int, int] = (24, 24), split: str = "") -> dict[str, bytes]:
    """So many pictures of each class, in the layout of ImageFolder."""
    files: dict[str, bytes] = {}
    for name, count in classes.items():
        for _ in range(count):
            folder = f"{split}/{name}" if split else name
            files[f"{folder}/{len(files):03}.png"] = picture(len(files), size)
    return files


def rows(*found: dict[str, Any]) -> str:
    """The text of a `metadata.jsonl`."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
