"""Best of n: pictures are scored against their prompt as their item is complete, and the best are kept."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from models.errors import InvalidInputError
from models.params import TextToImageParams
from worker.pipelines.base import Context, Item, Library, Picture
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.scoring import TextImageScorer

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


class Chooser:
    """Passes on pictures of items that keep all, and gathers those of items that choose."""

    def __init__(self, items: Sequence[Item], context: Context) -> None:
        """Scorers are loaded here: one that is missing is told before a picture is made.

        Raises:
            CheckpointUnavailableError: there is none.
            InvalidInputError: it reads no words; names the item.
        """
        self._scorers = {item.job_id: _scorer(item, context.library) for item in items if _count(item)}
        self._made: dict[UUID, list[tuple[Row, Pixels]]] = {}

    def take(self, row: Row, pixels: "Pixels") -> Iterator[Picture]:
        """The pictures that are finished with this one."""
        item = row.item
        if item.job_id not in self._scorers:
            yield Picture(item.job_id, row.index, pixels, item.seed)
            return
        made = self._made.setdefault(item.job_id, [])
        made.append((row, pixels))
        if len(made) == item.params.rows():
            yield from self._best(item, self._made.pop(item.job_id))

    def _best(self, item: Item, made: "list[tuple[Row, Pixels]]") -> Iterator[Picture]:
        """In order of score; equal ones in the order in which they were drawn."""
        scores = self._scorers[item.job_id].scores([pixels for _, pixels in made], item.params.texts()["prompt"])
        order = sorted(range(len(made)), key=lambda place: (-scores[place], made[place][0].index))
        for index, place in enumerate(order[: item.params.outputs()]):
            row, pixels = made[place]
            facts = {"score": round(float(scores[place]), 6), "made": len(made), "drawn": row.index}
            yield Picture(item.job_id, index, pixels, item.seed, facts)


def _count(item: Item) -> int | None:
    return item.params.best_of if isinstance(item.params, TextToImageParams) else None


def _scorer(item: Item, library: Library) -> TextImageScorer:
    name = getattr(item.params, "scorer", None)
    found = library.pipeline("score", name)
    if not isinstance(found, TextImageScorer):
        text = "This checkpoint does not score pictures against words; name one that does."
        raise InvalidInputError(text, job_id=str(item.job_id), field="/params/scorer")
    return found
