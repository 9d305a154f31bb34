"""One try against a real HTTP server: what counts as taken, what does not, and that nothing keeps it for long."""

import json
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import openai
import pytest
from standardwebhooks import Webhook

from models.webhooks.delivery import Tried
from models.webhooks.endpoints import make_secret
from tests.worker.webhooks.conftest import PAYLOAD, TIMEOUT_SECONDS, FakeResolver, claimed
from tests.worker.webhooks.target import (
    Answer,
    Handler,
    MiB,
    cut_body,
    cut_head,
    drip_body,
    drip_head,
    endless_hints,
    hang,
    huge_body,
    huge_head,
    no_http,
    server_tls,
    status,
    target,
)
from worker.webhooks.outcome import Reason
from worker.webhooks.sending import Sender

NOW = datetime.now(UTC)


def send(sender: Sender, url: str) -> Tried:
    return sender.send(claimed(url), datetime.now(UTC))


def test_a_target_gets_a_signed_body_and_knows_who_sent_it(sender: Sender) -> None:
    """Given a secret, when a message is sent, then both libraries accept what arrived, byte for byte."""
    secret = make_secret()
    with target() as hook:
        one = claimed(hook.url, secret)
        tried = sender.send(one, datetime.now(UTC))
        (got,) = hook.received

    assert (tried.status_code, tried.error) == (200, None)
    assert (got.path, got.body) == ("/hook?token=t", PAYLOAD.encode())
    assert got.id == f"msg_{one.message_id.hex}"
    assert got.headers["host"] == f"127.0.0.1:{hook.port}"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("Safelight/")
    assert Webhook(secret).verify(got.body, got.plain_headers) == json.loads(PAYLOAD)
    with openai.OpenAI(api_key="none", webhook_secret=secret) as client:
        assert client.webhooks.unwrap(got.body, got.plain_headers).type == "job.succeeded"


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_a_2xx_is_taken(sender: Sender, code: int) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True

    with target(answer) as hook:
        assert send(sender, hook.url).error is None


@pytest.mark.parametrize("code", [400, 401, 404, 410, 429, 500, 503])
def test_any_other_status_is_not_taken(sender: Sender, code: int) -> None:
    with target(status(code)) as hook:
        tried = send(sender, hook.url)
    assert (tried.status_code, tried.error) == (code, Reason.STATUS)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(sender: Sender, code: int) -> None:
    with target() as inside, target(status(code, Location=inside.url)) as hook:
        tried = send(sender, hook.url)
        assert (tried.status_code, tried.error) == (code, Reason.REDIRECT)
        assert (inside.received, inside.visited) == ([], [])


@pytest.mark.parametrize("answer", [drip_head, hang, endless_hints])
def test_a_target_that_does_not_answer_in_time_is_left(sender: Sender, answer: Answer) -> None:
    """Whether it hangs or drips: the deadline is one for the whole try."""
    started = time.monotonic()
    with target(answer) as hook:
        tried = send(sender, hook.url)
    assert (tried.status_code, tried.error) == (None, Reason.TIMEOUT)
    assert TIMEOUT_SECONDS <= time.monotonic() - started < 20 * TIMEOUT_SECONDS


@pytest.mark.parametrize("answer", [cut_head, no_http, huge_head])
def test_an_answer_that_is_none_is_not_taken(sender: Sender, answer: Answer) -> None:
    with target(answer) as hook:
        tried = send(sender, hook.url)
    assert (tried.status_code, tried.error) == (None, Reason.PROTOCOL)


@pytest.mark.parametrize("answer", [cut_body, drip_body])
def test_the_status_counts_whatever_becomes_of_the_body(sender: Sender, answer: Answer) -> None:
    patient = replace(sender, timeout_seconds=60)
    started = time.monotonic()
    with target(answer) as hook:
        tried = send(patient, hook.url)
    assert (tried.status_code, tried.error) == (200, None)
    assert time.monotonic() - started < 30


