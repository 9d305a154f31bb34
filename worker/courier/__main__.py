"""`python -m worker.courier`: reads parcels from standard input, answers receipts on standard output.

It ends when its input does. A worker that closed it has waited for every receipt; one that was killed leaves parcels
behind, which are finished within a short time: their leases still stand, and the guard decides.
"""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BufferedIOBase
from typing import cast

import structlog

from models.failpoints import arm
from models.jobs import Hold
from models.log import configure_logging
from models.session import make_engine, make_sessions
from models.settings import get_settings
from worker.courier.frames import PARCELS_AT_ONCE, Drop, Parcel, Receipt, read_frame, write_receipt
from worker.courier.put import make_put
from worker.courier.service import Service, warm_up
from worker.courier.signing import make_signer

ORPHAN_SECONDS = 10.0
"""What an orphan may still spend on the parcels it has."""

log = structlog.get_logger()


class Courier:
    """Takes frames in, one thread per parcel, and answers in whatever order they end."""

    def __init__(self, service: Service, answers_fd: int) -> None:
        self._service = service
        self._answers_fd = answers_fd
        self._threads = ThreadPoolExecutor(PARCELS_AT_ONCE, thread_name_prefix="parcel")
        self._dropped: dict[Hold, threading.Event] = {}
        self._lock = threading.Lock()

    def serve(self, stream: BufferedIOBase) -> None:
        """Until the input ends."""
        while (frame := read_frame(stream)) is not None:
            message, pixels = frame
            if isinstance(message, Drop):
                with self._lock:
                    flag = self._dropped.get(message.hold)
                if flag is not None:
                    flag.set()
                continue
            flag = threading.Event()
            with self._lock:
                self._dropped[message.hold] = flag
            self._threads.submit(self._deliver, message, pixels, flag)

    def finish(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=True)

    def _deliver(self, parcel: Parcel, pixels: memoryview, flag: threading.Event) -> None:
        delivery = self._service.deliver(parcel, pixels, flag)
        with self._lock:
            self._dropped.pop(parcel.hold, None)
            try:
                os.write(self._answers_fd, write_receipt(Receipt(parcel.hold, delivery)))
            except OSError:
                log.info("nobody reads the receipt", job=str(parcel.hold.job_id), delivery=delivery.value)


def main() -> int:
    """Serve the worker that started this process."""
    # The worker decides when its courier ends; a Ctrl+C or a stop of the whole group must not.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    settings = get_settings()
    configure_logging(settings, process="courier")
    arm(settings)
    engine = make_engine(settings, application="courier")
    with ThreadPoolExecutor(PARCELS_AT_ONCE, thread_name_prefix="picture") as pictures:
        service = Service(settings, make_sessions(engine), make_put(settings), pictures, make_signer(settings))
        courier = Courier(service, sys.stdout.fileno())
        threading.Thread(target=warm_up, args=(service,), daemon=True).start()
        courier.serve(cast(BufferedIOBase, sys.stdin.buffer))
        watchdog = threading.Timer(ORPHAN_SECONDS, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        courier.finish()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
