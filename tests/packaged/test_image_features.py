"""Features: near for what looks alike, far for what does not."""

import numpy as np
import pytest
from PIL import Image

from tests.packaged.conftest import Pixels, draw_scene
from worker.packaged import image_features
from worker.packaged.image_features import DIMENSIONS, ImageFeatures


@pytest.fixture(scope="module")
def features() -> ImageFeatures:
    return ImageFeatures()


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine."""
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_a_changed_copy_is_nearer_than_another_picture(features: ImageFeatures, scene: Pixels, noise: Pixels) -> None:
    # given: a scene, the same smaller and darker, its mirror, and things that are no scene
    small = np.asarray(Image.fromarray(scene).resize((90, 90), Image.Resampling.BILINEAR))
    dark = (small * 0.8).astype(np.uint8)
    stripes = np.tile(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), (40, 80, 1))
    read = features.features([scene, dark, scene[:, ::-1], noise, stripes])
    assert (read.shape, read.dtype) == ((5, DIMENSIONS), np.float32)
    near = [likeness(read[0], other) for other in read[1:]]
    assert min(near[:2]) > 0.8
    assert max(near[2:]) < 0.5


def test_a_batch_changes_nothing_to_speak_of(
    features: ImageFeatures, scene: Pixels, noise: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [scene, noise, draw_scene(40)]
    together = features.features(pictures)
    monkeypatch.setattr(image_features, "MAX_BATCH", 1)
    assert np.allclose(features.features(pictures), together, atol=1e-4)
    assert features.features([]).shape == (0, DIMENSIONS)


def test_the_same_pictures_give_the_same_numbers(features: ImageFeatures, scene: Pixels) -> None:
    assert np.array_equal(features.features([scene]), ImageFeatures().features([scene]))
