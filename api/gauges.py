"""The invariant monitor as Prometheus gauges. Labels are names of checks and pools, never of clients."""

from collections.abc import Iterator

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.monitor import Monitor
from models.invariants import INVARIANTS, Figures

log = structlog.stdlib.get_logger("safelight.api.metrics")


class InvariantsCollector(Collector):
    """Read when somebody asks; left out while Postgres is away. The same in every process of the API."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        """The checks, and the figures beside them."""
        try:
            health = self._monitor.health()
        except SQLAlchemyError as error:
            log.warning("metrics.invariants", error=type(error).__name__)
            return
        violations = GaugeMetricFamily(
            "safelight_invariant_violations",
            "What does not hold, by check; see GET /v1/health/invariants.",
            labels=["check", "severity"],
        )
        counts = {found.invariant.name: found.count for found in health.violations}
        for invariant in INVARIANTS:
            violations.add_metric([invariant.name, invariant.severity.value], counts.get(invariant.name, 0))
        yield violations
        yield _gauge(
            "running_past_lease", "Running jobs that no sweeper took back.", counts.get("running_past_lease", 0)
        )
        yield from _figures(health.figures)


def _figures(figures: Figures) -> Iterator[Metric]:
    ages = GaugeMetricFamily("safelight_queue_oldest_seconds", "Age of the oldest claimable job.", labels=["pool"])
    for pool, seconds in figures.queue_oldest.items():
        ages.add_metric([pool.value], seconds or 0.0)
    yield ages
    daemons = GaugeMetricFamily("safelight_daemons", "Processes beside the workers that are alive.", labels=["kind"])
    daemons.add_metric(["sweeper"], figures.sweepers)
    daemons.add_metric(["dispatcher"], figures.dispatchers)
    yield daemons
    yield _gauge("webhook_backlog", "Deliveries that could be sent now.", figures.webhooks_due)
    yield _gauge("webhook_oldest_seconds", "Age of the oldest of them.", figures.webhooks_oldest or 0.0)
    if figures.sweep_age is not None:
        yield _gauge("sweep_age_seconds", "Since the last sign of life of a sweeper.", figures.sweep_age)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"safelight_{name}", text, value=value)
