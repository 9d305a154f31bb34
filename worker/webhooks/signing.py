"""Standard Webhooks (standardwebhooks.com): the headers that say who sent a body, and when.

During a rotation both secrets sign, so that a receiver may know either.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

MESSAGE_PREFIX = "msg_"


def message_label(message_id: UUID) -> str:
    """The `webhook-id`: the same for every try and every redelivery, so that a receiver can drop what it has."""
    return f"{MESSAGE_PREFIX}{message_id.hex}"


def sign(message_id: UUID, sent_at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers. `sent_at` is aware, and Postgres' time: receivers refuse what is minutes off."""
    label = message_label(message_id)
    text = body.decode()
    moment = sent_at.astimezone(UTC)  # the library takes the wall clock's digits for UTC, whatever the zone
    signatures = [Webhook(secret).sign(label, moment, text) for secret in secrets]
    return {
        "webhook-id": label,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
