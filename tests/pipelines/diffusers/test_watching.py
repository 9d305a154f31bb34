"""Between the steps: progress, stops and previews."""

import numpy as np
import pytest

from models.errors import StoppedError
from models.params import SchedulerName
from tests.pipelines.conftest import Load, Recorder, item, run

FAMILIES = ("sd1", "sdxl", "sd3", "flux")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_is_reported_once_and_in_order(load: Load, family: str) -> None:
    context = Recorder()
    run(load(family), item(num_inference_steps=5), item(num_inference_steps=5), context=context)
    assert context.steps == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize("scheduler", [SchedulerName.HEUN, SchedulerName.PNDM, SchedulerName.DPMPP_2M])
def test_samplers_of_other_orders_report_the_steps_of_the_request(load: Load, scheduler: SchedulerName) -> None:
    context = Recorder()
    run(load("sd1"), item(num_inference_steps=6, scheduler=scheduler), context=context)
    assert context.steps == [(done, 6) for done in range(1, 7)]


def test_two_calls_of_one_batch_count_on(load: Load) -> None:
    context = Recorder()
    run(load("sdxl"), item(), item(negative_prompt="the sea"), context=context)
    assert context.steps == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_stop_during_a_step_ends_the_batch_within_that_step(load: Load, family: str, at: int) -> None:
    job, context = item(num_inference_steps=8), Recorder()
    context.at_step = lambda done: context.stopped_ids.add(job.job_id) if done == at else None
    with pytest.raises(StoppedError):
        run(load(family), job, context=context)
    assert context.steps[-1] == (at, 8)


def test_a_batch_stopped_before_it_starts_makes_no_step(load: Load) -> None:
    job = item()
    context = Recorder(stopped_ids={job.job_id})
    with pytest.raises(StoppedError):
        run(load("sd1"), job, context=context)
    assert context.steps == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stopped_item_is_not_decoded_and_the_others_are(
    load: Load, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load(family)
    jobs = [item(seed=1, num_images=2), item(seed=2, num_images=2), item(seed=3, num_images=2)]
    whole = run(pipeline, *jobs)
    decoded: list[int] = []
    decode = pipeline._pipe.vae.decode
    monkeypatch.setattr(
        pipeline._pipe.vae, "decode", lambda z, *args, **kwargs: decoded.append(len(z)) or decode(z, *args, **kwargs)
    )
    context = Recorder()
    context.at_step = lambda _: context.stopped_ids.add(jobs[1].job_id)
    left = run(pipeline, *jobs, context=context)
    assert decoded == [4]
    assert [(picture.job_id, picture.index) for picture in left] == [
        (job.job_id, index) for job in (jobs[0], jobs[2]) for index in range(2)
    ]
    kept = [*whole[:2], *whole[4:]]
    assert all(np.abs(a.pixels.astype(int) - b.pixels).max() <= 1 for a, b in zip(left, kept, strict=True))


def test_the_pipeline_goes_on_after_a_stop(load: Load) -> None:
    pipeline, job = load("sd1"), item()
    before = run(pipeline, job)[0].pixels
    context = Recorder()
    context.at_step = lambda _: context.stopped_ids.add(job.job_id)
    with pytest.raises(StoppedError):
        run(pipeline, job, context=context)
    assert np.array_equal(run(pipeline, job)[0].pixels, before)


@pytest.mark.parametrize("family", ["sd2", "sdxl", "sd3", "flux"])
def test_previews_show_every_item_at_every_step_that_wants_one(load: Load, family: str) -> None:
    jobs = [item(num_images=2, width=48, height=48), item(width=48, height=48, num_images=2)]
    context = Recorder(previews_wanted=True)
    run(load(family), *jobs, context=context)
    assert [job_id for job_id, _ in context.previews] == [job.job_id for job in jobs] * 3
    shapes = {pixels.shape for _, pixels in context.previews}
    assert shapes == {(24, 24, 3)}  # the tiny autoencoders have two pixels to a latent
    assert all(pixels.dtype == np.uint8 and pixels.std() > 0 for _, pixels in context.previews)


def test_no_preview_is_computed_where_none_is_wanted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load("sd1")
    monkeypatch.setattr(pipeline._denoiser, "previewer", None)
    run(pipeline, item(), context=Recorder())
