"""What a family offers that measures pictures against words. Best-of-n asks it through `Library.pipeline`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


@runtime_checkable
class TextImageScorer(Protocol):
    """A loaded checkpoint of the task `score` that reads words."""

    def scores(self, pictures: "Sequence[Pixels]", text: str) -> list[float]:
        """How well each `(H, W, 3)` uint8 picture fits the text: a number each, larger fits better.

        Numbers of one scorer can be compared for one text only.
        """
