"""Animations: every frame arrives, in time and in its colours, and the same frames make the same bytes."""

import io
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import CheckpointUnavailableError
from models.params.latents import AnimationFormat
from worker.media.animation import animate
from worker.quality.psnr import psnr

Frames = NDArray[np.uint8]
STILLS = (AnimationFormat.GIF, AnimationFormat.WEBP)


@pytest.fixture
def frames() -> Frames:
    """Seven frames of 40 × 56 with thousands of colours, in which a square moves over a ramp."""
    y, x = np.mgrid[:40, :56]
    ramp = np.stack([x * 4, y * 6, 255 - x * 2 - y * 2], -1).astype(np.uint8)
    made = np.repeat(ramp[None], 7, axis=0)
    for number, frame in enumerate(made):
        frame[10:30, 5 * number : 5 * number + 15] = (240, 40 + 20 * number, 30)
    return made


def shown(body: bytes) -> tuple[list[Frames], list[int]]:
    """The frames as a viewer shows them, and how long, in milliseconds."""
    found, durations = [], []
    with Image.open(io.BytesIO(body)) as image:
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
    return found, durations


def filmed(body: bytes) -> tuple[list[Frames], Fraction]:
    with av.open(io.BytesIO(body)) as container:
        track = container.streams.video[0]
        assert (track.codec_context.name, track.codec_context.pix_fmt) == ("h264", "yuv420p")
        made = [frame.reformat(format="rgb24", src_colorspace=1).to_ndarray() for frame in container.decode(track)]
        return made, track.average_rate


@pytest.mark.parametrize("form", list(AnimationFormat))
def test_the_same_frames_make_the_same_bytes(form: AnimationFormat, frames: Frames) -> None:
    first, second = (animate(frames, form, 12) for _ in range(2))
    assert first == second
    assert (first.frames, first.width, first.height) == (7, 56, 40)
    assert animate(frames[::-1], form, 12).body != first.body


def test_webp_without_a_quality_keeps_every_pixel(frames: Frames) -> None:
    exact = animate(frames, AnimationFormat.WEBP, 12)
    assert exact.media_type == "image/webp"
    assert np.array_equal(shown(exact.body)[0], frames)


def test_webp_with_a_quality_is_smaller_and_near_the_frames(frames: Frames) -> None:
    """Given a grain that no file can hold in few bytes, then quality is what is paid for them."""
    grain = np.random.default_rng(0).integers(0, 12, frames.shape)
    frames = np.minimum(frames, 243) + grain.astype(np.uint8)
    exact, rough = (animate(frames, AnimationFormat.WEBP, 12, quality=quality) for quality in (None, 50))
    assert len(rough.body) < len(exact.body) / 2
    assert all(psnr(*pair) > 25 for pair in zip(shown(rough.body)[0], frames, strict=True))


def test_a_gif_of_many_colours_is_near_the_frames(frames: Frames) -> None:
    """Given thousands of colours, then each frame is close, and closer than 256 fixed colours come."""
    made, _ = shown(animate(frames, AnimationFormat.GIF, 12).body)
    for frame, given in zip(made, frames, strict=True):
        fixed = np.asarray(Image.fromarray(given).convert("P", palette=Image.Palette.WEB).convert("RGB"))
        assert psnr(frame, given) > max(27, psnr(fixed, given))


def test_a_gif_of_few_colours_keeps_every_pixel() -> None:
    colours = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
    frames = colours[np.random.default_rng(6).integers(0, 256, (4, 30, 30))]
    assert np.array_equal(shown(animate(frames, AnimationFormat.GIF, 10).body)[0], frames)


def test_what_stands_still_does_not_flicker(frames: Frames) -> None:
    """Given rows that never change above all that does, then a GIF shows them alike in each frame."""
    made, _ = shown(animate(frames, AnimationFormat.GIF, 12).body)
    assert all(np.array_equal(frame[:10], made[0][:10]) for frame in made)


@pytest.mark.parametrize("form", STILLS)
@pytest.mark.parametrize("frames_per_second", [3, 7, 12, 24, 30])
def test_the_whole_takes_as_long_as_it_should(form: AnimationFormat, frames_per_second: float, frames: Frames) -> None:
    """Given a time per frame that is no whole tick, then the frames differ by one tick and the sum is right."""
    _, durations = shown(animate(frames, form, frames_per_second).body)
    tick = 10 if form is AnimationFormat.GIF else 1
    assert len(durations) == 7
    assert sum(durations) == pytest.approx(7000 / frames_per_second, abs=tick / 2 + 1e-6)
    assert max(durations) - min(durations) <= tick


def test_a_gif_is_never_faster_than_browsers_play(frames: Frames) -> None:
    assert shown(animate(frames, AnimationFormat.GIF, 60).body)[1] == [20] * 7


@pytest.mark.parametrize("form", STILLS)
def test_it_loops_for_ever(form: AnimationFormat, frames: Frames) -> None:
    with Image.open(io.BytesIO(animate(frames, form, 12).body)) as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_there_and_back_shows_no_frame_twice_in_a_row(count: int, frames: Frames) -> None:
    made = animate(frames[:count], AnimationFormat.WEBP, 12, there_and_back=True)
    order = [*range(count), *range(count - 2, 0, -1)]
    assert made.frames == len(order)
    assert np.array_equal(shown(made.body)[0], frames[order])


def test_a_film_has_its_rate_and_its_colours(frames: Frames) -> None:
    made = animate(frames.repeat(8, axis=1).repeat(8, axis=2), AnimationFormat.MP4, 12.5)
    found, rate = filmed(made.body)
    assert made.media_type == "video/mp4"
    assert rate == Fraction(25, 2)
    assert all(psnr(a[::8, ::8], b) > 30 for a, b in zip([f[4:, 4:] for f in found], frames, strict=True))


def test_a_film_of_odd_size_gets_one_more_line(frames: Frames) -> None:
    made = animate(frames[:, :39, :55], AnimationFormat.MP4, 12)
    assert (made.width, made.height) == (56, 40)
    film = filmed(made.body)[0][0]
    assert film.shape == (40, 56, 3)
    assert np.abs(film[-1].astype(int) - film[-2]).max() < 30
    assert np.abs(film[:, -1].astype(int) - film[:, -2]).max() < 30


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4, 4), np.uint8), np.zeros((0, 4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3))]
)
def test_what_is_no_animation_is_refused(wrong: Frames) -> None:
    with pytest.raises(ValueError, match="frames are"):
        animate(wrong, AnimationFormat.GIF, 12)


def test_without_its_package_a_film_says_what_to_install(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CheckpointUnavailableError, match=r"safelight\[video\]"):
        animate(frames, AnimationFormat.MP4, 12)
    assert animate(frames, AnimationFormat.GIF, 12).frames == 7
