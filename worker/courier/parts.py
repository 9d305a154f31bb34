"""The parts of a parcel, each as the object that is put and the artifact row that will name it."""

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from models.artifacts import checkpoint_prefix, result_key
from models.checkpoints import FileManifest, Source
from models.checkpoints.registry import Registration
from models.jobs import Output
from models.params import CheckpointProfile
from models.provenance import DigitalSource, Provenance
from models.states import Pool
from worker.courier.encode import encode, seal
from worker.courier.frames import FileHead, Parcel, PictureHead
from worker.courier.signing import Signer
from worker.quality.pixels_hash import pixels_hash

STAMPED = frozenset({"image/gif", "image/webp", "image/png", "image/jpeg", "video/mp4"})
"""Files that can say where they come from."""


@dataclass(frozen=True)
class Part:
    """A head, and its bytes of the parcel's body."""

    head: PictureHead | FileHead
    body: memoryview


@dataclass(frozen=True)
class Prepared:
    """An object to put. `output` is None for a file of a checkpoint, which is no artifact."""

    key: str
    body: bytes
    media_type: str
    sha256: str
    output: Output | None


def parts_of(parcel: Parcel, body: memoryview) -> list[Part]:
    """The body cut into pictures and files."""
    heads: tuple[PictureHead | FileHead, ...] = (*parcel.pictures, *parcel.files)
    parts, offset = [], 0
    for head in heads:
        parts.append(Part(head, body[offset : offset + head.size_bytes]))
        offset += head.size_bytes
    return parts


def prepare(parcel: Parcel, part: Part, signer: Signer | None = None) -> Prepared:
    """Encode a picture, or seal a file; signed when there is a signer and the parcel says what made it."""
    if isinstance(part.head, PictureHead):
        return _picture(parcel, part.head, part.body, signer)
    if part.head.index is None:
        return _checkpoint_file(parcel, part.head, bytes(part.body))
    return _file(parcel, part.head, part.head.index, bytes(part.body), signer)


def registration_of(parcel: Parcel) -> Registration | None:
    """The checkpoint that the attempt trained, as it lies in S3."""
    if parcel.trained is None:
        return None
    given: dict[str, Any] = parcel.trained
    return Registration(
        name=given["name"],
        family=given["family"],
        tasks=tuple(given["tasks"]),
        pool=Pool(given["pool"]),
        source=Source.S3,
        location=checkpoint_prefix(parcel.hold.job_id, parcel.hold.attempt),
        manifest=FileManifest(given["files"]),
        profile=CheckpointProfile.model_validate(given["profile"]),
        licence=given["licence"],
        description=given["description"],
    )


def _picture(parcel: Parcel, head: PictureHead, pixels: memoryview, signer: Signer | None) -> Prepared:
    encoded = encode(head, pixels, parcel.output_format, _provenance(parcel), signer)
    key = result_key(parcel.hold.job_id, parcel.hold.attempt, head.index, encoded.sha256, parcel.output_format.value)
    output = Output(
        index=head.index,
        key=key,
        sha256=encoded.sha256,
        media_type=encoded.media_type,
        size_bytes=len(encoded.body),
        width=head.width,
        height=head.height,
        seed=head.seed,
        pixels_sha256=pixels_hash(pixels.cast("B", (head.height, head.width, 3))),
    )
    return Prepared(key, encoded.body, encoded.media_type, encoded.sha256, output)


def _file(parcel: Parcel, head: FileHead, index: int, body: bytes, signer: Signer | None) -> Prepared:
    stamped = head.media_type in STAMPED
    sealed = seal(body, head.media_type, _provenance(parcel) if stamped else None, signer)
    suffix = PurePosixPath(head.name).suffix.lstrip(".") or "bin"
    key = result_key(parcel.hold.job_id, parcel.hold.attempt, index, sealed.sha256, suffix)
    output = Output(
        index=index,
        key=key,
        sha256=sealed.sha256,
        media_type=head.media_type,
        size_bytes=len(sealed.body),
        width=head.width,
        height=head.height,
        name=head.name,
    )
    return Prepared(key, sealed.body, head.media_type, sealed.sha256, output)


def _checkpoint_file(parcel: Parcel, head: FileHead, body: bytes) -> Prepared:
    key = f"{checkpoint_prefix(parcel.hold.job_id, parcel.hold.attempt)}/{head.name}"
    return Prepared(key, body, head.media_type, hashlib.sha256(body).hexdigest(), None)


def _provenance(parcel: Parcel) -> Provenance | None:
    if parcel.stamp is None:
        return None
    source = DigitalSource.EDITED if parcel.stamp.edited else DigitalSource.GENERATED
    return Provenance(parcel.hold.job_id, parcel.stamp.checkpoint, parcel.stamp.revision, source, parcel.stamp.prompt)
