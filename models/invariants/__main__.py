"""`python -m models.invariants`: examine the installation that the settings name, and print what was found as JSON."""

import argparse
import json
import sys
from typing import Any

from models.invariants import INVARIANTS, NEWEST, Health, examine
from models.session import make_engine, make_sessions
from models.settings import get_settings


def as_dict(health: Health) -> dict[str, Any]:
    """For machines; every check is in it, those that hold with a count of 0."""
    checks = []
    for invariant in INVARIANTS:
        found = health.violation(invariant.name)
        checks.append(
            {
                "name": invariant.name,
                "severity": invariant.severity,
                "promise": invariant.promise,
                "advice": invariant.advice,
                "count": found.count if found else 0,
                "examples": found.examples if found else (),
                "seconds": found.seconds if found else None,
            }
        )
    return {"examined_at": health.examined_at.isoformat(), "checks": checks, "figures": vars(health.figures)}


def main() -> int:
    """Exits with 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m models.invariants", description=__doc__)
    parser.add_argument("--newest", type=int, default=NEWEST, help="how many of the newest events to follow")
    newest = parser.parse_args().newest
    settings = get_settings()
    engine = make_engine(settings, application="invariants")
    try:
        health = examine(make_sessions(engine), settings, newest=newest)
    finally:
        engine.dispose()
    print(json.dumps(as_dict(health), indent=1))  # noqa: T201  # the answer
    return int(health.broken)


if __name__ == "__main__":
    sys.exit(main())
