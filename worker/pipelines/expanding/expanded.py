"""What comes in and what goes out of an expansion: the item's params, and what is said in the job's result."""

from dataclasses import dataclass
from typing import Any

from models.errors import InvalidInputError
from models.params import ExpandPromptParams
from worker.pipelines.base import Item


@dataclass(frozen=True)
class Expanded:
    """The texts of one item, and how they came about."""

    texts: tuple[str, ...]
    method: str
    cached: bool = False
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """For `Facts`."""
        return {"texts": list(self.texts), "method": self.method, "cached": self.cached, "notes": list(self.notes)}


def params_of(item: Item) -> ExpandPromptParams:
    """The item's params.

    Raises:
        InvalidInputError: they are another task's.
    """
    if not isinstance(item.params, ExpandPromptParams):
        raise InvalidInputError(f"This expands prompts; it does no {item.task}.", job_id=str(item.job_id))
    return item.params
