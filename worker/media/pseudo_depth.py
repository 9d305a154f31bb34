"""A guess of depth for ControlNets, made on the CPU of three old cues. No measurement, and its name says so."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.media.smoothing import gaussian, guided
from worker.quality.luma import luma

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

LOOKED_AT_PIXELS = 128
"""The longer side at which the cues are taken; the result gets its edges back from the picture itself."""
BORDER_PATCHES = 8
"""Colours that each of top, left and right stands for."""
HEIGHT_WEIGHT, BORDER_WEIGHT, FOCUS_WEIGHT = 0.45, 0.4, 0.15


def pseudo_depth(picture: Picture) -> Picture:
    """`(H, W, 3)` uint8 to `(H, W, 3)` uint8, near is white, as depth ControlNets have it.

    Neither measured nor learned, and often wrong. The sum of three cues: what is lower in a picture tends to be nearer
    (height in the field); what has the colours of its top and sides tends to be background (Wei et al., "Geodesic
    Saliency Using Background Priors", 2012); a lens is sharp on what it shows, so that local contrast says near.
    Brought to the picture's own edges by a guided filter, and stretched to 0–255. For real depth give your own map.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, LOOKED_AT_PIXELS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    lowness = np.linspace(0, 1, small.shape[0], dtype=np.float32)[:, None]
    cues = HEIGHT_WEIGHT * lowness + BORDER_WEIGHT * _unlike_the_border(small) + FOCUS_WEIGHT * _in_focus(small)
    guess = np.asarray(Image.fromarray(cues.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    guess = guided(luma(picture) / np.float32(255), guess, max(1, round(max(height, width) / 24)), 1e-3)
    low, high = float(guess.min()), float(guess.max())
    levels = np.round((guess - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def _unlike_the_border(small: Picture) -> Plane:
    """`(h, w)` in [0, 1]: how far each colour is from the nearest one of the top and the sides."""
    colours = small.astype(np.float32)
    depth = max(1, min(small.shape[:2]) // 16)
    strips = (colours[:depth], colours[:, :depth].transpose(1, 0, 2), colours[:, -depth:].transpose(1, 0, 2))
    patches = [patch.mean(axis=(0, 1)) for strip in strips for patch in np.array_split(strip, BORDER_PATCHES, 1)
               if patch.size]  # fmt: skip
    away = np.min([np.linalg.norm(colours - patch, axis=2) for patch in patches], axis=0)
    return _stretched(gaussian(away.astype(np.float32), 1.0))


def _in_focus(small: Picture) -> Plane:
    """`(h, w)` in [0, 1]: the contrast around each pixel."""
    grey = luma(small) / np.float32(255)
    contrast = gaussian(np.square(grey - gaussian(grey, 1.5)), max(1.0, min(grey.shape) / 16))
    return _stretched(np.sqrt(contrast))


def _stretched(plane: Plane) -> Plane:
    highest = float(plane.max())
    return plane / np.float32(highest) if highest > 0 else plane
