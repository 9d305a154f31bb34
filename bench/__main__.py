"""Run the measurements that are named, or all of them."""

import argparse
import json
from dataclasses import asdict

from bench.claim import claim_cost
from bench.drain import drain
from bench.families import families
from bench.outbox import outbox_cost
from bench.pipeline import latency, throughput
from bench.recovery import recovery
from bench.redis_down import redis_down
from bench.report import Figure, show
from bench.stack import stack
from bench.startup import startup
from bench.submit import submit_rate
from bench.switching import switching

WITH_WORKERS = {"throughput": throughput, "latency": latency, "families": families}
WITHOUT_WORKERS = {"submit": submit_rate, "claim": claim_cost, "outbox": outbox_cost}
ON_THEIR_OWN = {
    "startup": startup,
    "switching": switching,
    "recovery": recovery,
    "drain": drain,
    "redis_down": redis_down,
}
"""They start and end what they measure."""


def main() -> None:
    """Measure, print the table, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [*WITH_WORKERS, *WITHOUT_WORKERS, *ON_THEIR_OWN]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(names)}")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = parser.parse_args()
    wanted = given.names or names
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    figures: list[Figure] = []
    for group, workers in ((WITH_WORKERS, True), (WITHOUT_WORKERS, False)):
        chosen = [measure for name, measure in group.items() if name in wanted]
        if chosen:
            with stack(workers=workers) as running:
                for measure in chosen:
                    figures += measure(running)
    for name, alone in ON_THEIR_OWN.items():
        if name in wanted:
            figures += alone()
    if given.json:
        print(json.dumps([asdict(figure) | {"ratio": figure.ratio} for figure in figures], indent=1))
    else:
        show(figures)


if __name__ == "__main__":
    main()
