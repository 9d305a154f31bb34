"""The clients of a soak: threads that submit over HTTP and do not give up, each with an Idempotency-Key per job.

Whatever comes instead of an answer (a refused connection, a timeout, a 5xx), the same request is sent again with the
same key, so that an answer that was lost makes no second job.
"""

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from tests.faults.orders import Order

PAUSE_SECONDS = 0.2
TIMEOUT = httpx.Timeout(10.0, connect=2.0)
AGAIN = frozenset({429, 502, 503, 504, 500})
"""Answers after which a client sends the request again."""


@dataclass
class Ledger:
    """What the clients were told. Shared between their threads."""

    jobs: dict[int, UUID] = field(default_factory=dict)
    """Order → job, of everything that was accepted."""
    refused: list[str] = field(default_factory=list)
    """Answers that no client should have got."""
    cancels: set[int] = field(default_factory=set)
    """Orders of which a cancel was sent, whatever came of it."""
    troubles: Counter[str] = field(default_factory=Counter)
    """What came instead of an answer, and how often."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accepted(self, order: Order, job_id: UUID) -> None:
        """The API took it, or said once more that it had."""
        with self.lock:
            earlier = self.jobs.setdefault(order.number, job_id)
        if earlier != job_id:
            self.complain(f"{order.key} of client {order.client} became two jobs: {earlier} and {job_id}")

    def complain(self, text: str) -> None:
        """Something that must not be."""
        with self.lock:
            self.refused.append(text)

    def trouble(self, name: str) -> None:
        """Something that a client has to bear."""
        with self.lock:
            self.troubles[name] += 1


class Submitter(threading.Thread):
    """One client. Ends when everything it has was accepted, or when it is told to."""

    def __init__(self, url: str, key: str, orders: Sequence[Order], ledger: Ledger, clock: Callable[[], float]) -> None:
        super().__init__(name="submitter", daemon=True)
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT, trust_env=False
        )
        self._orders = orders
        self._ledger = ledger
        self._clock = clock
        self._cancels: list[tuple[float, int]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        """Submit each order at its time, and cancel those that are to be canceled."""
        with self._http:
            for order in self._orders:
                while (rest := order.at_seconds - self._clock()) > 0 and not self.stopping.is_set():
                    self._cancel_due()
                    time.sleep(min(rest, 0.05))
                self._submit(order)
            while self._cancels and not self.stopping.is_set():
                self._cancel_due()
                time.sleep(0.05)

    def _submit(self, order: Order) -> None:
        for _ in range(2 if order.twice else 1):
            answer = self._send("/v1/jobs", order.body, {"Idempotency-Key": order.key}, wanted={200, 202})
            if answer is not None:
                self._ledger.accepted(order, UUID(answer["id"]))
        if order.cancel_after_seconds is not None:
            heapq.heappush(self._cancels, (self._clock() + order.cancel_after_seconds, order.number))

    def _cancel_due(self) -> None:
        while self._cancels and self._cancels[0][0] <= self._clock():
            _, number = heapq.heappop(self._cancels)
            with self._ledger.lock:
                job = self._ledger.jobs.get(number)
                self._ledger.cancels.add(number)
            # 409: it had ended before.
            self._send(f"/v1/jobs/{job}/cancel", None, {}, wanted={200, 409})

    def _send(self, path: str, body: Any, headers: dict[str, str], wanted: set[int]) -> Any:
        while not self.stopping.is_set():
            try:
                answer = self._http.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                self._ledger.trouble(type(error).__name__)
            else:
                if answer.status_code in wanted:
                    return answer.json()
                if answer.status_code not in AGAIN:
                    self._ledger.complain(f"{path}: {answer.status_code} {answer.text[:300]}")
                    return None
                self._ledger.trouble(str(answer.status_code))
            time.sleep(PAUSE_SECONDS)
        return None
