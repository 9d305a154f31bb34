"""`safelight up` to ready, the first time in a folder and after that: until the API answers, and until jobs can run."""

import shutil
import tempfile
from pathlib import Path

from bench.report import Figure
from bench.stack import start, stop
from safelight.standalone import state as states
from safelight.standalone.layout import Layout


def startup() -> list[Figure]:
    """Seconds from the command to its answer, which waits for the workers, and of these until the API was ready."""
    home = Path(tempfile.mkdtemp(prefix="safelight-bench-"))
    home.chmod(0o755)
    try:
        _, first = start(home)
        first_api = first - _between_api_and_ready(home)
        stop(home)
        _, second = start(home)
        second_api = second - _between_api_and_ready(home)
        stop(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return [
        Figure("safelight up, first time", first, "s", first_api, "of these until the API is ready", "< 15 s"),
        Figure("safelight up, after that", second, "s", second_api, "of these until the API is ready", "< 8 s"),
    ]


def _between_api_and_ready(home: Path) -> float:
    """By the supervisor's clock: seconds after the API was ready until every worker was."""
    state = states.load(Layout.at(home))
    assert state is not None
    assert state.ready_at is not None
    (api_ready_at,) = [process.ready_at for process in state.processes if process.name == "api"]
    assert api_ready_at is not None
    return state.ready_at - api_ready_at
