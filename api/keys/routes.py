"""GET, POST and DELETE /v1/keys for admins, and GET /v1/me for everybody."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Access, actor, allowed_priority, forget_keys, principal
from api.keys.schemas import KeyList, KeyPath, KeyRequest, KeyView, MeView, NewKeyView
from api.room import Answer, Room
from api.services import get_services
from models.audit import audit
from models.clients import ApiKey, Client, create_client, issue_key, revoke_key
from models.errors import NotFoundError

LIST_LIMIT = 1000

room = Room("keys", "API keys and whose they are.")


@room.endpoint("get", "/me", access=Access.READ, answers={200: MeView})
def get_me() -> Answer:
    """Read whose key this is."""
    who = principal()
    with get_services().reader() as session:
        client = session.get_one(Client, who.client_id)
    return Answer(
        MeView(
            key_id=who.key_id,
            client_id=who.client_id,
            client=who.client_name,
            role=who.role,
            live_jobs=client.live_jobs,
            max_live_jobs=client.max_live_jobs,
            max_priority=allowed_priority(),
        )
    )


@room.endpoint("get", "/keys", access=Access.ADMIN, answers={200: KeyList})
def list_keys() -> Answer:
    """List every key, newest first."""
    query = select(ApiKey, Client.name).join(Client, Client.id == ApiKey.client_id)
    with get_services().reader() as session:
        rows = session.execute(query.order_by(ApiKey.created_at.desc(), ApiKey.id).limit(LIST_LIMIT)).all()
    return Answer(KeyList(items=[_view(key, client) for key, client in rows]))


@room.endpoint("post", "/keys", access=Access.ADMIN, answers={201: NewKeyView}, problems=(409,))
def create_key(body: KeyRequest) -> Answer:
    """Make a key. Its secret is shown this once."""
    services = get_services()
    expires_at = None
    if body.expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=body.expires_in_days)
    with services.sessions.begin() as session:
        client = _client(session, body.client, services.settings.max_live_jobs)
        issued = issue_key(session, client, body.role, name=body.name, expires_at=expires_at)
        row = session.get_one(ApiKey, issued.id)
        audit(session, actor(), "key.create", issued.id, {"client": client.name, "role": body.role.value})
        view = NewKeyView(**dict(_view(row, client.name)), key=issued.text)
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/keys/{issued.id}", "Cache-Control": "no-store"})


@room.endpoint("delete", "/keys/<key_id>", access=Access.ADMIN, answers={204: None})
def delete_key(path: KeyPath) -> Answer:
    """Revoke a key. Every process refuses it within a second."""
    with get_services().sessions.begin() as session:
        if not revoke_key(session, path.key_id):
            raise NotFoundError.of("key", path.key_id)
        audit(session, actor(), "key.revoke", path.key_id)
    forget_keys()
    return Answer(None, HTTPStatus.NO_CONTENT)


def _client(session: Session, name: str, max_live_jobs: int) -> Client:
    found = session.scalars(select(Client).where(Client.name == name)).one_or_none()
    # Two requests that make the same client at once: the second is told so (409), and finds it when it tries again.
    return found or create_client(session, name, max_live_jobs=max_live_jobs)


def _view(key: ApiKey, client: str) -> KeyView:
    return KeyView(
        id=key.id,
        client=client,
        role=key.role,
        name=key.name,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
