"""GET an artifact, and its bytes by a redirect."""

from uuid import UUID

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.artifacts.schemas import ArtifactDetail, ArtifactPath
from api.auth import Access, visible_client
from api.blobs import REDIRECT, artifact_redirect
from api.jobs.views import artifact_view
from api.room import Answer, Room
from api.services import get_services
from models.artifacts import Artifact
from models.errors import NotFoundError
from models.jobs import Job

room = Room("artifacts", "The pictures that jobs made.")


@room.endpoint("get", "/artifacts/<uuid:artifact_id>", access=Access.READ, answers={200: ArtifactDetail})
def get_artifact(path: ArtifactPath) -> Answer:
    """Read what is known of a picture."""
    with get_services().reader() as session:
        artifact = _visible(session, path.artifact_id)
    view = artifact_view(artifact)
    return Answer(ArtifactDetail(**dict(view), job_id=artifact.job_id, created_at=artifact.created_at))


@room.endpoint("get", "/artifacts/<uuid:artifact_id>/content", access=Access.READ, answers={302: REDIRECT})
def get_artifact_content(path: ArtifactPath) -> Response:
    """Fetch a picture: redirects to a URL that is signed for a few minutes."""
    with get_services().reader() as session:
        artifact = _visible(session, path.artifact_id)
    return artifact_redirect(artifact)


def _visible(session: Session, artifact_id: UUID) -> Artifact:
    query = select(Artifact).where(Artifact.id == artifact_id)
    client_id = visible_client()
    if client_id is not None:
        query = query.join(Job, Job.id == Artifact.job_id).where(Job.client_id == client_id)
    artifact = session.scalars(query).one_or_none()
    if artifact is None:
        raise NotFoundError.of("artifact", artifact_id)
    return artifact
