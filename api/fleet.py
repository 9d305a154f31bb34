"""How many workers of each pool are alive, remembered for a second; for ETAs, readiness and `dry_run`."""

from api.services import Services
from models.states import Pool
from models.workers import alive


def live_workers(services: Services) -> dict[Pool, int]:
    """Workers per pool that were heard of within one lease."""

    def count() -> dict[Pool, int]:
        found = dict.fromkeys(Pool, 0)
        with services.reader() as session:
            for worker in alive(session, services.settings.lease_seconds):
                found[worker.pool] += 1
        return found

    return services.fleet.get("", count)
