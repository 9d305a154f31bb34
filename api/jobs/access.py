"""Finding a job for a request: only what the key may see, and only what it may change."""

from uuid import UUID

from sqlalchemy.orm import Session

from api.auth import may_act_for, visible_client
from models.errors import ForbiddenError, NotFoundError
from models.jobs import Job
from models.jobs.queries import get_job


def visible_job(session: Session, job_id: UUID, *, whole: bool = False) -> Job:
    """The job.

    Raises:
        NotFoundError: there is none, or it is another client's.
    """
    job = get_job(session, job_id, visible_client(), whole=whole)
    if job is None:
        raise NotFoundError.of("job", job_id)
    return job


def changeable_job(session: Session, job_id: UUID, *, whole: bool = False) -> Job:
    """The job, if this key may change it.

    Raises:
        NotFoundError, ForbiddenError: the second for a viewer of another client's job.
    """
    job = visible_job(session, job_id, whole=whole)
    if not may_act_for(job.client_id):
        raise ForbiddenError("Only operators and admins change the jobs of other clients.")
    return job
