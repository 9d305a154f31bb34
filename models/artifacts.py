"""What lies in S3 and who it belongs to: the outputs of jobs (artifacts) and the inputs of clients (uploads).

An artifact's row is written by the publish alone; an object without a row is garbage that the sweeper collects.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UuidKey

RESULTS_PREFIX = "results/"
UPLOADS_PREFIX = "uploads/"

MEDIA_TYPES: dict[str, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


class Artifact(Base):
    """One published picture. Its object is immutable: never overwritten, deleted with the row."""

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
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]


class Upload(Base):
    """A picture that a client sent: decoded, checked and encoded again without metadata before it got here."""

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads__client_id_created_at", "client_id", "created_at"),)

    id: Mapped[UuidKey]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)


def result_key(job_id: UUID, attempt: int, index: int, sha256: str, suffix: str) -> str:
    """Where an output goes. The attempt and the hash make the key unique, so no put ever overwrites another's."""
    return f"{RESULTS_PREFIX}{job_id}/a{attempt}/{index}-{sha256}.{suffix}"
