"""Frames to an animation: GIF, WebP or MP4, the same bytes for the same frames."""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import CheckpointUnavailableError
from models.params.latents import AnimationFormat

Frames = npt.NDArray[np.uint8]

GIF_COLOURS = 256
GIF_TICKS_PER_SECOND = 100
GIF_SHORTEST_TICKS = 2
"""Browsers show anything shorter for a tenth of a second: a GIF plays at most 50 frames a second."""
PALETTE_PIXELS = 1 << 22
"""How many pixels a shared palette is drawn from; those of longer animations are thinned out evenly."""
MP4_CRF = 18
"""x264's constant rate factor: the eye sees little below it."""


@dataclass(frozen=True)
class Animation:
    """A file in memory."""

    body: bytes
    media_type: str
    frames: int
    width: int
    height: int


def animate(
    frames: Frames,
    animation_format: AnimationFormat,
    frames_per_second: float,
    *,
    there_and_back: bool = False,
    quality: int | None = None,
) -> Animation:
    """An endless loop of `(N, H, W, 3)` uint8 frames; `there_and_back` runs back to the second before it begins anew.

    `quality`, 0 to 100, is WebP's; None keeps every pixel. GIF keeps every pixel of frames that together have at most
    256 colours. MP4 is H.264 with halved colour resolution, for whatever plays films; an odd side repeats its last
    pixels, and players, not the file, loop it.

    Raises:
        ValueError: no frames, or not of that shape.
        CheckpointUnavailableError: MP4 without PyAV.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:  # noqa: PLR2004
        raise ValueError(f"frames are (N, H, W, 3) uint8, not {frames.shape} {frames.dtype}")
    played = np.concatenate([frames, frames[-2:0:-1]]) if there_and_back else frames
    writers: dict[AnimationFormat, Callable[[], tuple[bytes, str]]] = {
        AnimationFormat.GIF: lambda: (_gif(played, frames_per_second), "image/gif"),
        AnimationFormat.WEBP: lambda: (_webp(played, frames_per_second, quality), "image/webp"),
        AnimationFormat.MP4: lambda: (_mp4(_even(played), frames_per_second), "video/mp4"),
    }
    body, media_type = writers[animation_format]()
    height, width = (_even(played) if animation_format is AnimationFormat.MP4 else played).shape[1:3]
    return Animation(body, media_type, len(played), width, height)


def _gif(frames: Frames, frames_per_second: float) -> bytes:
    palette = _exact_palette(frames) or _adaptive_palette(frames)
    # Error diffusion, not a regular pattern: measured over a colour ramp, half the error after the eye's own blur.
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    durations = [10 * ticks for ticks in _spread(len(frames), GIF_TICKS_PER_SECOND / frames_per_second)]
    stream = io.BytesIO()
    images[0].save(stream, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    return stream.getvalue()


def _webp(frames: Frames, frames_per_second: float, quality: int | None) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    # Lossless, "quality" is the effort: little of it, since more costs seconds and saves a few per cent.
    kept = {"lossless": True, "quality": 20, "method": 1} if quality is None else {"quality": quality, "method": 4}
    durations = _spread(len(frames), 1000 / frames_per_second, shortest=1)
    stream = io.BytesIO()
    images[0].save(stream, "WEBP", save_all=True, append_images=images[1:], duration=durations, loop=0, **kept)
    return stream.getvalue()


def _mp4(frames: Frames, frames_per_second: float) -> bytes:
    try:
        import av
    except ImportError as error:
        raise CheckpointUnavailableError("MP4 needs the package av: pip install 'safelight[video]'.") from error
    from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4", options={"fflags": "bitexact"}) as container:
        track = container.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1000))
        track.height, track.width = frames.shape[1:3]
        track.pix_fmt = "yuv420p"
        # Said, because players otherwise guess the matrix from the size and show small films in wrong colours.
        context = track.codec_context
        context.colorspace, context.color_primaries, context.color_trc = (
            Colorspace.ITU709,
            ColorPrimaries.BT709,
            ColorTrc.BT709,
        )
        # One thread: with several, where a slice ends depends on how many there are.
        track.options = {"crf": f"{MP4_CRF}", "preset": "medium", "threads": "1", "flags": "+bitexact"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(track.encode(picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(track.encode())
    return stream.getvalue()


def _exact_palette(frames: Frames) -> Image.Image | None:
    """All colours that occur, when a GIF can hold them."""
    thin = _colours(_thinned(frames))
    if len(thin) > GIF_COLOURS or len(colours := _colours(frames)) > GIF_COLOURS:
        return None
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8).tobytes())
    return palette


def _adaptive_palette(frames: Frames) -> Image.Image:
    """One palette for all frames: with one each, a still background would flicker.

    By octree: as good to the eye as median cut with k-means behind it, and hundreds of times as fast.
    """
    pixels = _thinned(frames)
    return Image.fromarray(pixels[None]).quantize(GIF_COLOURS, method=Image.Quantize.FASTOCTREE)


def _thinned(frames: Frames) -> Frames:
    """`(n, 3)`: all pixels, or every so many of them."""
    pixels = frames.reshape(-1, 3)
    # An odd step, which does not fall into step with a picture's width.
    return pixels[:: -(-len(pixels) // PALETTE_PIXELS) | 1]


def _colours(pixels: Frames) -> npt.NDArray[np.int64]:
    """The distinct colours as whole numbers, 0xRRGGBB."""
    return np.unique(pixels.reshape(-1, 3).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def _spread(count: int, ticks: float, shortest: int = GIF_SHORTEST_TICKS) -> list[int]:
    """Whole ticks for each frame, so that the sum stays right where one frame's time is no whole number."""
    ends = [round(number * ticks) for number in range(count + 1)]
    return [max(shortest, after - before) for before, after in itertools.pairwise(ends)]


def _even(frames: Frames) -> Frames:
    """H.264's colour planes are half as large: odd sides get one more line, a copy of the last."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
