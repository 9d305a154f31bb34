"""Pictures made of formulas: the same on every machine."""

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """(48, 64, 3): a yellow disc, left of the middle, on a blue ramp."""
    y, x = np.mgrid[:48, :64]
    background = np.stack([40 + y, 60 + x, 200 - y], -1)
    disc = (x - 20) ** 2 + (y - 24) ** 2 < 144
    return np.where(disc[..., None], (250, 210, 30), background).astype(np.uint8)
