"""What a job made, and what it looks like meanwhile."""

from flask import Response

from api.auth import Access
from api.blobs import REDIRECT, artifact_redirect
from api.jobs.access import visible_job
from api.jobs.schemas import ArtifactList, JobPath
from api.jobs.views import artifact_view
from api.room import Answer, Room
from api.services import get_services
from models.errors import ConflictError, GoneError, NotFoundError
from models.jobs import Job
from models.states import JobState

PICTURE = {"description": "The picture.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}


def add_result_routes(room: Room) -> None:
    """Register the routes below /jobs/{id} that answer with pictures."""
    room.endpoint(
        "get",
        "/jobs/<uuid:job_id>/result",
        access=Access.READ,
        answers={302: REDIRECT, 200: ArtifactList},
        problems=(409, 410),
    )(get_result)
    room.endpoint("get", "/jobs/<uuid:job_id>/preview", access=Access.READ, answers={200: PICTURE})(get_preview)


def get_result(path: JobPath) -> Answer | Response:
    """What a job made: a redirect to its one artifact, or the list when there are several or none."""
    with get_services().reader() as session:
        job = visible_job(session, path.job_id, whole=True)
    check_result(job)
    if len(job.artifacts) != 1:
        items = [artifact_view(artifact) for artifact in job.artifacts]
        return Answer(ArtifactList(items=items, result=job.result or {}))
    return artifact_redirect(job.artifacts[0])


def get_preview(path: JobPath) -> Response:
    """The newest preview of a running job."""
    services = get_services()
    with services.reader() as session:
        visible_job(session, path.job_id)
    picture = services.board.preview(path.job_id)
    if picture is None:
        raise NotFoundError("This job has no preview now.")
    return Response(picture, mimetype="image/png", headers={"Cache-Control": "no-store"})


def check_result(job: Job) -> None:
    """Raises ConflictError where there is no result, GoneError where it was deleted."""
    if job.state is not JobState.SUCCEEDED:
        raise ConflictError(f"The job is {job.state.value}; it has no result.", state=job.state.value)
    if job.results_deleted_at is not None:
        raise GoneError("The results of this job were deleted when their retention ended.")
