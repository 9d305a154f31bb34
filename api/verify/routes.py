"""GET and POST /v1/verify: a picture found again by the hash of its file or of its pixels.

Everybody with a key may ask about any picture: who holds it knows it already. Whose job made it is told to none but
those who may see the job.
"""

from uuid import UUID

from sqlalchemy.orm import Session

from api.auth import Access, visible_client
from api.room import Answer, Room
from api.services import Services, get_services
from api.uploads.pictures import identified
from api.uploads.receiving import received
from api.uploads.routes import MULTIPART
from api.verify.schemas import ClaimView, Match, MatchView, VerifyQuery, VerifyView
from models.artifacts import UploadKind
from models.errors import UnavailableError, UnsupportedMediaError
from models.jobs.queries import Twin, find_twins
from models.provenance import read_provenance
from models.sniff import sniff

room = Room("verify", "Whether a picture was made here.")


@room.endpoint("get", "/verify", access=Access.READ, answers={200: VerifyView}, problems=(422,))
def verify_hash(query: VerifyQuery) -> Answer:
    """Look a picture up by the SHA-256 of its file or of its pixels."""
    wanted = query.sha256.lower()
    with get_services().reader() as session:
        return Answer(_answer(session, wanted, wanted, None))


@room.endpoint(
    "post",
    "/verify",
    access=Access.READ,
    answers={200: VerifyView},
    problems=(400, 413, 415, 422),
    extensions={"requestBody": MULTIPART},
)
def verify_file() -> Answer:
    """Look a file up by its bytes, by its pixels if it is a picture, and read what it says of itself."""
    services = get_services()
    with received(services.settings, services.archives) as file:
        if file.kind is UploadKind.DATA_SET:
            raise UnsupportedMediaError("Send a picture or an animation; a data set has no provenance.")
        body = file.stream.read()
        sha256 = file.sha256
    pixels = _pixels(services, body) if sniff(body) is not None else None
    with services.reader() as session:
        return Answer(_answer(session, sha256, pixels, _claim(body)))


def _pixels(services: Services, body: bytes) -> str:
    slot = services.decoders.take()
    if slot is None:
        raise UnavailableError("Too many pictures are being decoded now; try again in a moment.")
    with slot:
        return identified(body, services.settings)


def _answer(session: Session, sha256: str, pixels: str | None, claim: ClaimView | None) -> VerifyView:
    twins = find_twins(session, sha256, pixels)
    mine = visible_client()
    return VerifyView(made_here=bool(twins), matches=[_match(twin, sha256, mine) for twin in twins], claim=claim)


def _match(twin: Twin, sha256: str, client_id: UUID | None) -> MatchView:
    seen = client_id is None or client_id == twin.client_id
    return MatchView(
        match=Match.FILE if twin.sha256 == sha256 else Match.PIXELS,
        created_at=twin.created_at,
        checkpoint=twin.checkpoint,
        job_id=twin.job_id if seen else None,
        artifact_id=twin.artifact_id if seen else None,
    )


def _claim(body: bytes) -> ClaimView | None:
    found = read_provenance(body)
    if found is None:
        return None
    return ClaimView(
        generator=found.generator,
        job_id=found.job_id,
        checkpoint=found.checkpoint,
        revision=found.revision,
        digital_source_type=found.source.value,
    )
