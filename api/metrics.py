"""Prometheus metrics of the API and of the queue; one scrape tells of all processes.

Labels are bounded: routes are templates, never paths.
"""

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.access_log import elapsed_seconds, route_template
from api.auth import Access, require
from api.fleet import live_workers
from api.gauges import InvariantsCollector
from api.services import Services, services_of
from models.jobs.queries import queue_depths

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Not a setting: the library's own, written by `api.gunicorn_conf` before the library is loaded."""
FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
KNOWN_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

log = structlog.stdlib.get_logger("safelight.api.metrics")


class QueueCollector(Collector):
    """What is read from Postgres when somebody asks: the queue and the workers. The same in every process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Gauges; left out while Postgres is away."""
        services = self._services
        try:
            with services.reader() as session:
                depths = queue_depths(session)
            workers = live_workers(services)
        except SQLAlchemyError as error:
            log.warning("metrics.database", error=type(error).__name__)
            return
        queued = GaugeMetricFamily("safelight_queue_jobs", "Claimable jobs.", labels=["pool"])
        alive = GaugeMetricFamily("safelight_workers", "Workers heard of lately.", labels=["pool"])
        for pool, depth in depths.items():
            queued.add_metric([pool.value], depth)
            alive.add_metric([pool.value], workers.get(pool, 0))
        yield queued
        yield alive


@dataclass(frozen=True)
class ProcessMetrics:
    """What a process counts itself. Several processes write files of one folder, and whoever is asked adds them up."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram

    @classmethod
    def of(cls, services: Services) -> Self:
        """Count from here on, and know how to tell."""
        registry = CollectorRegistry()
        folder = os.environ.get(FOLDER_VARIABLE)
        own = None if folder else registry
        if folder:
            MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        held = Gauge(
            "safelight_api_held_threads",
            "Threads held by streams and waits.",
            ["kind"],
            registry=own,
            multiprocess_mode="livesum",
        )
        for kind, slots in (("stream", services.streams), ("wait", services.waits)):
            slots.on_change = held.labels(kind).set
            slots.on_change(slots.taken)
        tickets = Counter("safelight_ticket_failures", "Wake-up tickets that Redis did not take.", registry=own)
        services.tickets.on_failure = tickets.inc
        return cls(
            registry,
            Counter("safelight_api_requests", "Requests answered.", ["method", "route", "status"], registry=own),
            Histogram(
                "safelight_api_request_seconds",
                "Time to the response's first byte.",
                ["route"],
                buckets=BUCKETS,
                registry=own,
            ),
        )


def install_metrics(app: Flask) -> None:
    """Count every request, and serve `/metrics`."""
    services = services_of(app)
    own = ProcessMetrics.of(services)
    own.registry.register(QueueCollector(services))
    own.registry.register(InvariantsCollector(services.monitor))

    def count(response: Response) -> Response:
        route = route_template()
        method = request.method if request.method in KNOWN_METHODS else "other"
        own.requests.labels(method, route, str(response.status_code)).inc()
        own.seconds.labels(route).observe(elapsed_seconds())
        return response

    def metrics() -> Response:
        if not services.settings.metrics_public and not _asks_itself():
            require(Access.VIEW_ALL)
        return Response(generate_latest(own.registry), content_type=CONTENT_TYPE_LATEST)

    app.after_request(count)
    app.add_url_rule("/metrics", view_func=metrics)


def _asks_itself() -> bool:
    """Whether the request comes straight from this machine: it needs no key, also while Postgres is away.

    One that came through a proxy says so, and is not from here though the proxy may be.
    """
    if any(name in request.headers for name in FORWARDING_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
