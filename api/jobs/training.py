"""What can be said of a training before it is queued: its name, its classes, its base. The rest shows in the worker."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.services import Services
from models.artifacts import Upload
from models.checkpoints import find_for_task
from models.errors import FieldError, ValidationFailedError
from models.jobs.naming import name_is_free
from models.params import Method, TaskParams, TrainParams
from models.params.base import problem
from models.params.data_sets import CLASSES_NEEDED

BASE_TASK = "text_to_image"
"""What adapters are trained for."""


def check_training(services: Services, client_id: UUID, params: TaskParams) -> None:
    """Look at the names that a training uses, and at what is known of an uploaded data set.

    Raises:
        ValidationFailedError: one entry for each that does not fit.
    """
    if not isinstance(params, TrainParams):
        return
    with services.reader() as session:
        faults = [*_names(session, client_id, params), *_data_set(session, client_id, params)]
    if faults:
        raise ValidationFailedError(faults)


def _names(session: Session, client_id: UUID, params: TrainParams) -> Iterator[FieldError]:
    if not name_is_free(session, params.name, client_id):
        yield problem("name", "name_taken", f"There is a checkpoint {params.name!r} that is not of your making.")
    if params.method is Method.LORA and params.base is not None:
        try:
            base = find_for_task(session, BASE_TASK, params.base)
        except ValidationFailedError as error:
            yield problem("base", error.fields[0].code, error.fields[0].message)
        else:
            if base.family != "diffusers":
                yield problem("base", "not_adaptable", f"{params.base!r} takes no LoRA.")


def _data_set(session: Session, client_id: UUID, params: TrainParams) -> Iterator[FieldError]:
    """Of an upload; what a job makes is not there yet."""
    wanted = (Upload.id == params.data_set.upload, Upload.client_id == client_id)
    details = session.scalars(select(Upload.details).where(*wanted)).one_or_none()
    if not details:
        return
    if params.method in CLASSES_NEEDED and not details["classes"]:
        text = "This data set has no classes: give each class a folder, or `label` in metadata.jsonl."
        yield problem("data_set", "no_classes", text)
    if details["splits"] and params.split not in details["splits"]:
        known = ", ".join(details["splits"])
        yield problem("split", "split_unknown", f"This data set has no split {params.split!r}; it has: {known}.")
