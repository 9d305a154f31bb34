"""Pictures that a client shall not get: scored before they are stored, and then not stored.

Off the device's path, and only for clients with a threshold. A filter that cannot look lets nothing pass.
"""

import io
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageSequence

from worker.courier.frames import PictureHead
from worker.courier.parts import STAMPED, Part

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from worker.packaged.nsfw import NsfwScorer

    Pixels = npt.NDArray[np.uint8]

MOST_FRAMES = 8
"""Of an animation, spread over its length."""
UNSAFE = "unsafe"
FILM = "video/mp4"


class SafetyFilter:
    """Loads its net when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scorer: NsfwScorer | None = None

    def split(self, parts: Sequence[Part], threshold: float) -> tuple[list[Part], list[dict[str, Any]]]:
        """What may be stored, and the `withheld` of the result: index, reason and score.

        Raises:
            CheckpointUnavailableError: the package with the net is missing; says how to install it.
        """
        kept, withheld = [], []
        for part in parts:
            score = self._score(part)
            if score < threshold:
                kept.append(part)
            else:
                withheld.append({"index": part.head.index, "reason": UNSAFE, "score": round(score, 4)})
        return kept, withheld

    def _score(self, part: Part) -> float:
        """The worst of its frames; 0 of what shows nothing."""
        frames = list(_frames(part))
        if not frames:
            return 0.0
        with self._lock:
            if self._scorer is None:
                from worker.packaged.nsfw import NsfwScorer

                self._scorer = NsfwScorer()
            return float(self._scorer.scores(frames).max())


def _frames(part: Part) -> Iterator["Pixels"]:
    import numpy as np

    head = part.head
    if isinstance(head, PictureHead):
        yield np.frombuffer(part.body, np.uint8).reshape(head.height, head.width, 3)
    elif head.index is not None and head.media_type == FILM:
        yield from _of_film(bytes(part.body))
    elif head.index is not None and head.media_type in STAMPED:
        with Image.open(io.BytesIO(part.body)) as picture:
            count = getattr(picture, "n_frames", 1)
            wanted = _spread(count)
            for number, frame in enumerate(ImageSequence.Iterator(picture)):
                if number in wanted:
                    yield np.asarray(frame.convert("RGB"))


def _of_film(body: bytes) -> Iterator["Pixels"]:
    import av

    with av.open(io.BytesIO(body)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    for number in sorted(_spread(len(frames))):
        yield frames[number]


def _spread(count: int) -> set[int]:
    """The numbers of at most so many frames, the first and the last among them."""
    if count <= MOST_FRAMES:
        return set(range(count))
    return {round(number * (count - 1) / (MOST_FRAMES - 1)) for number in range(MOST_FRAMES)}
