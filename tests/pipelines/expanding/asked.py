"""Jobs of expand_prompt, and what a run says of them."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from models.params import ExpandPromptParams
from tests.pipelines.conftest import Recorder
from worker.pipelines.base import Facts, Item, Pipeline


def asked(prompt: str, **params: Any) -> Item:
    """A resolved job."""
    return Item(uuid4(), "expand_prompt", ExpandPromptParams(prompt=prompt, **({"seed": 1} | params)))


def said(pipeline: Pipeline, items: Iterable[Item], context: Recorder | None = None) -> list[dict[str, Any]]:
    """The facts of each item that has some, in the items' order."""
    given, context = list(items), context or Recorder()
    context.job_ids = {item.job_id for item in given}
    found = {made.job_id: dict(made.data) for made in pipeline.run(given, context) if isinstance(made, Facts)}
    return [found[item.job_id] for item in given if item.job_id in found]
