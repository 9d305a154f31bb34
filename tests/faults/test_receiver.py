"""The soak's own target of webhooks: what it counts as told, as forged, and as cut off."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.faults.receiver import Inbox, Receiver
from tests.worker.conftest import until

SECRET = "whsec_" + "c2VjcmV0" * 5
BODY = json.dumps({"type": "job.succeeded", "data": {"id": "one"}}).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(seed=1)
    receiver.inboxes["a"] = Inbox(SECRET)
    receiver.well.set()
    with receiver.running():
        yield receiver


def headers_of(body: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg_1", now, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def test_a_signed_request_counts_each_time_and_is_one_message(receiver: Receiver) -> None:
    for _ in range(2):
        assert httpx.post(receiver.url("a"), content=BODY, headers=headers_of(BODY)).status_code == 204
    inbox = receiver.inboxes["a"]
    assert (inbox.seen, inbox.jobs()) == ({"msg_1": 2}, {("one", "job.succeeded"): 1})
    assert (inbox.forged, inbox.cut_off) == ([], 0)


def test_another_body_under_a_signature_is_forged(receiver: Receiver) -> None:
    assert httpx.post(receiver.url("a"), content=b"{}", headers=headers_of(BODY)).status_code == 401
    assert len(receiver.inboxes["a"].forged) == 1
    assert not receiver.inboxes["a"].seen


def test_a_request_whose_sender_died_is_not_forged(receiver: Receiver) -> None:
    """Given a sender that is killed between the head and the end of the body."""
    address = urlsplit(receiver.url("a"))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers_of(BODY).items())
    with socket.create_connection((address.hostname, address.port)) as line:
        line.sendall(f"POST /a HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:5])
    inbox = receiver.inboxes["a"]
    until(lambda: inbox.cut_off, what="the end of the request")
    assert (inbox.forged, dict(inbox.seen)) == ([], {})
