"""The table of doors: for every operation of the API who may use it, on whose thing, and how to make one.

It repeats on purpose what the routes declare: the routes are what is checked. `test_doors` fails for an operation that
has no row here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from models.states import Role
from tests.api.conftest import PROMPT
from tests.security.world import World

Made = dict[str, str]
Request = dict[str, Any]

ANYONE = frozenset(Role)
WRITERS = frozenset({Role.CLIENT, Role.OPERATOR, Role.ADMIN})
WATCHERS = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})
HOOK = "https://example.com/hook/"


@dataclass(frozen=True)
class Door:
    """One operation. `make` gives the path's parameters, anew for each try, since some tries use a thing up."""

    roles: frozenset[Role]
    ok: int = 200
    make: Callable[[World], Made] | None = None
    owned: bool = False
    """The thing is a client's: to another client it does not exist."""
    private: bool = False
    """It is a half-done act of one client: it does not exist for operators and admins either."""
    send: Callable[[World, int], Request] = field(default=lambda _world, _number: {})
    audited: bool = False
    """Leaves a row in the audit log: always where it belongs to no client, else when it is another client's."""


def owned(roles: frozenset[Role], make: Callable[[World], Made], ok: int = 200, **more: Any) -> Door:
    """A door to a client's own thing."""
    return Door(roles, ok, make, owned=True, **more)


def json(**body: Any) -> Callable[[World, int], Request]:
    """The same body each time."""
    return lambda _world, _number: {"json": body}


def _picture(world: World, _number: int) -> Request:
    data = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n' + world.picture
    return {"data": data + b"\r\n--x--\r\n", "content_type": "multipart/form-data; boundary=x"}


def _hook(_world: World, number: int) -> Request:
    return {"json": {"url": f"{HOOK}new-{number}"}}


def _new_key(_world: World, number: int) -> Request:
    return {"json": {"client": f"made-{number}"}}


def _folder(world: World, number: int) -> Request:
    return {"json": {"source": "local", "location": str(world.folder), "name": f"local-{number}"}}


DOORS: dict[tuple[str, str], Door] = {
    ("get", "/v1/jobs"): Door(ANYONE),
    ("post", "/v1/jobs"): Door(WRITERS, 202, send=json(**PROMPT)),
    ("get", "/v1/jobs/{job_id}"): owned(ANYONE, World.queued),
    ("delete", "/v1/jobs/{job_id}"): owned(WRITERS, World.succeeded, 204, audited=True),
    ("post", "/v1/jobs/{job_id}/cancel"): owned(WRITERS, World.queued, audited=True),
    ("post", "/v1/jobs/{job_id}/retry"): owned(WRITERS, World.canceled, 202, audited=True),
    # A clone belongs to whoever asks: it is nobody else's job that changes.
    ("post", "/v1/jobs/{job_id}/clone"): owned(WRITERS, World.queued, 202, send=json()),
    ("get", "/v1/jobs/{job_id}/result"): owned(ANYONE, World.succeeded, 302),
    ("get", "/v1/jobs/{job_id}/preview"): owned(ANYONE, World.previewed),
    ("get", "/v1/jobs/{job_id}/events"): owned(ANYONE, World.succeeded),
    ("post", "/v1/jobs/{job_id}/reproduce"): owned(WRITERS, World.succeeded, 202, audited=True),
    ("get", "/v1/verify"): Door(ANYONE, send=lambda _world, _number: {"query_string": {"sha256": "0" * 64}}),
    ("post", "/v1/verify"): Door(ANYONE, send=_picture),
    ("get", "/v1/artifacts/{artifact_id}"): owned(ANYONE, World.artifact),
    ("get", "/v1/artifacts/{artifact_id}/content"): owned(ANYONE, World.artifact, 302),
    ("post", "/v1/uploads"): Door(WRITERS, 201, send=_picture),
    ("post", "/v1/uploads/links"): Door(WRITERS, 201, send=json(kind="picture", size_bytes=99)),
    ("post", "/v1/uploads/links/{link_id}/complete"): owned(WRITERS, World.link, 201, private=True),
    ("get", "/v1/uploads/{upload_id}"): owned(ANYONE, World.upload),
    ("delete", "/v1/uploads/{upload_id}"): owned(WRITERS, World.upload, 204, audited=True),
    ("get", "/v1/uploads/{upload_id}/content"): owned(ANYONE, World.upload, 302),
    ("get", "/v1/tasks"): Door(ANYONE),
    ("get", "/v1/checkpoints"): Door(ANYONE),
    ("post", "/v1/checkpoints"): Door(ADMINS, 201, send=_folder, audited=True),
    ("get", "/v1/checkpoints/{name}"): Door(ANYONE, 200, World.checkpoint),
    ("delete", "/v1/checkpoints/{name}"): Door(ADMINS, 204, World.checkpoint, audited=True),
    ("get", "/v1/workers"): Door(WATCHERS),
    ("get", "/v1/queues"): Door(WATCHERS),
    ("get", "/v1/me"): Door(ANYONE),
    ("get", "/v1/keys"): Door(ADMINS),
    ("post", "/v1/keys"): Door(ADMINS, 201, send=_new_key, audited=True),
    ("delete", "/v1/keys/{key_id}"): Door(ADMINS, 204, World.key, audited=True),
    ("get", "/v1/clients"): Door(WATCHERS),
    ("get", "/v1/clients/{name}"): Door(WATCHERS, 200, World.client),
    ("patch", "/v1/clients/{name}"): Door(ADMINS, 200, World.client, send=json(weight=2.0), audited=True),
    ("get", "/v1/webhooks"): Door(ANYONE),
    ("post", "/v1/webhooks"): Door(WRITERS, 201, send=_hook),
    ("get", "/v1/webhooks/{webhook_id}"): owned(ANYONE, World.webhook),
    ("delete", "/v1/webhooks/{webhook_id}"): owned(WRITERS, World.webhook, 204, audited=True),
    ("patch", "/v1/webhooks/{webhook_id}"): owned(WRITERS, World.webhook, send=json(enabled=True), audited=True),
    ("get", "/v1/webhooks/{webhook_id}/secret"): owned(WRITERS, World.webhook, audited=True),
    ("post", "/v1/webhooks/{webhook_id}/rotate"): owned(WRITERS, World.webhook, audited=True),
    ("get", "/v1/webhooks/{webhook_id}/deliveries"): owned(ANYONE, World.webhook),
    ("post", "/v1/webhooks/{webhook_id}/test"): owned(WRITERS, World.webhook, 202, audited=True),
    ("post", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): owned(
        WRITERS, World.delivery, 202, audited=True
    ),
    ("get", "/v1/audit"): Door(ADMINS),
    ("get", "/v1/health/invariants"): Door(WATCHERS),
}
