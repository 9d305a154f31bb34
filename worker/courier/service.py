"""The courier's work on one parcel: encode, put, publish under the guard, and try again while a service is down."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Timer
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from models.errors import PipelineFailedError, RunError, StorageError, TransientError
from models.failpoints import reach
from models.jobs import Failure, Hold, Output, Published, fail, publish, say_made
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from worker.courier.frames import Delivery, Parcel
from worker.courier.parts import Part, parts_of, prepare, registration_of
from worker.courier.put import Put
from worker.courier.reproduction import compare
from worker.courier.safety import SafetyFilter
from worker.courier.signing import Signer

RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0)
PATIENCE_SECONDS = 1.0
"""What takes longer to be stored waits for S3."""

log = structlog.get_logger()


class DroppedError(Exception):
    """The worker does not want the parcel any more."""


@dataclass(frozen=True)
class Service:
    """What every parcel needs. Thread-safe: several are worked on at once."""

    settings: Settings
    sessions: Sessions
    put: Put
    pictures: Executor
    """Encodes and puts pictures; another pool than the one that runs `deliver`."""
    signer: Signer | None = None
    safety: SafetyFilter = field(default_factory=SafetyFilter)

    def deliver(self, parcel: Parcel, body: memoryview, dropped: Event) -> Delivery:
        """Take a parcel to its end. Never raises."""
        deadline = time.monotonic() + self.settings.store_budget_seconds
        try:
            started = time.monotonic()
            parts, withheld = self._allowed(parcel, parts_of(parcel, body))
            outputs = self._store_all(parcel, parts, dropped, deadline)
            measures = parcel.measures | {"store_seconds": round(time.monotonic() - started, 4)}
            trained = registration_of(parcel)
            result = self._result(parcel, parts, outputs, dropped, deadline) | withheld
            published = _until(
                deadline,
                dropped,
                lambda: self._transact(lambda s: publish(s, parcel.hold, outputs, measures, result, trained)),
            )
        except DroppedError:
            return Delivery.DROPPED
        except (StorageError, RunError) as error:
            log.warning("storing gave up", job=str(parcel.hold.job_id), error=error.detail)
            return self._fail(parcel, error if isinstance(error, RunError) else TransientError(error.detail))
        except DBAPIError as error:
            if _is_outage(error):
                log.warning("publishing gave up", job=str(parcel.hold.job_id))
                return Delivery.GIVEN_UP
            return self._fail_unexpected(parcel, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the job must end and its mates go on
            return self._fail_unexpected(parcel, error)
        reach("after_commit")
        return Delivery.FENCED if published is Published.FENCED else Delivery.PUBLISHED

    def _allowed(self, parcel: Parcel, parts: list[Part]) -> tuple[list[Part], dict[str, Any]]:
        """What the client's threshold lets pass, and what the result says of the rest."""
        if parcel.safety_threshold is None:
            return parts, {}
        kept, withheld = self.safety.split(parts, parcel.safety_threshold)
        return kept, {"withheld": withheld} if withheld else {}

    def _result(
        self, parcel: Parcel, parts: Sequence[Part], outputs: Sequence[Output], dropped: Event, deadline: float
    ) -> dict[str, Any]:
        """What the run said, and how it compares with the one that it reproduces."""
        if parcel.reproduces is None:
            return parcel.result
        read = Storage(self.settings).get
        compared = _until(deadline, dropped, lambda: self._transact(lambda s: compare(s, read, parcel, parts, outputs)))
        return parcel.result | {"reproduction": compared}

    def _store_all(self, parcel: Parcel, parts: Sequence[Part], dropped: Event, deadline: float) -> Sequence[Output]:
        left = itertools.count(len(parts) - 1, -1)
        patience = Timer(PATIENCE_SECONDS, self._say_made, (parcel.hold,))

        def is_prepared() -> None:
            if not next(left):
                patience.start()

        def store(part: Part) -> Output | None:
            return self._store(parcel, part, dropped, deadline, is_prepared)

        try:
            stored = [store(parts[0])] if len(parts) == 1 else list(self.pictures.map(store, parts))
        finally:
            patience.cancel()
        return [output for output in stored if output is not None]

    def _store(
        self, parcel: Parcel, part: Part, dropped: Event, deadline: float, is_prepared: Callable[[], object]
    ) -> Output | None:
        """Put one part. None for a file of a checkpoint: it is no artifact."""
        prepared = prepare(parcel, part, self.signer)
        is_prepared()
        reach("before_put")
        _until(deadline, dropped, lambda: self.put(prepared.key, prepared.body, prepared.media_type, prepared.sha256))
        reach("after_put")
        return prepared.output

    def _say_made(self, hold: Hold) -> None:
        """Nothing is left to encode, and S3 lets it wait: whatever ends this worker now is not the job's fault."""
        with suppress(SQLAlchemyError):
            self._transact(lambda session: say_made(session, hold))

    def _fail_unexpected(self, parcel: Parcel, error: Exception) -> Delivery:
        log.error("storing failed", job=str(parcel.hold.job_id), exc_info=error)
        return self._fail(parcel, PipelineFailedError(f"The outputs could not be stored: {type(error).__name__}."))

    def _fail(self, parcel: Parcel, error: RunError) -> Delivery:
        hold, measures = parcel.hold, parcel.measures
        try:
            outcome = self._transact(lambda session: fail(session, hold, error, self.settings, measures))
        except SQLAlchemyError:
            return Delivery.GIVEN_UP
        return Delivery.FENCED if outcome is Failure.FENCED else Delivery.FAILED

    def _transact(self, verb: Callable[[Any], Any]) -> Any:
        with self.sessions.begin() as session:
            return verb(session)


def warm_up(service: Service) -> None:
    """Open a connection and compile the publish before the first parcel comes: nobody holds the nil job."""
    try:
        with service.sessions.begin() as session:
            publish(session, Hold(UUID(int=0), 0, "nobody"), (), {})
    except SQLAlchemyError:
        log.warning("Postgres does not answer yet")


def _until(deadline: float, dropped: Event, work: Callable[[], Any]) -> Any:
    """Do `work`, again while a service is away, until it is done, unwanted or `deadline` has passed."""
    for number in itertools.count():
        if dropped.is_set():
            raise DroppedError
        try:
            return work()
        except (StorageError, DBAPIError) as error:
            if isinstance(error, DBAPIError) and not _is_outage(error):
                raise
            pause = RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)]
            if time.monotonic() + pause > deadline:
                raise
            log.info("a service is away", error=type(error).__name__, pause_seconds=pause)
            dropped.wait(pause)
    raise AssertionError  # count() does not end


def _is_outage(error: DBAPIError) -> bool:
    """Whether Postgres, the network or a lock was the trouble, rather than the statement."""
    return error.connection_invalidated or type(error).__name__ in {"OperationalError", "InternalError"}
