"""The figures of `score` that need no words: safety, sharpness, hashes, PSNR and SSIM against a reference."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import Metric, ScoreParams
from worker.pipelines.base import Item

if TYPE_CHECKING:
    from worker.packaged.nsfw import NsfwScorer
    from worker.pipelines.base import Pixels

DIGITS = 4
HASH_DIGITS = 16
"""Hexadecimal ones of 64 bits."""

Measure = Callable[["Pixels", "Pixels | None"], Any]


class Measures:
    """Opens what it needs when it is first asked for."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._of: dict[Metric, Measure] = {
            Metric.SAFETY: self._safety,
            Metric.SHARPNESS: _sharpness,
            Metric.HASH: _hashes,
            Metric.PSNR: _psnr,
            Metric.SSIM: _ssim,
        }

    def of(self, item: Item) -> tuple[dict[str, Any], list[str]]:
        """The item's figures by metric, and notes on those that could not be taken, which are None.

        Raises:
            InvalidInputError: one that the client named cannot be taken here; its field is `/params/metrics`.
        """
        params = item.params
        if not isinstance(params, ScoreParams):
            raise InvalidInputError(f"This takes figures; it does no {item.task}.", job_id=str(item.job_id))
        picture = item.picture("image")
        reference = item.picture("reference") if params.reference is not None else None
        figures: dict[str, Any] = {}
        notes = []
        for metric in params.wanted():
            if metric not in self._of:
                continue
            try:
                figures[metric.value] = self._of[metric](picture, reference)
            except CheckpointUnavailableError as error:
                text = f"{metric.value}: {error.detail}"
                if metric in params.metrics:
                    extra = {"job_id": str(item.job_id), "field": "/params/metrics"}
                    raise InvalidInputError(text, **extra) from error
                figures[metric.value] = None
                notes.append(text)
        return figures, notes

    @cached_property
    def _nsfw(self) -> "NsfwScorer":
        import torch

        from worker.packaged.nsfw import NsfwScorer

        return NsfwScorer(torch.get_num_threads())

    def _safety(self, picture: "Pixels", _reference: "Pixels | None") -> dict[str, float]:
        return {"unsafe": round(float(self._nsfw.scores([picture])[0]), DIGITS)}


def _sharpness(picture: "Pixels", _reference: "Pixels | None") -> dict[str, Any]:
    from worker.quality.sharpness import sharpness

    found = sharpness(picture)
    return {"score": round(found.score, 2), "blurred": found.blurred}


def _hashes(picture: "Pixels", reference: "Pixels | None") -> dict[str, Any]:
    from worker.quality.perceptual_hash import are_near_duplicates, hamming_distance, perceptual_hash
    from worker.quality.pixels_hash import pixels_hash

    pixels, looks = pixels_hash(picture), perceptual_hash(picture)
    found: dict[str, Any] = {"pixels_sha256": pixels, "perceptual": f"{looks:0{HASH_DIGITS}x}"}
    if reference is None:
        return found
    other = perceptual_hash(reference)
    return found | {
        "same_pixels": pixels == pixels_hash(reference),
        "distance": hamming_distance(looks, other),
        "near_duplicate": are_near_duplicates(looks, other),
    }


def _psnr(picture: "Pixels", reference: "Pixels | None") -> dict[str, Any]:
    """Null decibels for equal pictures: JSON has no infinity."""
    from worker.quality.psnr import psnr

    decibels = psnr(picture, _given(reference))
    equal = math.isinf(decibels)
    return {"decibels": None if equal else round(decibels, 2), "equal": equal}


def _ssim(picture: "Pixels", reference: "Pixels | None") -> float:
    from worker.quality.ssim import ssim

    return round(ssim(picture, _given(reference)), DIGITS)


def _given(reference: "Pixels | None") -> "Pixels":
    if reference is None:
        raise ValueError("the schema promises a reference")
    return reference
