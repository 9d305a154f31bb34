"""Who asks, and what they may do. Bearer keys; a good key is remembered for half a second, a bad one never."""

import hashlib
from enum import StrEnum
from typing import cast
from uuid import UUID

from flask import Flask, current_app, g, request
from sqlalchemy.orm import Session

from api.cache import Remembered
from api.services import get_services
from models.audit import Actor, audit
from models.clients import authenticate
from models.clients.keys import Principal, looks_like_a_key
from models.errors import ForbiddenError, TooManyGuessesError, UnauthenticatedError
from models.jobs.prepare import MAX_PRIORITY
from models.states import Role

KEY_SECONDS = 0.5
"""A revoked key must be refused within a second."""
_EXTENSION = "safelight.keys"


class Access(StrEnum):
    """Who may call an endpoint."""

    PUBLIC = "public"
    """Anybody, without a key."""
    READ = "read"
    """Any key; what it sees depends on its role."""
    WRITE = "write"
    """Any key but a viewer's."""
    VIEW_ALL = "view_all"
    """Viewer, operator, admin: things that belong to no client."""
    ADMIN = "admin"
    """Keys, clients, checkpoints and the audit log."""


ALLOWED: dict[Access, frozenset[Role]] = {
    Access.READ: frozenset(Role),
    Access.WRITE: frozenset({Role.CLIENT, Role.OPERATOR, Role.ADMIN}),
    Access.VIEW_ALL: frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN}),
    Access.ADMIN: frozenset({Role.ADMIN}),
}
ACTS_FOR_OTHERS: frozenset[Role] = frozenset({Role.OPERATOR, Role.ADMIN})
SEES_OTHERS: frozenset[Role] = ALLOWED[Access.VIEW_ALL]


def install_auth(app: Flask) -> None:
    """Check the key before the view; an endpoint says what it needs by its `access`."""
    app.extensions[_EXTENSION] = Remembered[bytes, Principal](KEY_SECONDS)
    app.before_request(_check)


def principal() -> Principal:
    """Who sent this request."""
    return cast(Principal, g.principal)


def visible_client() -> UUID | None:
    """The client whose things this key sees; None sees every client's."""
    return None if principal().role in SEES_OTHERS else principal().client_id


def may_act_for(client_id: UUID) -> bool:
    """Whether this key may change things of that client."""
    return client_id == principal().client_id or principal().role in ACTS_FOR_OTHERS


def allowed_priority() -> int:
    """The highest priority that this key may give a job: its client's limit does not bind operators and admins."""
    who = principal()
    return MAX_PRIORITY if who.role in ACTS_FOR_OTHERS else who.max_priority


def actor() -> Actor:
    """This request's key, as the audit log names it."""
    who = principal()
    return Actor(key_id=who.key_id, client=who.client_name, role=who.role)


def audited(session: Session, owner_id: UUID, action: str, subject: object) -> None:
    """Write down an action on another client's thing, in the action's own transaction; nothing for one's own."""
    if owner_id != principal().client_id:
        audit(session, actor(), action, subject, {"client_id": str(owner_id)})


def still_valid() -> bool:
    """Ask again about the key of this request; for streams that outlive it."""
    return _find(_bearer()) is not None


def _check() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    access = getattr(view, "access", Access.PUBLIC)
    if access is not Access.PUBLIC:
        require(access)


def require(access: Access) -> None:
    """Know whose request this is, and that it may do this.

    Raises:
        UnauthenticatedError, ForbiddenError, TooManyGuessesError: no good key, a wrong role, too many wrong keys.
    """
    text = _bearer()
    if not text:
        raise UnauthenticatedError("Send your key as `Authorization: Bearer sl_...`.")
    found = _guarded_find(text)
    if found is None:
        raise UnauthenticatedError("This key is unknown, expired or revoked.")
    g.principal = found
    if found.role not in ALLOWED[access]:
        raise ForbiddenError(f"A key with the role {found.role.value!r} may not do this.")


def _guarded_find(text: str) -> Principal | None:
    """Whose key it is. An address that sent too many wrong ones is turned away before Postgres is asked."""
    if not looks_like_a_key(text):
        return None  # guesses nothing, and costs nothing
    known: Remembered[bytes, Principal] = current_app.extensions[_EXTENSION]
    guesses = get_services().guesses
    wait_seconds = guesses.wait_seconds(request.remote_addr)
    # Keys that were good here before are looked at all the same: behind one proxy, nobody locks the others out.
    if wait_seconds and not known.has(_digest(text)):
        raise TooManyGuessesError(
            "Too many keys from this address did not fit; try again later.", retry_after_seconds=wait_seconds
        )
    found = _find(text)
    if found is None:
        guesses.failed(request.remote_addr)
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _bearer() -> str:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _find(text: str) -> Principal | None:
    known: Remembered[bytes, Principal] = current_app.extensions[_EXTENSION]

    def ask() -> Principal:
        with get_services().reader() as session:
            found = authenticate(session, text)
        if found is None:
            raise LookupError
        return found

    try:
        return known.get(_digest(text), ask)
    except LookupError:
        return None


def forget_keys() -> None:
    """A key was revoked through this process."""
    current_app.extensions[_EXTENSION].forget()
