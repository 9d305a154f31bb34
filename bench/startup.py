"""`safelight up` to ready, the first time in a folder and after that."""

import shutil
import tempfile
from pathlib import Path

from bench.report import Figure
from bench.stack import start, stop


def startup() -> list[Figure]:
    """Seconds until the API says that it is ready; everything stopped in between."""
    home = Path(tempfile.mkdtemp(prefix="safelight-bench-"))
    home.chmod(0o755)
    try:
        _, first = start(home)
        stop(home)
        _, second = start(home)
        stop(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return [
        Figure("safelight up, first time", first, "s", None, "", "< 15 s"),
        Figure("safelight up, after that", second, "s", first, "first time", "< 8 s"),
    ]
