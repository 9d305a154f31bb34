"""GET /v1/tasks."""

from functools import lru_cache

from api.auth import Access
from api.room import Answer, Room
from api.tasks.schemas import TaskList, TaskView
from models.params import TASKS

room = Room("tasks", "What can be asked for.")


@room.endpoint("get", "/tasks", access=Access.READ, answers={200: TaskList})
def list_tasks() -> Answer:
    """List the tasks with the JSON schemas of their params."""
    return Answer(_tasks())


@lru_cache(maxsize=1)
def _tasks() -> TaskList:
    return TaskList(
        items=[
            TaskView(name=name, summary=schema.summary, params=schema.model_json_schema())
            for name, schema in TASKS.items()
        ]
    )
