"""What was sent to a webhook and how it went; sending again, and a test."""

from http import HTTPStatus
from uuid import UUID

from sqlalchemy.orm import Session

from api.auth import Access, audited
from api.room import Answer, Room
from api.services import get_services
from api.webhooks.schemas import DeliveryPage, DeliveryPath, DeliveryQuery, DeliveryView, WebhookPath
from api.webhooks.views import changeable_endpoint, delivery_view, visible_endpoint
from models.errors import ConflictError, NotFoundError
from models.webhooks import WebhookEndpoint
from models.webhooks.log import LoggedDelivery, list_deliveries
from models.webhooks.outbox import enqueue_test, redeliver


def add_delivery_routes(room: Room) -> None:
    """Register them."""
    room.endpoint("get", "/webhooks/<uuid:webhook_id>/deliveries", access=Access.READ, answers={200: DeliveryPage})(
        list_webhook_deliveries
    )
    room.endpoint(
        "post",
        "/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/redeliver",
        access=Access.WRITE,
        answers={202: DeliveryView},
        problems=(409,),
    )(redeliver_webhook)
    room.endpoint(
        "post",
        "/webhooks/<uuid:webhook_id>/test",
        access=Access.WRITE,
        answers={202: DeliveryView},
        problems=(409,),
    )(test_webhook)


def list_webhook_deliveries(path: WebhookPath, query: DeliveryQuery) -> Answer:
    """List what was sent there, newest first, with every try."""
    with get_services().reader() as session:
        row = visible_endpoint(session, path.webhook_id)
        found = list_deliveries(session, row.id, limit=query.limit + 1, state=query.state, before=query.cursor)
    items = [delivery_view(logged) for logged in found[: query.limit]]
    return Answer(DeliveryPage.model_construct(items=items, cursor=items[-1].id if len(found) > query.limit else None))


def redeliver_webhook(path: DeliveryPath) -> Answer:
    """Send it again, now and with a schedule of its own, under the same `webhook-id`."""
    with get_services().sessions.begin() as session:
        row = changeable_endpoint(session, path.webhook_id)
        _one(session, row, path.delivery_id)
        if not redeliver(session, path.delivery_id):
            reason = "It is being sent just now." if row.enabled else "The webhook is disabled; enable it first."
            raise ConflictError(reason)
        audited(session, row.client_id, "webhook.redeliver", path.delivery_id)
        return _accepted(_one(session, row, path.delivery_id))


def test_webhook(path: WebhookPath) -> Answer:
    """Send a `webhook.test`, to see that your target takes it and checks the signature."""
    with get_services().sessions.begin() as session:
        row = changeable_endpoint(session, path.webhook_id)
        delivery_id = enqueue_test(session, row.id)
        if delivery_id is None:
            raise ConflictError("The webhook is disabled; enable it first.")
        audited(session, row.client_id, "webhook.test", row.id)
        return _accepted(_one(session, row, delivery_id))


def _one(session: Session, row: WebhookEndpoint, delivery_id: UUID) -> LoggedDelivery:
    session.expire_all()
    found = list_deliveries(session, row.id, limit=1, only=delivery_id)
    if not found:
        raise NotFoundError.of("delivery", delivery_id)
    return found[0]


def _accepted(logged: LoggedDelivery) -> Answer:
    return Answer(delivery_view(logged), HTTPStatus.ACCEPTED)
