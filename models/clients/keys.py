"""API keys, `sl_<id>_<secret>`: 256 random bits, stored as SHA-256, shown once, compared in constant time."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, CreatedAt, enum_column
from models.clients.rows import Client
from models.states import Role

SECRET_BYTES = 32
_FORM = re.compile(r"sl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class ApiKey(Base):
    """One key of a client. The id is public and names the key in lists and logs."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys__client_id", "client_id"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    role: Mapped[Role] = mapped_column(enum_column(Role))
    name: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class IssuedKey:
    """A new key. `text` is the only time that the secret is seen."""

    id: str
    text: str


@dataclass(frozen=True)
class Principal:
    """Who a request comes from."""

    key_id: str
    client_id: UUID
    client_name: str
    role: Role
    max_priority: int = 0
    """The highest priority that the client's own jobs may ask for."""
    blocked_words: tuple[str, ...] = ()
    """What its prompts may not have, beside the words of the settings."""


def issue_key(
    session: Session, client: Client, role: Role, *, name: str = "", expires_at: datetime | None = None
) -> IssuedKey:
    """A new key for the client."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
    session.add(
        ApiKey(
            id=key_id, client_id=client.id, secret_sha256=_digest(secret), role=role, name=name, expires_at=expires_at
        )
    )
    session.flush()
    return IssuedKey(key_id, f"sl_{key_id}_{secret}")


def looks_like_a_key(text: str) -> bool:
    """Whether it has the form of a key; says nothing about whether there is one."""
    return _FORM.fullmatch(text) is not None


def authenticate(session: Session, text: str) -> Principal | None:
    """Who holds this key; None when it is malformed, unknown, expired or revoked."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    key_id, secret = match.groups()
    row = session.execute(
        select(ApiKey.secret_sha256, ApiKey.role, Client.id, Client.name, Client.max_priority, Client.blocked_words)
        .join(Client, Client.id == ApiKey.client_id)
        .where(
            ApiKey.id == key_id,
            ApiKey.revoked_at.is_(None),
            ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()),
        )
    ).one_or_none()
    if row is None or not hmac.compare_digest(row.secret_sha256, _digest(secret)):
        return None
    return Principal(
        key_id=key_id,
        client_id=row.id,
        client_name=row.name,
        role=row.role,
        max_priority=row.max_priority,
        blocked_words=tuple(row.blocked_words or ()),
    )


def revoke_key(session: Session, key_id: str) -> bool:
    """End a key now. False when there is none or it is revoked already."""
    done = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    return done.scalar_one_or_none() is not None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
