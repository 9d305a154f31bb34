"""Prometheus metrics of the API process and of the queue. Labels are bounded: routes are templates, never paths."""

from collections.abc import Iterator

import structlog
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.access_log import elapsed_seconds, route_template
from api.fleet import live_workers
from api.gauges import InvariantsCollector
from api.services import Services, services_of
from models.jobs.queries import queue_depths

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60)
KNOWN_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

log = structlog.stdlib.get_logger("safelight.api.metrics")


class ServicesCollector(Collector):
    """What is read when somebody asks: the queue, the workers, the streams, the tickets."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Gauges; those from Postgres are left out while it is away."""
        services = self._services
        held = GaugeMetricFamily("safelight_api_held_threads", "Threads held by streams and waits.", labels=["kind"])
        held.add_metric(["stream"], services.streams.taken)
        held.add_metric(["wait"], services.waits.taken)
        yield held
        tickets = CounterMetricFamily("safelight_ticket_failures", "Wake-up tickets that Redis did not take.")
        tickets.add_metric([], services.tickets.failures)
        yield tickets
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


def install_metrics(app: Flask) -> None:
    """Count every request, and serve `/metrics`."""
    registry = CollectorRegistry()
    requests = Counter("safelight_api_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
    seconds = Histogram(
        "safelight_api_request_seconds",
        "Time to the response's first byte.",
        ["route"],
        buckets=BUCKETS,
        registry=registry,
    )
    registry.register(ServicesCollector(services_of(app)))
    registry.register(InvariantsCollector(services_of(app).monitor))

    def count(response: Response) -> Response:
        route = route_template()
        method = request.method if request.method in KNOWN_METHODS else "other"
        requests.labels(method, route, str(response.status_code)).inc()
        seconds.labels(route).observe(elapsed_seconds())
        return response

    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    app.after_request(count)
    app.add_url_rule("/metrics", view_func=metrics)
