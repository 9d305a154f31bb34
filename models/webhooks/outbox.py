"""The outbox: what clients shall be told is written in the transaction that makes it true.

`enqueue` is called by `models.jobs.announce` alone, after the rows of the transition are written. A job's params, and
so its prompt, never get into a message.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from models.webhooks.kinds import TEST_KIND
from models.webhooks.rows import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookMessage

CHANNEL = "safelight_webhooks"
"""LISTEN here for deliveries that became due."""
MOMENT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
"""ISO 8601, for to_char."""

# Most clients have no webhook: asking that first costs a quarter of what planning the statement below does.
_HEARD = text("""
SELECT EXISTS (
    SELECT FROM jobs JOIN webhook_endpoints AS endpoint ON endpoint.client_id = jobs.client_id
    WHERE jobs.id = ANY (:job_ids) AND endpoint.enabled
)
""").bindparams(bindparam("job_ids", type_=ARRAY(Uuid)))

# An endpoint that is being deleted is passed over (it was disabled before that): a publish never waits for a webhook.
# Both ways to be wanted have an index of their own: uq_webhook_endpoints__all_url and ix_webhook_endpoints__client.
_ENQUEUE = text("""
WITH job AS (
    SELECT id, client_id, webhook_endpoint_id, webhook_events FROM jobs WHERE id = ANY (:job_ids)
), by_client AS (
    SELECT job.id AS job_id, endpoint.id AS endpoint_id
    FROM job JOIN webhook_endpoints AS endpoint ON endpoint.client_id = job.client_id
    WHERE endpoint.scope = 'all' AND endpoint.enabled AND endpoint.events ? CAST(:kind AS text)
    FOR KEY SHARE OF endpoint SKIP LOCKED
), by_name AS (
    SELECT job.id AS job_id, endpoint.id AS endpoint_id
    FROM job JOIN webhook_endpoints AS endpoint
        ON endpoint.id = job.webhook_endpoint_id AND endpoint.client_id = job.client_id
    WHERE endpoint.enabled AND COALESCE(job.webhook_events, endpoint.events) ? CAST(:kind AS text)
    FOR KEY SHARE OF endpoint SKIP LOCKED
), wanted AS (
    SELECT job_id, endpoint_id FROM by_client UNION SELECT job_id, endpoint_id FROM by_name
), message AS (
    INSERT INTO webhook_messages (job_id, kind, payload)
    SELECT jobs.id, :kind, jsonb_build_object(
        'type', CAST(:kind AS text),
        'timestamp', to_char(now() AT TIME ZONE 'UTC', :moment),
        'data', jsonb_build_object(
            'object', 'job',
            'id', jobs.id,
            'state', jobs.state,
            'task', jobs.task,
            'checkpoint', (SELECT name FROM checkpoints WHERE checkpoints.id = jobs.checkpoint_id),
            'tag', jobs.tag,
            'attempt', jobs.attempt,
            'created_at', to_char(jobs.created_at AT TIME ZONE 'UTC', :moment),
            'finished_at', to_char(jobs.finished_at AT TIME ZONE 'UTC', :moment),
            'error', CASE WHEN jobs.error_code IS NOT NULL THEN
                jsonb_build_object('code', jobs.error_code, 'detail', COALESCE(jobs.error_detail, '')) END,
            'images', jobs.images,
            'artifacts', COALESCE((
                SELECT jsonb_agg(jsonb_build_object(
                    'id', artifact.id,
                    'index', artifact.index,
                    'media_type', artifact.media_type,
                    'width', artifact.width,
                    'height', artifact.height,
                    'size_bytes', artifact.size_bytes,
                    'sha256', artifact.sha256,
                    'seed', artifact.seed,
                    'name', artifact.name,
                    'url', '/v1/artifacts/' || artifact.id || '/content'
                ) ORDER BY artifact.index)
                FROM artifacts AS artifact WHERE artifact.job_id = jobs.id
            ), '[]')
        )
    )
    FROM jobs WHERE jobs.id IN (SELECT job_id FROM wanted)
    ON CONFLICT (job_id, kind) DO NOTHING
    RETURNING id, job_id
), delivery AS (
    INSERT INTO webhook_deliveries (message_id, endpoint_id)
    SELECT message.id, wanted.endpoint_id FROM message JOIN wanted ON wanted.job_id = message.job_id
    RETURNING id
)
SELECT pg_notify(:channel, '') FROM delivery LIMIT 1
""").bindparams(bindparam("job_ids", type_=ARRAY(Uuid)))


def enqueue(session: Session, job_ids: Iterable[UUID], kind: str) -> None:
    """A message for each of these jobs, and a delivery to each endpoint that wants it; nothing where none does.

    A job has at most one message of a kind: a second call writes nothing.
    """
    wanted = list(job_ids)
    if wanted and session.scalar(_HEARD, {"job_ids": wanted}):
        session.execute(_ENQUEUE, {"job_ids": wanted, "kind": kind, "moment": MOMENT, "channel": CHANNEL})


def enqueue_test(session: Session, endpoint_id: UUID) -> UUID | None:
    """A `webhook.test` on its way to this endpoint: the delivery's id; None when there is none or it is disabled."""
    moment = func.to_char(func.timezone("UTC", func.now()), MOMENT)
    about = func.jsonb_build_object("object", "webhook", "id", WebhookEndpoint.id)
    payload = func.jsonb_build_object("type", TEST_KIND, "timestamp", moment, "data", about)
    body: dict[str, Any] | None = session.scalar(
        select(payload)
        .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.enabled)
        .with_for_update(read=True, key_share=True)
    )
    if body is None:
        return None
    message = session.scalars(insert(WebhookMessage).values(kind=TEST_KIND, payload=body).returning(WebhookMessage.id))
    made = insert(WebhookDelivery).values(message_id=message.one(), endpoint_id=endpoint_id)
    delivery_id = session.scalars(made.returning(WebhookDelivery.id)).one()
    _wake(session)
    return delivery_id


def redeliver(session: Session, delivery_id: UUID) -> bool:
    """Send it again, now and with a fresh schedule, under the same message id.

    False when there is none, when its endpoint is disabled, or while it is just being sent.
    """
    free = or_(WebhookDelivery.lease_owner.is_(None), WebhookDelivery.lease_expires_at < func.now())
    enabled = select(WebhookEndpoint.enabled).where(WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    moved = session.scalars(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, free, enabled.scalar_subquery())
        .values(
            state=DeliveryState.PENDING,
            earlier_tries=WebhookDelivery.tries,
            available_at=func.now(),
            finished_at=None,
            lease_owner=None,
            lease_expires_at=None,
        )
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if moved is not None:
        _wake(session)
    return moved is not None


def _wake(session: Session) -> None:
    session.execute(select(func.pg_notify(CHANNEL, "")))
