"""One try: resolve, connect, post, look at the status. What the target says beyond that is not kept.

The status decides. A 2xx counts as soon as it is there, even if the body behind it never ends: sending again what was
taken helps nobody.
"""

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

import httpcore
import structlog

from models.webhooks.claim import ClaimedDelivery
from models.webhooks.delivery import Tried
from worker.webhooks.addresses import Lookup, Target, locate, system_lookup
from worker.webhooks.network import PinnedNetwork
from worker.webhooks.outcome import Deadline, NotTakenError, Reason
from worker.webhooks.signing import sign

MAX_ANSWER_BYTES = 4096
"""Read so that an ordinary answer ends in order; thrown away."""
ANSWER_SECONDS = 1.0
"""What an answer's body may take once the status is there."""

log = structlog.get_logger()


def _version() -> str:
    try:
        return version("safelight")
    except PackageNotFoundError:
        return "0"


USER_AGENT = f"Safelight/{_version()}"


@dataclass(frozen=True)
class Sender:
    """Makes tries; threads may share one."""

    tls: ssl.SSLContext
    timeout_seconds: float
    allow_private: bool = False
    lookup: Lookup = system_lookup

    def send(self, claimed: ClaimedDelivery, sent_at: datetime) -> Tried:
        """One try, within the timeout. Never raises: what goes wrong is the outcome."""
        started = time.monotonic()
        deadline = Deadline(started + self.timeout_seconds)
        try:
            status, headers = self._post(claimed, sent_at, deadline)
        except NotTakenError as error:
            return Tried(time.monotonic() - started, error=error.reason)
        except (httpcore.ProtocolError, httpcore.NetworkError):
            return Tried(time.monotonic() - started, error=Reason.PROTOCOL)
        except Exception:
            log.exception("a try broke", delivery=str(claimed.hold.delivery_id))
            return Tried(time.monotonic() - started, error=Reason.INTERNAL)
        return Tried(time.monotonic() - started, status, _reason(status), _retry_after(headers))

    def _post(self, claimed: ClaimedDelivery, sent_at: datetime, deadline: Deadline) -> tuple[int, dict[str, str]]:
        target = locate(claimed.url, deadline, allow_private=self.allow_private, lookup=self.lookup)
        body = claimed.payload.encode()
        headers = {
            "Host": target.authority,
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Accept": "*/*",
            "Connection": "close",
            **sign(claimed.message_id, sent_at, body, claimed.secrets),
        }
        with (
            self._connection(target, deadline) as connection,
            connection.stream("POST", _url(target), headers=[*headers.items()], content=body) as answer,
        ):
            _read_some(answer, deadline)
            said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return answer.status, said

    def _connection(self, target: Target, deadline: Deadline) -> httpcore.HTTPConnection:
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        network = PinnedNetwork(target.addresses, deadline, self.tls)
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without one httpcore reads the certificates each time
        return httpcore.HTTPConnection(origin, ssl_context=unused, network_backend=network)


def _url(target: Target) -> httpcore.URL:
    return httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)


def _read_some(answer: httpcore.Response, deadline: Deadline) -> None:
    """Whatever becomes of the body, the status stands."""
    deadline.shorten(ANSWER_SECONDS)
    size = 0
    with suppress(NotTakenError, httpcore.ProtocolError, httpcore.NetworkError):
        for part in answer.iter_stream():
            size += len(part)
            if size >= MAX_ANSWER_BYTES:
                break


def _reason(status: int) -> Reason | None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Reason.REDIRECT
    return Reason.STATUS


def _retry_after(headers: dict[str, str]) -> float | None:
    """Seconds, as asked for. A date is read by the target's own clock (its Date header), since ours may differ."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        pause = _moment(asked) - _moment(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return max(pause, timedelta()).total_seconds()


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
