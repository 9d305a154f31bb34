"""Whether a job that runs again makes what it made before: by the hash of the pixels, else by their likeness."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.artifacts import Artifact
from models.errors import NotFoundError
from models.jobs import Attempt, Job, Output
from worker.courier.frames import Parcel, PictureHead
from worker.courier.parts import STAMPED, Part

OWN = frozenset({"images", "artifacts", "attempt", "cached", "reproduction", "seconds"})
"""Of a result: what may differ between two runs that made the same."""

Earlier = Mapping[int, Artifact]


def compare(
    session: Session, read: Callable[[str], bytes], parcel: Parcel, parts: Sequence[Part], outputs: Sequence[Output]
) -> dict[str, Any]:
    """The `reproduction` of a result. `read` fetches an object by its key.

    Files that carry the id of their job differ in it by design: of those `identical` is null.

    Raises:
        StorageError: S3 does not answer.
    """
    source = parcel.reproduces
    row = session.execute(select(Job.result, Job.attempt).where(Job.id == source)).one_or_none()
    if source is None or row is None:
        return {"of": str(source), "identical": None, "reason": "The job was deleted."}
    artifacts = session.scalars(select(Artifact).where(Artifact.job_id == source)).all()
    earlier = {artifact.index: artifact for artifact in artifacts}
    pictures = {part.head.index: part for part in parts if isinstance(part.head, PictureHead)}
    compared = [_compared(output, earlier, pictures.get(output.index), read) for output in outputs]
    told = [entry["identical"] for entry in compared if entry["identical"] is not None]
    same_words = _said(row.result or {}) == _said(parcel.result)
    return {
        "of": str(source),
        "identical": same_words and all(told) and len(outputs) == len(earlier),
        "outputs": compared,
        "result_identical": same_words,
        "batch_images": {"was": _batch_images(session, source, row.attempt), "is": parcel.measures.get("batch_images")},
    }


def _compared(output: Output, earlier: Earlier, part: Part | None, read: Callable[[str], bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {"index": output.index, "identical": False, "ssim": None}
    was = earlier.get(output.index)
    if was is None:
        return found
    if output.pixels_sha256 is None:
        stamped = output.media_type in STAMPED
        return found | {"identical": None if stamped else was.sha256 == output.sha256}
    if was.pixels_sha256 == output.pixels_sha256:
        return found | {"identical": True, "ssim": 1.0}
    if part is None or (was.width, was.height) != (output.width, output.height):
        return found
    try:
        return found | {"ssim": round(_likeness(read(was.key), part), 6)}
    except NotFoundError:
        return found


def _likeness(body: bytes, part: Part) -> float:
    """SSIM of an earlier file with the pixels of a part; numpy is imported for those that differ alone."""
    import numpy as np

    from worker.quality.ssim import ssim

    assert isinstance(part.head, PictureHead)  # noqa: S101  # only pictures come here
    now = np.frombuffer(part.body, np.uint8).reshape(part.head.height, part.head.width, 3)
    with Image.open(io.BytesIO(body), formats=("PNG", "WEBP", "JPEG")) as picture:
        return ssim(np.asarray(picture.convert("RGB")), now)


def _said(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in OWN}


def _batch_images(session: Session, job_id: UUID, attempt: int) -> int | None:
    query = select(Attempt.measures).where(Attempt.job_id == job_id, Attempt.number == attempt)
    measures = session.scalars(query).one_or_none() or {}
    found = measures.get("batch_images")
    return found if isinstance(found, int) else None