def test_a_huge_body_is_not_read(sender: Sender) -> None:
    with target(huge_body) as hook:
        assert send(sender, hook.url).error is None
        end = time.monotonic() + 30
        while not hook.visited and time.monotonic() < end:
            time.sleep(0.01)
        (taken,) = hook.visited
    assert int(taken) < 32 * MiB


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "9" * 400}, 999_999_999.0),
        ({}, None),
    ],
)
def test_retry_after_is_heard(sender: Sender, headers: dict[str, str], seconds: float | None) -> None:
    with target(status(429, **headers)) as hook:
        assert send(sender, hook.url).retry_after_seconds == seconds


def test_retry_after_as_a_date_is_read_by_the_target_s_own_clock(sender: Sender) -> None:
    def answer(handler: Handler) -> None:
        handler.say(
            b"HTTP/1.1 503 Later\r\nDate: Thu, 01 Jan 2015 00:00:00 GMT\r\n"
            b"Retry-After: Thu, 01 Jan 2015 00:02:00 GMT\r\nContent-Length: 0\r\n\r\n"
        )

    with target(answer) as hook:
        assert send(sender, hook.url).retry_after_seconds == 120.0


def test_nobody_listens(sender: Sender) -> None:
    with target() as hook:
        url = hook.url
    assert send(sender, url).error is Reason.CONNECT


def test_a_secret_that_is_none_ends_the_try_and_not_the_dispatcher(sender: Sender) -> None:
    with target() as hook:
        tried = sender.send(claimed(hook.url, "whsec_"), NOW)
        assert (tried.error, hook.received) == (Reason.INTERNAL, [])


def test_proxies_of_the_environment_are_not_used(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    with target() as proxy, target() as hook:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert send(sender, hook.url).error is None
        assert (len(hook.received), proxy.received) == (1, [])


# --- TLS -------------------------------------------------------------------------------------------------------------


def trusting(sender: Sender, certificate: Path) -> Sender:
    tls = ssl.create_default_context(cafile=certificate)
    return replace(sender, tls=tls, lookup=FakeResolver(["127.0.0.1"]))


def test_the_certificate_is_checked_against_the_name_and_not_the_address(
    sender: Sender, certificate: tuple[Path, Path]
) -> None:
    """Given a certificate for hook.example, when its address is pinned, then TLS and Host still carry the name."""
    with target(tls=server_tls(*certificate)) as hook:
        tried = send(trusting(sender, certificate[0]), f"https://hook.example:{hook.port}/a")
        assert tried.error is None
        assert hook.received[0].headers["host"] == f"hook.example:{hook.port}"
        # A trailing dot is the resolver's matter: neither TLS nor the Host header has it.
        assert send(trusting(sender, certificate[0]), f"https://hook.example.:{hook.port}/a").error is None
        assert hook.received[1].headers["host"] == f"hook.example:{hook.port}"


def test_another_name_is_refused(sender: Sender, certificate: tuple[Path, Path]) -> None:
    with target(tls=server_tls(*certificate)) as hook:
        tried = send(trusting(sender, certificate[0]), f"https://other.example:{hook.port}/a")
        assert (tried.error, hook.received) == (Reason.TLS, [])


def test_an_unknown_issuer_is_refused(sender: Sender, certificate: tuple[Path, Path]) -> None:
    strange = replace(sender, lookup=FakeResolver(["127.0.0.1"]))
    with target(tls=server_tls(*certificate)) as hook:
        tried = send(strange, f"https://hook.example:{hook.port}/a")
        assert (tried.error, hook.received) == (Reason.TLS, [])


def test_https_to_a_plain_server_is_no_answer(sender: Sender) -> None:
    with target() as hook:
        tried = send(replace(sender, lookup=FakeResolver(["127.0.0.1"])), f"https://hook.example:{hook.port}/a")
        assert (tried.error, hook.received) == (Reason.TLS, [])


def test_a_handshake_that_hangs_is_left(sender: Sender) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        tried = send(sender, f"https://127.0.0.1:{silent.getsockname()[1]}/")
    assert tried.error is Reason.TIMEOUT
