"""Bytes that are no request: a problem document, and no word of what was sent, in the answer or in the log."""

import json
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from socket import socket

import pytest

from api.refusals import refusal
from tests.api.live import Server
from tests.security.test_slow_clients import dial, is_served, server

__all__ = ["dial", "server"]

SECRET = "sl_0123456789ab_a-secret"
BROKEN = {
    "line": (f"GET {SECRET}\r\n\r\n", 400, "bad_request"),
    "method": (f"{SECRET}! / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "version": ("GET /v1/jobs HTTP/9.9\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "name": (f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {SECRET}: x\r\n\r\n", 400, "bad_request"),
    "no colon": (f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {SECRET}\r\n\r\n", 400, "bad_request"),
    "folded": (f"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n {SECRET}\r\n\r\n", 400, "bad_request"),
    "two lengths": ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"),
    "length": (f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n", 400, "bad_request"),
    "long line": (f"GET /{SECRET}{'x' * 5000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    "long field": (
        f"GET / HTTP/1.1\r\nHost: x\r\nX-Long: {SECRET}{'x' * 9000}\r\n\r\n",
        431,
        "request_header_fields_too_large",
    ),
    "coding": ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: magic\r\n\r\n", 501, "not_implemented"),
    "expectation": (f"POST / HTTP/1.1\r\nHost: x\r\nExpect: {SECRET}\r\n\r\n", 417, "expectation_failed"),
}


def test_a_broken_head_gets_a_problem_document(
    server: Server, dial: Callable[[bytes], socket], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for name, (sent, status, code) in BROKEN.items():
        with subtests.test(name):
            answer = HTTPResponse(dial(sent.encode()))
            answer.begin()
            body = answer.read().decode()
            assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
            document = json.loads(body)
            assert (document["status"], document["code"], document["type"]) == (
                status,
                code,
                f"urn:safelight:problem:{code}",
            )
            assert document["request_id"] == answer.headers["X-Request-ID"]
            assert answer.headers["Connection"] == "close"
            assert "secret" not in body
    assert is_served(server)
    log = (tmp_path / "log").read_text()
    assert "no request: InvalidRequestLine" in log
    assert "secret" not in log


def test_what_breaks_outside_the_application_is_a_500_without_a_word_of_it() -> None:
    head, _, body = refusal(RuntimeError("a secret")).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["code"] == "internal"
    assert b"secret" not in head + body
