"""The Celery app and the ticket: how a worker is woken. A ticket is lossy and may be doubled; it never is the truth.

A ticket wakes a pool and carries the id of the job that caused it, for tracing only. While one waits for a pool (a
Redis key set NX with a short life, cleared by the worker before it claims), no second is sent.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis
from celery import Celery

from models.settings import Settings
from models.states import Pool

WAKE_TASK = "safelight.wake"
TICKET_SECONDS = 5
"""How long one unclaimed ticket keeps others from being sent."""

_WORKER_TRANSPORT = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
_SENDER_TRANSPORT = {
    "max_retries": 0,
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "retry_on_timeout": False,
}


def make_celery(settings: Settings, *, worker: bool) -> Celery:
    """The app. A worker waits for a broker for ever; a sender gives up at once, since a lost ticket costs nothing."""
    app = Celery("safelight", broker=settings.redis_url, set_as_current=worker)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_publish_retry=worker,
        task_default_queue=Pool.GPU.value,
        task_create_missing_queues=True,
        task_serializer="json",
        accept_content=["json"],
        broker_transport_options=_WORKER_TRANSPORT if worker else _SENDER_TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_soft_shutdown_timeout=30,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        event_queue_expires=60,
        timezone="UTC",
    )
    return app


def connect_redis(settings: Settings) -> "redis.Redis":
    """A client with short timeouts, for tickets and progress. Nothing that may not be lost goes through it."""
    return redis.Redis.from_url(
        settings.redis_url, socket_timeout=2, socket_connect_timeout=1, socket_keepalive=True, health_check_interval=10
    )


def ticket_key(pool: Pool) -> str:
    """The key that says: a ticket for this pool waits."""
    return f"safelight:ticket:{pool.value}"


def clear_ticket(connection: "redis.Redis", pool: Pool) -> None:
    """A worker was woken and is about to claim: the next submit may send a ticket again."""
    with contextlib.suppress(redis.RedisError):
        connection.delete(ticket_key(pool))


def send_ticket(app: Celery, connection: "redis.Redis", pool: Pool, job_id: UUID | None = None) -> bool:
    """Wake one worker of the pool unless a ticket waits already. False when that was so.

    Raises:
        redis.RedisError, kombu.exceptions.OperationalError: the broker does not answer.
    """
    cause = str(job_id) if job_id else ""
    if not connection.set(ticket_key(pool), cause or "-", nx=True, ex=TICKET_SECONDS):
        return False
    app.send_task(WAKE_TASK, args=[pool.value, cause], queue=pool.value, ignore_result=True)
    return True


class TicketSender:
    """Sends tickets from a thread of its own, so that a dead or hung Redis never delays whoever submits.

    Requests for the same pool that meet in the queue become one ticket. Errors are counted and dropped: the sweeper
    sends tickets again while work waits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pending: dict[Pool, UUID | None] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self.failures = 0
        self.on_failure: Callable[[], object] = lambda: None

    def send(self, pool: Pool, job_id: UUID | None = None) -> None:
        """Ask for a ticket; returns at once. The thread starts with the first call, so that forks come before it."""
        with self._wake:
            self._pending[pool] = job_id
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        app, connection = make_celery(self._settings, worker=False), connect_redis(self._settings)
        while True:
            with self._wake:
                while not self._pending:
                    self._wake.wait()
                pool, job_id = self._pending.popitem()
            self._send(app, connection, pool, job_id)

    def _send(self, app: Celery, connection: Any, pool: Pool, job_id: UUID | None) -> None:
        try:
            send_ticket(app, connection, pool, job_id)
        except Exception:  # noqa: BLE001  # a ticket may be lost for any reason
            self.failures += 1
            self.on_failure()
