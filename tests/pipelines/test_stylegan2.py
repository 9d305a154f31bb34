"""StyleGAN2: whose styles decide what, and how far from the mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CheckpointUnavailableError
from tests.pipelines.conftest import run
from tests.pipelines.small import job, open_family, save
from worker.devices import Device
from worker.pipelines.base import Pipeline


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return open_family("stylegan2", save("stylegan2", tmp_path_factory.mktemp("net")), cpu)


def drawn(pipeline: Pipeline, **params: Any) -> Any:
    return run(pipeline, job("sample", "stylegan2", **params))[0].pixels.astype(int)


def test_the_later_the_layer_the_less_the_other_seed_changes(pipeline: Pipeline) -> None:
    own = drawn(pipeline, seed=1)
    changes = [np.abs(drawn(pipeline, seed=1, mix_seed=2, mix_layer=layer) - own).mean() for layer in (1, 3, 5)]
    assert changes[0] > changes[1] > changes[2] > 0


def test_a_seed_mixed_with_itself_is_itself(pipeline: Pipeline) -> None:
    assert np.array_equal(drawn(pipeline, seed=1, mix_seed=1, mix_layer=2), drawn(pipeline, seed=1))


def test_half_of_the_layers_are_mixed_where_none_is_named(pipeline: Pipeline) -> None:
    assert np.array_equal(drawn(pipeline, mix_seed=2), drawn(pipeline, mix_seed=2, mix_layer=3))


def test_mixes_of_several_seeds_share_a_batch(pipeline: Pipeline) -> None:
    jobs = [job("sample", "stylegan2", seed=seed, mix_seed=seed + 5, mix_layer=2) for seed in (1, 2)]
    for together, item in zip(run(pipeline, *jobs), jobs, strict=True):
        assert np.abs(together.pixels.astype(int) - run(pipeline, item)[0].pixels).max() <= 1


def test_truncation_pulls_every_style_towards_one_mean(pipeline: Pipeline) -> None:
    net: Any = pipeline
    draws = [job("sample", "stylegan2", seed=seed, truncation=1e-6) for seed in (1, 2)]
    strengths = [layer.noise_strength.data.clone() for layer in net._net.layers]
    for layer in net._net.layers:
        layer.noise_strength.data.zero_()
    try:
        first, second = (run(pipeline, item)[0].pixels for item in draws)
    finally:
        for layer, strength in zip(net._net.layers, strengths, strict=True):
            layer.noise_strength.data.copy_(strength)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, run(pipeline, draws[0])[0].pixels)  # the noise inputs are heard otherwise


def test_a_profile_of_another_number_of_styles_is_refused(tmp_path: Path, cpu: Device) -> None:
    with pytest.raises(CheckpointUnavailableError, match="8 style layers, the net 6"):
        open_family("stylegan2", save("stylegan2", tmp_path), cpu, style_layers=8)
