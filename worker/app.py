"""The Celery app of a worker.

    python -m celery -A worker.app worker --pool prefork --concurrency 1 -Q gpu -n gpu-1@%h

The pool of a process follows from its queue. Celery's main process talks to the broker and imports no torch; its one
child owns the device. What the main process tells the child goes through its environment (spawned) and by signal.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import structlog
from celery import signals

from models.failpoints import arm
from models.log import configure_logging
from models.queue import TicketSender, make_celery
from models.settings import get_settings
from models.states import Pool
from worker import drain
from worker.courier.signing import SigningError, make_signer

if TYPE_CHECKING:
    from worker.process import WorkerProcess

POOL_VARIABLE = "SAFELIGHT_CHILD_POOL"
"""Not a setting: written by the main process, read by the child that it spawns."""

app = make_celery(get_settings(), worker=True)
app.conf.include = ["worker.tasks"]
# After SIGQUIT, Celery sleeps this long in its signal handler if a task was running, even when it has ended by then:
# its loop does not run meanwhile. The child stops at its next step and needs no longer.
app.conf.worker_soft_shutdown_timeout = 5

log = structlog.get_logger()

_process: "WorkerProcess | None" = None
_controller: Any = None
_draining = False


def process_of(pool: str, job_id: str) -> "WorkerProcess":
    """This child's worker process; made when the child started."""
    structlog.contextvars.bind_contextvars(cause=job_id)
    if _process is None:
        raise RuntimeError(f"no worker process for pool {pool}: the child did not start as it should")
    return _process


# --- Celery's main process ----------------------------------------------------------------------------------------


def _log(**_: Any) -> None:
    configure_logging(get_settings(), process="worker")


def _name_pool(instance: Any, **_: Any) -> None:
    queues = list(instance.app.amqp.queues.consume_from)
    known = [queue for queue in queues if queue in set(Pool)]
    if len(known) != 1 or len(queues) != 1:
        raise SystemExit(f"A worker serves one pool: start it with -Q gpu or -Q cpu, not -Q {','.join(queues)}.")
    os.environ[POOL_VARIABLE] = known[0]


def _try_signing(**_: Any) -> None:
    """A worker that cannot sign its pictures must say so at once, not when they are made."""
    try:
        make_signer(get_settings())
    except SigningError as error:
        raise SystemExit(error.detail) from error


def _remember(sender: Any, **_: Any) -> None:
    global _controller  # noqa: PLW0603  # Celery gives the controller to nobody else
    _controller = sender
    # A spawned child inherits this until it listens: told to drain in its first seconds, it must not die of that.
    signal.signal(drain.DRAIN_SIGNAL, signal.SIG_IGN)


def _ready(**_: Any) -> None:
    """Look for work that waited while no worker ran, and make SIGQUIT reach the child as well."""
    TicketSender(get_settings()).send(Pool(os.environ[POOL_VARIABLE]))
    before = signal.getsignal(signal.SIGQUIT)
    if callable(before):
        signal.signal(signal.SIGQUIT, _hurry(before))


def _hurry(then: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
    """Tell the child to stop at its next step before Celery waits for it."""

    def handler(number: int, frame: FrameType | None) -> None:
        drain.tell(_children(), drain.HURRY_SIGNAL)
        then(number, frame)

    return handler


def _drain(**_: Any) -> None:
    """SIGTERM came, for the first time or again."""
    global _draining  # noqa: PLW0603  # once per process
    drain.tell(_children(), drain.HURRY_SIGNAL if _draining else drain.DRAIN_SIGNAL)
    _draining = True


def _children() -> list[int]:
    with suppress(Exception):
        return [int(pid) for pid in _controller.pool.info["processes"]]
    return []


# --- the child that owns the device -------------------------------------------------------------------------------


def _start(**_: Any) -> None:
    from worker.process import WorkerProcess

    global _process  # noqa: PLW0603  # one process, one device
    try:
        arm(get_settings())
        _process = WorkerProcess(get_settings(), Pool(os.environ[POOL_VARIABLE]))
        _process.drain.listen()
        _process.start()
    except Exception:
        # Celery would log this and run on with a child that can do nothing.
        log.exception("the worker cannot start")
        os._exit(1)


def _stop(**_: Any) -> None:
    if _process is not None:
        _process.close()


signals.setup_logging.connect(_log)
signals.celeryd_after_setup.connect(_name_pool)
signals.celeryd_after_setup.connect(_try_signing)
signals.worker_init.connect(_remember)
signals.worker_ready.connect(_ready)
signals.worker_shutting_down.connect(_drain)
signals.worker_process_init.connect(_start)
signals.worker_process_shutdown.connect(_stop)
