"""`python -m tests.mutants [name…]`: try every mutant, or these, and print which test caught each."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.mutants.table import MUTANTS, Mutant
from tests.mutants.trial import Trial, Verdict, attempt

BASELINE = "nothing changed"


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every mutant was caught and the tests pass on the tree as it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="all of them when none is named")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument(
        "--verbose", action="store_true", help="show why tests failed, and what pytest said of the rest"
    )
    given = parser.parse_args(argv)
    unknown = set(given.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not given.names or mutant.name in given.names]
    tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
    wide = max(len(mutant.name) for mutant in chosen)
    trials = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for trial in pool.map(attempt, [Mutant(BASELINE, (), tests), *chosen]):
            print(line(trial, wide), flush=True)  # noqa: T201
            if given.verbose:
                told = trial.output[-6000:] if not as_wanted(trial) else "\n".join(trial.failed.values())
                print(textwrap.indent(told, "    "), flush=True)  # noqa: T201
            trials.append(trial)
    wrong = [trial.name for trial in trials if not as_wanted(trial)]
    caught = sum(trial.verdict is Verdict.CAUGHT for trial in trials if trial.name != BASELINE)
    print(f"{caught} of {len(chosen)} caught" + (f"; look at: {', '.join(wrong)}" if wrong else ""))  # noqa: T201
    return 1 if wrong else 0


def as_wanted(trial: Trial) -> bool:
    """A mutant is caught, and the unchanged tree passes; a skipped one is told and no failure."""
    if trial.name == BASELINE:
        return trial.verdict in {Verdict.SURVIVED, Verdict.SKIPPED}
    return trial.verdict in {Verdict.CAUGHT, Verdict.SKIPPED}


def line(trial: Trial, wide: int) -> str:
    """Of the table."""
    verdict = "passes" if trial.name == BASELINE and as_wanted(trial) else trial.verdict.value
    by = ", ".join(trial.failed) or "-"
    return f"{trial.name:<{wide}}  {verdict:<8}  {trial.seconds:6.1f} s  {by}"


if __name__ == "__main__":
    sys.exit(main())
