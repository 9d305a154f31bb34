"""Signatures, as receivers check them: with `standardwebhooks`, and with OpenAI's client."""

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from models.webhooks.endpoints import make_secret
from tests.worker.webhooks.conftest import PAYLOAD
from worker.webhooks.signing import message_label, sign

BODY = PAYLOAD.encode()


def test_both_secrets_sign_during_a_rotation_and_no_other() -> None:
    new, old, other = make_secret(), make_secret(), make_secret()
    headers = sign(uuid.uuid4(), datetime.now(UTC), BODY, [new, old])
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(other).verify(BODY, headers)


@pytest.mark.parametrize("changed", [BODY + b" ", BODY.replace(b"job", b"jab"), b""])
def test_a_changed_body_is_found_out(changed: bytes) -> None:
    secret = make_secret()
    headers = sign(uuid.uuid4(), datetime.now(UTC), BODY, [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(changed, headers)


def test_openai_unwraps_it() -> None:
    secret = make_secret()
    headers = sign(uuid.uuid4(), datetime.now(UTC), BODY, [make_secret(), secret])
    with openai.OpenAI(api_key="none", webhook_secret=secret) as client:
        event = client.webhooks.unwrap(BODY, headers)
        assert event.type == "job.succeeded"
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(BODY + b" ", headers)


def test_an_old_signature_cannot_be_played_again() -> None:
    secret = make_secret()
    headers = sign(uuid.uuid4(), datetime.now(UTC) - timedelta(minutes=6), BODY, [secret])
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, headers)


def test_the_timestamp_is_the_moment_that_was_given_in_whatever_zone() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC)
    label = uuid.uuid4()
    first = sign(label, moment, BODY, [secret := make_secret()])
    assert first["webhook-timestamp"] == str(int(moment.timestamp()))
    assert first["webhook-id"] == message_label(label) == f"msg_{label.hex}"
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert sign(label, elsewhere, BODY, [secret]) == first
