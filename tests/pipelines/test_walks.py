"""Walks: where they pass, how they are put together, and how several share a batch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.params.latents import Path
from tests.pipelines.conftest import Recorder
from tests.pipelines.small import job
from worker.pipelines.base import Item, generator_for
from worker.pipelines.draws import noise
from worker.pipelines.walks import between, seeds_of, walk_all

FRAME = np.zeros((8, 6, 3), np.uint8)


def stops(count: int, *shape: int) -> Any:
    return noise((generator_for(seed, 0) for seed in range(count)), *shape)


@given(count=st.integers(2, 6), frames=st.integers(2, 40), path=st.sampled_from(Path))
def test_every_walk_begins_and_ends_exactly_at_its_stops(count: int, frames: int, path: Path) -> None:
    given_stops = stops(count, 3, 2, 2)
    walked = between(given_stops, frames, path)
    assert walked.shape == (frames, 3, 2, 2)
    assert torch.equal(walked[0], given_stops[0])
    assert torch.equal(walked[-1], given_stops[-1])


@pytest.mark.parametrize("path", list(Path))
def test_stops_between_are_passed_and_legs_are_of_one_length(path: Path) -> None:
    given_stops = stops(3, 16)
    walked = between(given_stops, 9, path)
    assert torch.allclose(walked[4], given_stops[1], atol=1e-5)
    for leg in (walked[:5], walked[4:]):
        lengths = leg.diff(dim=0).norm(dim=1)
        assert (lengths / lengths.mean() - 1).abs().max() < 0.2


def test_along_the_sphere_no_frame_is_duller_than_its_stops() -> None:
    given_stops = stops(2, 4, 8, 8)
    lengths = given_stops.flatten(1).norm(dim=1)
    on_sphere, straight = (between(given_stops, 11, path).flatten(1).norm(dim=1) for path in Path)
    assert on_sphere.min() > 0.999 * lengths.min()
    assert on_sphere.max() < 1.001 * lengths.max()
    assert straight[5] < 0.8 * lengths.min()  # noise that a net has never seen: grey pictures


def test_from_a_latent_to_itself_nothing_moves() -> None:
    walked = between(stops(1, 5).repeat(2, 1), 4, Path.SLERP)
    assert torch.allclose(walked, walked[0].expand(4, -1), atol=1e-6)


def walking(**params: Any) -> Item:
    return job("interpolate", seeds=[1, 2], **params)


def walked(context: Recorder, *jobs: Item, portion: int = 2) -> tuple[list[Any], list[slice]]:
    asked: list[slice] = []

    def begin(_item: Item) -> Any:
        return lambda part: asked.append(part) or np.repeat(FRAME[None], part.stop - part.start, axis=0)  # type: ignore[func-returns-value]

    return list(walk_all(jobs, context, begin, portion)), asked


def test_frames_are_asked_for_in_portions_and_counted_over_all_walks() -> None:
    jobs, context = [walking(frames=5), walking(frames=2)], Recorder()
    files, asked = walked(context, *jobs)
    assert asked == [slice(0, 2), slice(2, 4), slice(4, 5), slice(0, 2)]
    assert context.steps == [(2, 7), (4, 7), (5, 7), (7, 7)]
    assert [file.job_id for file in files] == [item.job_id for item in jobs]


def test_a_walk_that_is_not_wanted_is_left_where_it_is() -> None:
    jobs = [walking(frames=6), walking(frames=2), walking(frames=4)]
    context = Recorder(stopped_ids={jobs[1].job_id})
    context.at_step = lambda done: context.stopped_ids.add(jobs[0].job_id) if done == 4 else None
    files, _ = walked(context, *jobs)
    assert [file.job_id for file in files] == [jobs[2].job_id]
    assert context.steps == [(2, 12), (4, 12), (10, 12), (12, 12)]


@pytest.mark.parametrize(
    ("animation_format", "media_type"), [("gif", "image/gif"), ("webp", "image/webp"), ("mp4", "video/mp4")]
)
def test_the_animation_says_what_it_is(animation_format: str, media_type: str) -> None:
    if animation_format == "mp4":
        pytest.importorskip("av")
    ((file,), _) = walked(Recorder(), walking(frames=3, animation_format=animation_format))
    assert (file.index, file.name, file.media_type) == (0, f"walk.{animation_format}", media_type)
    assert file.size == (6, 8)
    assert file.body


def test_seeds_are_what_most_families_walk_through() -> None:
    assert seeds_of(walking()) == (1, 2)
