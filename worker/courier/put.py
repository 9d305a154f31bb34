"""The S3 put: signed by hand over a connection that is kept open, a few times cheaper than boto3's.

Signature Version 4 with the payload's hash, so that S3 checks what arrived (AWS, "Authenticating Requests: Using the
Authorization Header"). Only for an endpoint and keys that are set; anything else (roles, regions) is boto3's business.
"""

import contextlib
import hashlib
import hmac
import http.client
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import quote, urlsplit

import structlog

from models.errors import StorageError
from models.settings import Settings
from models.storage import Storage

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 20.0
log = structlog.get_logger()

_SKEWED = b"<Code>RequestTimeTooSkewed</Code>"
_SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"


class Put(Protocol):
    """Stores one object, or raises `StorageError`."""

    def __call__(self, key: str, body: bytes, media_type: str, sha256: str) -> None:
        """`sha256` is the hex digest of `body`."""


def make_put(settings: Settings) -> Put:
    """The cheapest way that these settings allow."""
    if settings.s3_endpoint_url and settings.s3_access_key_id and settings.s3_secret_access_key:
        return SignedPut(settings)
    storage = Storage(settings)
    return lambda key, body, media_type, _sha256: storage.put(key, body, media_type)


class SignedPut:
    """One open connection per thread."""

    def __init__(self, settings: Settings) -> None:
        """The settings must name an endpoint and keys."""
        if not (settings.s3_endpoint_url and settings.s3_access_key_id and settings.s3_secret_access_key):
            raise ValueError("an endpoint and keys are needed to sign by hand")
        endpoint = urlsplit(settings.s3_endpoint_url)
        self._secure = endpoint.scheme == "https"
        self._host = endpoint.netloc
        self._base = f"{endpoint.path.rstrip('/')}/{settings.s3_bucket}/"
        self._region = settings.s3_region
        self._access_key = settings.s3_access_key_id.get_secret_value()
        self._secret = settings.s3_secret_access_key.get_secret_value()
        self._ahead = timedelta(0)
        """How far S3's clock is ahead of ours: learned when it refuses a signature of ours as too old or too new."""
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close what the threads left open, when none of them puts any more."""
        for connection in self._opened:
            connection.close()

    def __call__(self, key: str, body: bytes, media_type: str, sha256: str) -> None:
        """Put, once more on a fresh connection when the kept one had been closed.

        Raises:
            StorageError: S3 does not answer or refuses.
        """
        path = self._base + quote(key)
        headers = {"Content-Type": media_type, **self._signed(path, sha256, datetime.now(UTC) + self._ahead)}
        kept = getattr(self._local, "connection", None)
        try:
            if kept is not None:
                try:
                    return self._send(kept, path, body, headers)
                except (http.client.RemoteDisconnected, ConnectionError):
                    self._forget()
            return self._send(self._connect(), path, body, headers)
        except (http.client.HTTPException, OSError) as error:
            self._forget()
            raise StorageError(f"S3 did not take the request: {type(error).__name__}") from error

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, timeout=CONNECT_SECONDS)
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        self._local.connection = connection
        self._opened.append(connection)
        return connection

    def _forget(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._opened.remove(connection)
            self._local.connection = None

    def _send(self, connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> None:
        connection.request("PUT", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            self._forget()
            log.warning("S3 refused a put", status=answer.status, answer=text[:300].decode(errors="replace"))
            if _SKEWED in text:
                self._learn_the_time(answer.headers["Date"] or "")
            raise StorageError(f"S3 did not take the request ({answer.status}).")

    def _learn_the_time(self, said: str) -> None:
        with contextlib.suppress(ValueError, TypeError):  # no date, or one without its zone
            self._ahead = parsedate_to_datetime(said) - datetime.now(UTC)
            seconds = round(self._ahead.total_seconds())
            log.warning("this machine's clock is wrong; the next put is signed by S3's", ahead_seconds=seconds)

    def _signed(self, path: str, sha256: str, now: datetime) -> dict[str, str]:
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        scope = f"{day}/{self._region}/s3/aws4_request"
        canonical = (
            f"PUT\n{path}\n\nhost:{self._host}\nx-amz-content-sha256:{sha256}\nx-amz-date:{stamp}\n\n"
            f"{_SIGNED_HEADERS}\n{sha256}"
        )
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return {
            "x-amz-content-sha256": sha256,
            "x-amz-date": stamp,
            "Authorization": (
                f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, "
                f"SignedHeaders={_SIGNED_HEADERS}, Signature={signature}"
            ),
        }
