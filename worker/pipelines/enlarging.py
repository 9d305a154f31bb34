"""What upscalers share that are no diffusion: one picture at a time, tile by tile, within bounds."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from models.errors import InvalidInputError, StoppedError
from models.params import UpscaleParams
from models.params.data_sets import Resize
from worker.media.transforms import resize
from worker.packaged.tiles import Enlarge, enlarge_tiled, spans
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Item, Output, Picture, Pipeline
from worker.pipelines.failures import guarded

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels

LEAST_TILE = 32
"""Pixels of the small picture; below it a tile is mostly margin."""


class Upscaler(Pipeline):
    """An `Enlarge` by a fixed scale. Each picture passes alone, so company changes nothing."""

    tasks: ClassVar[frozenset[str]] = frozenset({"upscale"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    def __init__(self, enlarge: Enlarge, files: CheckpointFiles, *, scale: int, tile: int, margin: int) -> None:
        """`tile` and `margin` are in pixels of the small picture; smaller scales are `scale` shrunk again."""
        self._enlarge = enlarge
        self._max_pixels = files.profile.max_input_pixels
        self._scale, self._tile, self._margin = scale, tile, margin

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One after the other; steps are tiles."""
        context.raise_if_all_stopped()
        seen = [self._seen(item) for item in items]
        total, done = sum(map(self._tiles, seen)), 0
        for item, pixels in zip(items, seen, strict=True):
            if not context.stopped(item.job_id):
                watch = _Watch(item, context, done, total)
                try:
                    large = guarded(lambda pixels=pixels, watch=watch: self._enlarged(pixels, watch))  # type: ignore[misc]
                except StoppedError:
                    context.raise_if_all_stopped()  # else only this one is not wanted any more
                else:
                    yield Picture(item.job_id, 0, self._at_scale(item, pixels, large), item.seed)
            done += self._tiles(pixels)

    def slim(self) -> str:
        """Tiles of half the side."""
        if self._tile <= LEAST_TILE:
            return ""
        self._tile = max(LEAST_TILE, self._tile // 2)
        return f"tiles of {self._tile}"

    def _seen(self, item: Item) -> "Pixels":
        pixels = item.picture("image")
        height, width = pixels.shape[:2]
        if height * width > self._max_pixels:
            text = f"{width} × {height} pixels are more than the {self._max_pixels} that this checkpoint enlarges."
            raise InvalidInputError(text, job_id=str(item.job_id), field="/params/image")
        return pixels

    def _enlarged(self, pixels: "Pixels", watch: "_Watch") -> "Pixels":
        return enlarge_tiled(
            self._enlarge, pixels, scale=self._scale, tile=self._tile, margin=self._margin, on_tile=watch
        )

    def _at_scale(self, item: Item, pixels: "Pixels", large: "Pixels") -> "Pixels":
        """Shrunk again where less was asked for than the net gives."""
        assert isinstance(item.params, UpscaleParams)  # noqa: S101  # the claim matched task and checkpoint
        scale = item.params.scale or self._scale
        height, width = pixels.shape[:2]
        return large if scale == self._scale else resize(large, width * scale, height * scale, Resize.STRETCH)

    def _tiles(self, pixels: "Pixels") -> int:
        """How many pieces it comes in."""
        rows, columns = (len(list(spans(side, self._tile, self._margin))) for side in pixels.shape[:2])
        return rows * columns


class _Watch:
    """Between the tiles of one picture."""

    def __init__(self, item: Item, context: Context, done: int, total: int) -> None:
        self._item, self._context, self._done, self._total = item, context, done, total

    def __call__(self, done: int, _total: Any) -> None:
        """Progress over all pictures, and the stop of this one."""
        self._context.step(self._done + done, self._total)
        if self._context.stopped(self._item.job_id):
            raise StoppedError("nobody wants this picture any more")
