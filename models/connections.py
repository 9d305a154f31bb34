"""The connection budget: how many sessions of Postgres each kind of process may hold at once, and no more.

Postgres refuses whoever comes after `max_connections`, and then it is chance who is refused. So every engine's bound
stands here, `models.session` keeps to it, and `safelight doctor` adds up (`python -m models.connections` prints the sum
of each kind of process as JSON).
"""

import json
from dataclasses import dataclass

from models.settings import Settings, get_settings


@dataclass(frozen=True)
class PoolSize:
    """`kept` stay open; up to `overflow` more are opened while all are in use, and closed again."""

    kept: int
    overflow: int = 0

    @property
    def most(self) -> int:
        """At one time."""
        return self.kept + self.overflow


POOLS: dict[str, PoolSize] = {
    "api hub": PoolSize(1),  # the LISTEN of one API process
    "worker": PoolSize(3, 2),  # the device's thread, the claimer and the aside; the rehearsal and the watchdog
    "heartbeat": PoolSize(1),
    "courier": PoolSize(4, 1),  # a parcel each (`worker.courier`); the warm-up
    "sweeper": PoolSize(1, 5),  # the sweep itself; duties aside
    "migrate": PoolSize(1),
    "bootstrap": PoolSize(1),
    "webhooks": PoolSize(4, 2),  # claims, the listener, the ends of tries
    "invariants": PoolSize(1),
}
"""By the name of the application, as pg_stat_activity shows it after `safelight `. Others take the settings' size."""

PROCESSES: dict[str, tuple[str, ...]] = {
    "api": ("api", "api hub"),
    "worker": ("worker", "heartbeat", "courier"),
    "scheduler": ("sweeper",),
    "webhooks": ("webhooks",),
}
"""Which engines a process of the process table holds, with its children."""


def pool_of(settings: Settings, application: str) -> PoolSize:
    """The bound of this application's engine."""
    return POOLS.get(application) or PoolSize(settings.database_pool_size, settings.database_pool_overflow)


def most_of(settings: Settings, process: str) -> int:
    """How many sessions one process of this kind may hold; gunicorn's processes together."""
    together = sum(pool_of(settings, application).most for application in PROCESSES[process])
    return together * (settings.api_workers if process == "api" else 1)


if __name__ == "__main__":
    print(json.dumps({process: most_of(get_settings(), process) for process in PROCESSES}))  # noqa: T201
