"""GET and PATCH /v1/clients: an admin's part of who may do how much. Clients are made with their first key."""

from sqlalchemy import select

from api.auth import Access, actor, forget_keys
from api.clients.schemas import ClientChanges, ClientPage, ClientPath, ClientQuery, ClientView
from api.room import Answer, Room
from api.services import get_services
from models.audit import audit
from models.clients import Client
from models.errors import NotFoundError

room = Room("clients", "Clients: their share of the workers, and their limits.")


@room.endpoint("get", "/clients", access=Access.VIEW_ALL, answers={200: ClientPage})
def list_clients(query: ClientQuery) -> Answer:
    """List the clients by name."""
    wanted = select(Client).order_by(Client.name).limit(query.limit + 1)
    if query.cursor is not None:
        wanted = wanted.where(Client.name > query.cursor)
    with get_services().reader() as session:
        rows = list(session.scalars(wanted))
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    return Answer(ClientPage(items=[_view(row) for row in rows], cursor=rows[-1].name if more else None))


@room.endpoint("get", "/clients/<name>", access=Access.VIEW_ALL, answers={200: ClientView})
def get_client(path: ClientPath) -> Answer:
    """Read a client."""
    with get_services().reader() as session:
        row = session.scalars(select(Client).where(Client.name == path.name)).one_or_none()
    if row is None:
        raise NotFoundError.of("client", path.name)
    return Answer(_view(row))


@room.endpoint("patch", "/clients/<name>", access=Access.ADMIN, answers={200: ClientView})
def change_client(path: ClientPath, body: ClientChanges) -> Answer:
    """Change a client's share and limits. Jobs that wait keep the place that they have."""
    given = body.model_dump(mode="json", exclude_unset=True)
    changes = {name: value for name, value in given.items() if value is not None or name == "safety_threshold"}
    with get_services().sessions.begin() as session:
        row = session.scalars(select(Client).where(Client.name == path.name).with_for_update()).one_or_none()
        if row is None:
            raise NotFoundError.of("client", path.name)
        told = {name: {"from": getattr(row, name), "to": value} for name, value in changes.items()}
        for name, value in changes.items():
            setattr(row, name, value)
        audit(session, actor(), "client.set", row.name, told)
        session.flush()
        view = _view(row)
    # A key is remembered with its client's highest priority and words.
    forget_keys()
    return Answer(view)


def _view(row: Client) -> ClientView:
    return ClientView.model_validate(row, from_attributes=True)
