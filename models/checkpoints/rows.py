"""The checkpoint's row."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Float, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UuidKey, enum_column
from models.params import CheckpointProfile
from models.states import Pool


class Source(StrEnum):
    """Where the files of a checkpoint are fetched from."""

    LOCAL = "local"
    """`location` is a folder that every worker of the pool can read."""
    HUB = "hub"
    """`location` is `owner/name@<40 hex digits>`: a Hub repository at a pinned revision."""
    S3 = "s3"
    """`location` is a key prefix in our bucket."""
    PACKAGE = "package"
    """`location` is `distribution==version`: weights that an installed Python package brings."""
    BUILTIN = "builtin"
    """`location` is `safelight==version`: nothing but the product's own code."""


class Checkpoint(Base):
    """A registered set of weights. Immutable but for `enabled` and the learned speed: new files are a new revision."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("uq_checkpoints__name_enabled", "name", unique=True, postgresql_where=text("enabled")),)

    id: Mapped[UuidKey]
    name: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(Text)
    """The pipeline that runs it: a name in `worker.pipelines`, e.g. `diffusers`, `conditional_gan`."""
    tasks: Mapped[list[str]] = mapped_column(JSONB)
    """Names in `models.params.TASKS`."""
    pool: Mapped[Pool] = mapped_column(enum_column(Pool))
    source: Mapped[Source] = mapped_column(enum_column(Source))
    location: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    """SHA-256 over the manifest: changes when any file does."""
    files: Mapped[dict[str, Any]]
    """Manifest: relative path → {"sha256": hex, "size_bytes": int}."""
    profile_json: Mapped[dict[str, Any]]
    licence: Mapped[str] = mapped_column(Text, server_default="")
    description: Mapped[str] = mapped_column(Text, server_default="")
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    seconds_per_step: Mapped[float | None] = mapped_column(Float)
    """Measured, exponentially weighted: device seconds per unit of cost, for ETAs."""
    made_by_job_id: Mapped[UUID | None]
    """The job that trained it; no foreign key, since jobs may be forgotten."""
    created_at: Mapped[CreatedAt]

    @property
    def profile(self) -> CheckpointProfile:
        """Bounds and defaults, as a value. What a newer version wrote beside them is its own business."""
        known = {name: value for name, value in self.profile_json.items() if name in CheckpointProfile.model_fields}
        return CheckpointProfile.model_validate(known)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(int(entry["size_bytes"]) for entry in self.files.values())
