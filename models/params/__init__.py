"""What a client may ask for: one pydantic schema per task, declared once.

Bounds, defaults and descriptions here become the API's schema, the docs, the CLI's help and the dashboard's form.
To add a task: one file with a `TaskParams` subclass, one line in `TASKS`.
"""

from models.params.base import OutputFormat, TaskParams, parse_params
from models.params.class_to_image import ClassToImageParams
from models.params.profile import CheckpointProfile
from models.params.text_to_image import SchedulerName, TextToImageParams

TASKS: dict[str, type[TaskParams]] = {
    "text_to_image": TextToImageParams,
    "class_to_image": ClassToImageParams,
}
"""Every task of `POST /v1/jobs`, by name."""

__all__ = [
    "TASKS",
    "CheckpointProfile",
    "ClassToImageParams",
    "OutputFormat",
    "SchedulerName",
    "TaskParams",
    "TextToImageParams",
    "parse_params",
]
