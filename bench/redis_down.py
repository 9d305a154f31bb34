"""POST /v1/jobs while Redis is alive, dead and hung: its slowest answers, and how many were errors.

On services of its own, since the supervisor of `safelight up` would start a dead Redis again at once.
"""

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.report import Figure
from models.session import make_engine, make_sessions
from models.settings import Settings
from tests.faults.fleet import Fleet, make_fleet, running_fleet
from tests.faults.own_services import own_services
from tests.seeding import Seeder

THREADS = 2
PHASE_SECONDS = 20.0
PROMISED_MS = 200.0
BODY = json.dumps({"task": "text_to_image", "params": {"prompt": "a cat"}})
# The limiter stays on, and asks Redis for every request.
LIMITS = {"rate_limit": "1000000 per minute", "log_level": "WARNING"}


@dataclass
class Load:
    """What two threads of requests saw."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0
    """Answers of 500 and above, and connections that broke."""
    refused: int = 0
    """Answers of 4xx: they are quick, and lie."""

    def percentile(self, hundredth: int) -> float:
        """In milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100)[hundredth - 1]


def redis_down() -> list[Figure]:
    """The 99th percentile of each state, beside the one with Redis alive."""
    with own_services(unsafe=False) as services:
        settings = services.settings.model_copy(update=LIMITS)
        key = _client_key(settings)
        fleet = make_fleet(settings, workers=0, sweepers=0, dispatchers=0)
        with running_fleet(fleet):
            _until_up(fleet)
            _load(fleet.url, key, PHASE_SECONDS / 4)
            alive = _load(fleet.url, key, PHASE_SECONDS)
            services.valkey.freeze()
            hung = _load(fleet.url, key, PHASE_SECONDS)
            services.valkey.stop()
            dead = _load(fleet.url, key, PHASE_SECONDS)
    baseline = alive.percentile(99)
    return [_figure("hung", hung, baseline), _figure("dead", dead, baseline)]


def _figure(state: str, load: Load, baseline: float) -> Figure:
    note = (
        f"{load.errors} errors in {len(load.milliseconds)} requests; p50 {load.percentile(50):.1f} ms, "
        f"max {max(load.milliseconds):.0f} ms; {THREADS} threads"
    )
    goal = f"≤ {PROMISED_MS:g} ms, no 5xx"
    return Figure(f"POST /v1/jobs, Redis {state}, p99", load.percentile(99), "ms", baseline, "Redis alive", goal, note)


def _client_key(settings: Settings) -> str:
    engine = make_engine(settings, application="bench")
    try:
        seed = Seeder(make_sessions(engine), settings)
        seed.checkpoint()
        return seed.key(seed.client("bench", max_live_jobs=10_000_000))
    finally:
        engine.dispose()


def _until_up(fleet: Fleet) -> None:
    address = urlsplit(fleet.url)
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=1)
            connection.request("GET", "/v1/health/live")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            assert time.monotonic() < deadline, "the API does not come up"
        finally:
            connection.close()
        time.sleep(0.05)


def _load(url: str, key: str, seconds: float) -> Load:
    load = Load()
    threads = [threading.Thread(target=_post, args=(url, key, seconds, load)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not load.refused, f"{load.refused} requests were refused"
    return load


def _post(url: str, key: str, seconds: float, load: Load) -> None:
    """One connection, one request after the other."""
    address = urlsplit(url)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        try:
            connection.request("POST", "/v1/jobs", BODY, headers)
            answer = connection.getresponse()
            answer.read()
            load.errors += answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
            load.refused += answer.status // 100 == http.HTTPStatus.BAD_REQUEST // 100
        except (OSError, http.client.HTTPException):
            load.errors += 1
            connection.close()
        load.milliseconds.append(1000 * (time.monotonic() - began))
    connection.close()
