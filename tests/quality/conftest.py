"""Pictures that the metrics are tried on, made of formulas: the same on every machine."""

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def pattern() -> NDArray[np.uint8]:
    """(48, 64, 3): ramps and a moiré."""
    y, x = np.mgrid[:48, :64]
    return np.stack([(x * 4) % 256, (y * 5) % 256, (x * y) % 256], -1).astype(np.uint8)


@pytest.fixture
def noisy(pattern: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same with a regular error of at most 20."""
    y, x = np.mgrid[:48, :64]
    return np.clip(pattern.astype(int) + ((x * 7 + y * 13) % 41 - 20)[..., None], 0, 255).astype(np.uint8)
