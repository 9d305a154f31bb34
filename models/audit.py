"""Who did what as an operator: one row for each such action, in the action's own transaction.

Appended, never changed: there is no verb that updates or deletes a row. Names and ids, never a prompt and never a
secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Index, Text, desc, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, BigKey, CreatedAt, enum_column
from models.states import Role


class AuditEntry(Base):
    """One action. Names are copied, so that the entry outlives the key and the client."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log__subject", "subject", desc("id")),)

    id: Mapped[BigKey]
    created_at: Mapped[CreatedAt]
    key_id: Mapped[str] = mapped_column(Text)
    client: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(enum_column(Role))
    action: Mapped[str] = mapped_column(Text)
    """`<thing>.<verb>`: `key.revoke`, `job.cancel`, `checkpoint.disable`."""
    subject: Mapped[str] = mapped_column(Text)
    """What was acted on: its id or name."""
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


@dataclass(frozen=True)
class Actor:
    """Whose key it was."""

    key_id: str
    client: str
    role: Role


def audit(session: Session, actor: Actor, action: str, subject: object, data: dict[str, Any] | None = None) -> None:
    """Append an entry; it is there if and only if the caller's transaction commits."""
    session.add(
        AuditEntry(
            key_id=actor.key_id,
            client=actor.client,
            role=actor.role,
            action=action,
            subject=str(subject),
            data=data or {},
        )
    )


def list_entries(
    session: Session, *, subject: str | None = None, limit: int = 100, before_id: int | None = None
) -> Sequence[AuditEntry]:
    """Entries, newest first; of one subject, and older than one entry, where given."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    return session.scalars(query).all()
