"""The dispatcher: claims what is due, gives each try to a thread, and writes how it ended.

The main thread claims no more than there are free threads, so that a lease never runs while its delivery waits. A try
whose end cannot be written is tried again by somebody once its lease has run out: at least once, under one id.
"""

import os
import socket
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import FrameType

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from models.daemons import DaemonKind, say_alive, say_gone
from models.failpoints import reach
from models.session import Sessions
from models.settings import Settings
from models.webhooks.claim import ClaimedDelivery, Shares, claim_deliveries, fail_disabled
from models.webhooks.delivery import Settled, Tried, delivered, gone, retry_or_fail
from worker.webhooks.outcome import FINAL
from worker.webhooks.sending import Sender

SENDERS = 64
"""Tries at the same time."""
SHARES = Shares(per_endpoint=4, per_client=SENDERS // 2)
"""What one may have of them; all dispatchers together."""
POLL_SECONDS = 1.0
"""NOTIFY wakes it at once; this finds what is due for another try, or whose lease ran out."""
ALIVE_SECONDS = 5.0
LEASE_TRIES = 2.0
LEASE_SLACK_SECONDS = 1.0
"""A lease lasts as long as two tries and a moment: one for the try, the rest for writing its end."""
SETTLE_AGAIN_SECONDS = 0.5
FAIL_ROWS = 500
GONE_STATUS = 410

log = structlog.get_logger()


@dataclass(frozen=True)
class _Try:
    """A claimed delivery, and when its lease began by this machine's monotonic clock (a little early)."""

    claimed: ClaimedDelivery
    since: float


class Dispatcher:
    """Sends until `stop`; what is in flight then is ended in order."""

    def __init__(self, settings: Settings, sessions: Sessions, sender: Sender) -> None:
        self._settings = settings
        self._sessions = sessions
        self._sender = sender
        self._lease_seconds = LEASE_TRIES * settings.webhook_timeout_seconds + LEASE_SLACK_SECONDS
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._threads = ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook")
        self._in_flight: set[Future[None]] = set()
        # Its `put` may be called from a signal handler, unlike an Event's `set`.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._stopping = False
        self._alive_due = 0.0
        self._working_since: float | None = None

    def ring(self) -> None:
        """Something may be due. From any thread."""
        self._bell.put(None)

    def heard(self, _number: int, _frame: FrameType | None) -> None:
        """As a signal handler: claim nothing more."""
        self._stopping = True
        self.ring()

    def run(self) -> None:
        """Until stopped, and until what is in flight has ended."""
        while not self._stopping:
            self._round()
            self._listen(POLL_SECONDS)
        log.info("stopping", in_flight=len(self._unfinished()))
        self._threads.shutdown(wait=True)
        self._say_gone()

    def _round(self) -> None:
        """Claim for every free thread, and say that we are alive."""
        try:
            for one in self._claim(SENDERS - len(self._unfinished())):
                future = self._threads.submit(self._deliver, one)
                self._in_flight.add(future)
                future.add_done_callback(lambda _: self.ring())
            if time.monotonic() >= self._alive_due:
                self._look_after()
        except (DBAPIError, PoolTimeoutError) as error:
            log.warning("Postgres failed the dispatcher", error=type(error).__name__)
            self._working_since = None

    def _claim(self, free: int) -> list[_Try]:
        if free <= 0:
            return []
        since = time.monotonic()
        with self._sessions.begin() as session:
            claimed = claim_deliveries(
                session, owner=self.name, limit=free, shares=SHARES, lease_seconds=self._lease_seconds
            )
        return [_Try(one, since) for one in claimed]

    def _look_after(self) -> None:
        """What needs doing every few seconds only."""
        now = time.monotonic()
        self._working_since = self._working_since or now
        with self._sessions.begin() as session:
            say_alive(
                session,
                name=self.name,
                kind=DaemonKind.DISPATCHER,
                host=socket.gethostname(),
                pid=os.getpid(),
                working_seconds=now - self._working_since,
            )
            failed = fail_disabled(session, limit=FAIL_ROWS, lease_seconds=self._lease_seconds)
        if failed:
            log.info("deliveries of disabled endpoints have failed", count=failed)
        self._alive_due = now if failed == FAIL_ROWS else now + ALIVE_SECONDS

    def _deliver(self, one: _Try) -> None:
        """In a thread: send and settle. Whatever goes wrong here, the lease runs out and somebody tries again."""
        claimed = one.claimed
        try:
            reach("before_delivery")
            elapsed = time.monotonic() - one.since
            if elapsed + self._settings.webhook_timeout_seconds > self._lease_seconds:
                log.warning("too late to send", **_names(claimed))  # frozen since the claim
                return
            tried = self._sender.send(claimed, claimed.claimed_at + timedelta(seconds=elapsed))
            reach("after_delivery")
            settled = self._settle(one, tried)
        except Exception as error:  # noqa: BLE001  # the other deliveries go on
            log.warning("a delivery was left to its lease", error=type(error).__name__, **_names(claimed))
            return
        log.info(
            "webhook",
            outcome=settled.value,
            status=tried.status_code,
            error=tried.error,
            seconds=round(tried.seconds, 3),
            **_names(claimed),
        )

    def _settle(self, one: _Try, tried: Tried) -> Settled:
        """Write the end; while Postgres is away, again and again until the lease is over."""
        while True:
            try:
                with self._sessions.begin() as session:
                    return self._end(session, one.claimed, tried)
            except (OperationalError, InterfaceError, PoolTimeoutError) as error:
                if time.monotonic() - one.since >= self._lease_seconds:
                    raise
                log.warning("an outcome waits for Postgres", error=type(error).__name__, **_names(one.claimed))
                time.sleep(SETTLE_AGAIN_SECONDS)

    def _end(self, session: Session, claimed: ClaimedDelivery, tried: Tried) -> Settled:
        if tried.error is None:
            return delivered(session, claimed.hold, tried)
        if tried.status_code == GONE_STATUS:
            return gone(session, claimed.hold, tried)
        return retry_or_fail(session, claimed.hold, tried, self._settings, final=tried.error in FINAL)

    def _unfinished(self) -> set[Future[None]]:
        self._in_flight = {future for future in self._in_flight if not future.done()}
        return self._in_flight

    def _listen(self, seconds: float) -> None:
        """Until the bell rings; whoever rang meanwhile is heard as well."""
        try:
            self._bell.get(timeout=seconds)
            while True:
                self._bell.get_nowait()
        except Empty:
            return

    def _say_gone(self) -> None:
        try:
            with self._sessions.begin() as session:
                say_gone(session, self.name)
        except DBAPIError as error:
            log.warning("Postgres failed the dispatcher", error=type(error).__name__)


def _names(claimed: ClaimedDelivery) -> dict[str, str | int]:
    """What the log calls it. No URL: its path may be as secret as a key."""
    return {
        "delivery": str(claimed.hold.delivery_id),
        "endpoint": str(claimed.hold.endpoint_id),
        "kind": claimed.kind,
        "number": claimed.hold.tries,
    }
