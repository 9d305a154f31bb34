"""POST, GET, PATCH and DELETE /v1/webhooks, and their secrets. Their deliveries are in `deliveries`."""

from http import HTTPStatus

from sqlalchemy.exc import IntegrityError

from api.auth import Access, audited, principal, visible_client
from api.room import Answer, Room
from api.services import get_services
from api.webhooks.deliveries import add_delivery_routes
from api.webhooks.schemas import (
    NewWebhookView,
    WebhookChange,
    WebhookPage,
    WebhookPath,
    WebhookQuery,
    WebhookRequest,
    WebhookSecret,
    WebhookView,
)
from api.webhooks.views import changeable_endpoint, new_webhook_view, visible_endpoint, webhook_view
from models.errors import ConflictError
from models.webhooks.endpoints import change_endpoint, create_endpoint, delete_endpoint, list_endpoints, rotate_secret
from models.webhooks.log import forget_deliveries
from models.webhooks.urls import check_url

PRIVATE = {"Cache-Control": "no-store"}

room = Room("webhooks", "Where you are told of your jobs, signed, and what was sent there.")


@room.endpoint("post", "/webhooks", access=Access.WRITE, answers={201: NewWebhookView}, problems=(409,))
def create_webhook(body: WebhookRequest) -> Answer:
    """Be told of every job of yours. The answer holds the secret that signs what is sent."""
    services = get_services()
    check_url(body.url, allow_private=services.settings.webhook_allow_private)
    with services.sessions.begin() as session:
        view = new_webhook_view(create_endpoint(session, principal().client_id, body.url, body.events))
    return Answer(view, HTTPStatus.CREATED, {"Location": f"/v1/webhooks/{view.id}", **PRIVATE})


@room.endpoint("get", "/webhooks", access=Access.READ, answers={200: WebhookPage})
def list_webhooks(query: WebhookQuery) -> Answer:
    """List webhooks, newest first: also those that jobs have named."""
    with get_services().reader() as session:
        rows = list_endpoints(session, visible_client(), limit=query.limit + 1, before=query.cursor)
    items = [webhook_view(row) for row in rows[: query.limit]]
    return Answer(WebhookPage(items=items, cursor=items[-1].id if len(rows) > query.limit else None))


@room.endpoint("get", "/webhooks/<uuid:webhook_id>", access=Access.READ, answers={200: WebhookView})
def get_webhook(path: WebhookPath) -> Answer:
    """Read a webhook."""
    with get_services().reader() as session:
        return Answer(webhook_view(visible_endpoint(session, path.webhook_id)))


@room.endpoint("patch", "/webhooks/<uuid:webhook_id>", access=Access.WRITE, answers={200: WebhookView}, problems=(409,))
def change_webhook(path: WebhookPath, body: WebhookChange) -> Answer:
    """Change a webhook: where it goes, what it hears of, whether it is on."""
    services = get_services()
    if body.url is not None:
        check_url(body.url, allow_private=services.settings.webhook_allow_private)
    try:
        with services.sessions.begin() as session:
            row = changeable_endpoint(session, path.webhook_id)
            change_endpoint(session, row, url=body.url, events=body.events, enabled=body.enabled)
            audited(session, row.client_id, "webhook.change", row.id)
            return Answer(webhook_view(row))
    except IntegrityError as error:
        raise ConflictError("There is a webhook for this URL already; change that one.") from error


@room.endpoint("delete", "/webhooks/<uuid:webhook_id>", access=Access.WRITE, answers={204: None})
def delete_webhook(path: WebhookPath) -> Answer:
    """Delete a webhook and its log. What waits is not sent."""
    sessions = get_services().sessions
    with sessions.begin() as session:
        row = changeable_endpoint(session, path.webhook_id)
        change_endpoint(session, row, enabled=False)
        audited(session, row.client_id, "webhook.delete", row.id)
    # Page by page: a log may be long, and from here on nothing is added to it.
    more = 1
    while more:
        with sessions.begin() as session:
            more = forget_deliveries(session, path.webhook_id)
    with sessions.begin() as session:
        delete_endpoint(session, path.webhook_id)
    return Answer(None, HTTPStatus.NO_CONTENT)


@room.endpoint("get", "/webhooks/<uuid:webhook_id>/secret", access=Access.WRITE, answers={200: WebhookSecret})
def get_webhook_secret(path: WebhookPath) -> Answer:
    """Read the secret that signs what is sent there."""
    with get_services().sessions.begin() as session:
        row = changeable_endpoint(session, path.webhook_id)
        audited(session, row.client_id, "webhook.secret", row.id)
        return Answer(WebhookSecret.model_validate(row, from_attributes=True), headers=PRIVATE)


@room.endpoint("post", "/webhooks/<uuid:webhook_id>/rotate", access=Access.WRITE, answers={200: NewWebhookView})
def rotate_webhook_secret(path: WebhookPath) -> Answer:
    """Make a new secret. The old one signs as well for a day, unless the server says otherwise."""
    services = get_services()
    with services.sessions.begin() as session:
        row = changeable_endpoint(session, path.webhook_id)
        rotate_secret(session, row, services.settings.webhook_rotation_hours)
        audited(session, row.client_id, "webhook.rotate", row.id)
        return Answer(new_webhook_view(row), headers=PRIVATE)


add_delivery_routes(room)
