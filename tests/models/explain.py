"""Reading the plans of the statements that a test sends, as Postgres explains them with the values that were sent."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def explained(engine: Engine, wanted: Callable[[str], bool]) -> Iterator[list[dict[str, Any]]]:
    """The plans of every statement that is `wanted`, in order; filled while the block lasts."""
    found: list[dict[str, Any]] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if wanted(statement):
            cursor.execute("EXPLAIN (FORMAT JSON) " + statement, parameters)
            plan = cursor.fetchone()[0]
            found.append((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def begins(statement: str, *words: str) -> bool:
    """Whether it is one of these kinds of statement."""
    return statement.lstrip().upper().startswith(words)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
