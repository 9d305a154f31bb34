"""S3's clock, where this machine's is wrong: botocore signs by the local one, and never corrects it.

A request that is refused (403) with a `Date` far from ours is signed again by that date, and so is whatever comes after
it. Kept for each `models.storage.Storage`; `worker.courier.put` has the same for its own signatures.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import structlog
from botocore import auth

NAME = "s3v4-by-s3s-clock"
CONTEXT = "s3_clock"
"""Where a request carries its clock to its signer."""
SIGNED_BY = "s3_clock_ahead"
"""Where the signer leaves what it added."""
TOLERANCE = timedelta(minutes=1)
"""S3 takes a quarter of an hour. Less than this is the way and the queue, and nothing to learn."""

log = structlog.get_logger()


class S3Clock:
    """How far S3's clock is ahead of this machine's, as far as it is known."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def attach(self, client: Any) -> None:
        """Sign this boto3 client's requests by this clock, and learn from their answers."""
        client.meta.events.register_first("choose-signer.s3", self._choose)
        client.meta.events.register_first("needs-retry.s3", self._heard)

    def _choose(self, signature_version: str, context: dict[str, Any], **_: Any) -> str | None:
        name = {"s3v4": NAME, "s3v4-query": f"{NAME}-query"}.get(signature_version)
        if name is not None:
            context[CONTEXT] = self
        return name

    def _heard(
        self, response: tuple[Any, Mapping[str, Any]] | None, request_dict: Mapping[str, Any], **_: Any
    ) -> float | None:
        """Zero seconds until the request is sent again, if there is something new to sign it by.

        New to this request: another thread's may have been refused a moment before, and have learned it.
        """
        if response is None or response[0].status_code != HTTPStatus.FORBIDDEN:
            return None
        self._learn(response[0].headers.get("Date", ""))
        signed_by = request_dict["context"].get(SIGNED_BY)
        return 0.0 if signed_by is not None and abs(self.ahead - signed_by) > TOLERANCE else None

    def _learn(self, said: str) -> None:
        with contextlib.suppress(ValueError, TypeError):  # no date, or one without its zone
            ahead = parsedate_to_datetime(said) - datetime.now(UTC)
            if abs(ahead - self.ahead) > TOLERANCE:
                self.ahead = ahead
                log.warning("this machine's clock is wrong; S3's is used", ahead_seconds=round(ahead.total_seconds()))


def _set_back(request: Any) -> None:
    """The signer has just written down the local time: what it signs by is read from there."""
    ahead = request.context[SIGNED_BY] = request.context[CONTEXT].ahead
    now = datetime.now(UTC) + ahead
    request.context["timestamp"] = now.strftime(auth.SIGV4_TIMESTAMP)


class _HeaderAuth(auth.S3SigV4Auth):  # type: ignore[misc]  # botocore is untyped
    def _modify_request_before_signing(self, request: Any) -> None:
        _set_back(request)
        super()._modify_request_before_signing(request)


class _QueryAuth(auth.S3SigV4QueryAuth):  # type: ignore[misc]
    def _modify_request_before_signing(self, request: Any) -> None:
        _set_back(request)
        super()._modify_request_before_signing(request)


auth.AUTH_TYPE_MAPS[NAME] = _HeaderAuth
auth.AUTH_TYPE_MAPS[f"{NAME}-query"] = _QueryAuth
