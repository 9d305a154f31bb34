"""Webhooks: who wants to hear of jobs, and the outbox (T8).

A message is written in the transaction that makes it true, once for each job and kind of event; so are its deliveries,
one for each target. `worker.webhooks` sends them under the lease protocol. Nothing here speaks HTTP.
"""

from models.webhooks.rows import (
    DeliveryState,
    EndpointScope,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)

__all__ = ["DeliveryState", "EndpointScope", "WebhookAttempt", "WebhookDelivery", "WebhookEndpoint", "WebhookMessage"]
