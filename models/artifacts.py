"""What lies in S3 and who it belongs to: the outputs of jobs (artifacts) and the inputs of clients (uploads).

An artifact's row is written by the publish alone; an object without a row is garbage that the sweeper collects.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UuidKey, enum_column

RESULTS_PREFIX = "results/"
UPLOADS_PREFIX = "uploads/"

CHECKPOINTS_PREFIX = "checkpoints/"
"""What jobs trained, by job and attempt."""
TRAINING_PREFIX = "training/"
"""Where trainings put their state aside, by job; of no use once the job has ended."""

MEDIA_TYPES: dict[str, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


class Artifact(Base):
    """One published output. Its object is immutable: never overwritten, deleted with the row."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("job_id", "index"),)

    id: Mapped[UuidKey]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int] = mapped_column(SmallInteger)
    index: Mapped[int] = mapped_column(SmallInteger)
    key: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(Text, index=True)
    media_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None] = mapped_column(Text)
    """Of a file that is no picture, e.g. `report.json`."""
    pixels_sha256: Mapped[str | None] = mapped_column(Text, index=True)
    """Of a picture's size and RGB bytes: the same whatever the file says beside them."""
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    seed: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]


class UploadKind(StrEnum):
    """What an upload is."""

    PICTURE = "picture"
    """Decoded, checked and encoded again without metadata before it got here."""
    DATA_SET = "data_set"
    """A zip whose list of contents was checked; its pictures are decoded by the worker."""

    @property
    def words(self) -> str:
        """For a message."""
        return self.value.replace("_", " ")


class Upload(Base):
    """What a client sent."""

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads__client_id_created_at", "client_id", "created_at"),)

    id: Mapped[UuidKey]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[UploadKind] = mapped_column(enum_column(UploadKind), server_default=UploadKind.PICTURE.value)
    sha256: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    details: Mapped[dict[str, Any] | None]
    """Of a data set: how many pictures, and of which classes."""
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)


def checkpoint_prefix(job_id: UUID, attempt: int) -> str:
    """Where the files of a checkpoint go that an attempt trained."""
    return f"{CHECKPOINTS_PREFIX}{job_id}/a{attempt}"


def training_prefix(job_id: UUID) -> str:
    """Where the states of a job's training go, whichever attempt saves them."""
    return f"{TRAINING_PREFIX}{job_id}/"


def training_key(job_id: UUID, attempt: int, step: int, sha256: str) -> str:
    """Where a state goes: sorted by step, and with the hash that shows whether it is whole."""
    return f"{training_prefix(job_id)}{step:012d}-a{attempt}-{sha256}"


def result_key(job_id: UUID, attempt: int, index: int, sha256: str, suffix: str) -> str:
    """Where an output goes. The attempt and the hash make the key unique, so no put ever overwrites another's."""
    return f"{RESULTS_PREFIX}{job_id}/a{attempt}/{index}-{sha256}.{suffix}"
