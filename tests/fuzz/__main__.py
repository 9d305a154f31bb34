"""`python -m tests.fuzz NAME [SECONDS]`: one target under atheris, guided by coverage, from its committed seeds.

What it finds lands in `crashes/NAME/`: commit it with the fix, `test_replay.py` feeds it in again from then on.
"""

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
DEFAULT_SECONDS = "60"
INSTRUMENTED = ["api", "models", "worker", "PIL", "werkzeug", "tests.fuzz.targets"]


def main() -> None:
    """Fuzz one target."""
    name, seconds = sys.argv[1], (sys.argv[2:] or [DEFAULT_SECONDS])[0]
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    crashes = HERE / "crashes" / name
    crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as grown:
        options = [
            f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1",
            f"-artifact_prefix={crashes}/",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options, grown, str(HERE / "seeds" / name)], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
