"""What a round trip lost, as facts of the result."""

import math
from typing import TYPE_CHECKING, Any

from worker.quality.psnr import psnr
from worker.quality.ssim import ssim

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


def fidelity(before: "Pixels", after: "Pixels") -> dict[str, Any]:
    """PSNR in decibels, null for equal pictures since JSON has no infinity, and SSIM; of two pictures of one size."""
    decibels = psnr(before, after)
    return {"psnr_db": None if math.isinf(decibels) else round(decibels, 2), "ssim": round(ssim(before, after), 4)}
