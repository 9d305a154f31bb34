"""What `preprocess` does to a picture's colours, and ways to bring its levels to a common range.

Pure functions over `(H, W, 3)` uint8 RGB. The factors are those of Pillow's `ImageEnhance`: 1 changes nothing.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from models.params.data_sets import Colour
from worker.quality.luma import luma

Picture = npt.NDArray[np.uint8]

MIDDLE_GREY = 127.5


def recolour(picture: Picture, colour: Colour) -> Picture:
    """Brightness, contrast, saturation, hue and greyscale, in this order; what changes nothing is left out."""
    image = Image.fromarray(picture)
    steps = (
        (ImageEnhance.Brightness, colour.brightness),
        (ImageEnhance.Contrast, colour.contrast),
        (ImageEnhance.Color, colour.saturation),
    )
    for enhance, factor in steps:
        if factor != 1:
            image = enhance(image).enhance(factor)
    recoloured = np.asarray(image).copy()
    if colour.hue % 360:
        recoloured = turn_hue(recoloured, colour.hue)
    return greyscale(recoloured) if colour.greyscale else recoloured


def turn_hue(picture: Picture, degrees: float) -> Picture:
    """All hues turned round the grey axis; greys stay, and luma does as far as the cube of colours has room.

    A rotation of the chroma plane of YIQ, as SVG's `hueRotate` is: unlike a walk round HSV's hexagon it has no corners.
    """
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    matrix = np.linalg.inv(to_yiq) @ turn @ to_yiq
    return _to_bytes(picture @ matrix.T)


def greyscale(picture: Picture) -> Picture:
    """Luma in all three channels."""
    return np.repeat(_to_bytes(luma(picture))[..., None], 3, axis=2)


def auto_contrast(picture: Picture, cut_off: float = 0.005) -> Picture:
    """Levels stretched so that the darkest becomes 0 and the lightest 255, the same way in all channels.

    A share of `cut_off` of the samples at each end does not count, so that one bright pixel does not hold up the rest.
    Colours keep their hue; a flat picture stays as it is.
    """
    low, high = np.quantile(picture, [cut_off, 1 - cut_off], method="nearest").astype(float)
    if high <= low:
        return picture.copy()
    return _to_bytes((picture - low) * (255 / (high - low)))


def standardise(picture: Picture, spread: float = 64.0) -> Picture:
    """Each channel brought to a mean of middle grey and this standard deviation, and clipped.

    The "grey world" of colour constancy (Buchsbaum 1980), with contrast: light of any colour becomes white. A channel
    without any spread becomes middle grey.
    """
    exact = picture.astype(np.float64)
    mean, deviation = exact.mean(axis=(0, 1)), exact.std(axis=(0, 1))
    scale = np.divide(spread, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return _to_bytes((exact - mean) * scale + MIDDLE_GREY)


def _to_bytes(samples: npt.NDArray[np.floating]) -> Picture:
    return np.clip(np.round(samples), 0, 255).astype(np.uint8)
