"""`python -m tests.faults.soak --seed 1`: thousands of jobs under random kills and outages, and then the books.

Prints a table, and exits with 1 when a promise was broken. `make soak SEED=1 JOBS=2000` is the long form;
`test_soak` runs a short one with every kind of fault in it.
"""

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from models.checkpoints import scan_folder
from models.session import Sessions, make_engine, make_sessions
from models.settings import Settings
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from models.webhooks.endpoints import create_endpoint
from tests.faults.accounting import Books, all_quiet, check_books, check_objects, check_outbox, check_told, read_books
from tests.faults.chaos import FAILPOINTS, Chaos, draw_acts, span_of, wait_calmly
from tests.faults.fleet import Fleet, make_fleet, running_fleet
from tests.faults.orders import Order, draw_orders
from tests.faults.own_services import OwnServices, own_services
from tests.faults.receiver import Inbox, Receiver
from tests.faults.submitters import Ledger, Submitter
from tests.seeding import Seeder
from tests.worker.slow import write_checkpoint

CLIENTS = 4
LEASE_SECONDS = 3.0
QUIET_SECONDS = 240.0
"""How long the last jobs may take when the faults are over."""
_ACTED = re.compile(r"a failpoint acts.* point=(\w+)")


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    jobs: int = 2000
    workers: int = 3
    outage_seconds: float = 60.0
    max_crashes: int = 8
    """Above the product's default: a job that waits in a courier while S3 is frozen meets a kill every few seconds."""

    @property
    def span_seconds(self) -> float:
        """How long the faults go on, and jobs come in."""
        return span_of(self.jobs, self.outage_seconds)


@dataclass(frozen=True)
class Result:
    """What came of it."""

    plan: Plan
    books: Books
    ledger: Ledger
    done: Counter[str]
    from_inside: Counter[str]
    """Kills by failpoints."""
    objects: int
    seconds: float
    settled_seconds: float
    """From the last fault to the last end."""
    quiet: bool
    """Whether everything had ended in time."""
    inboxes: Mapping[str, Inbox]

    @property
    def complaints(self) -> list[str]:
        """Everything that should not be, with the stories of the jobs that it happened to."""
        found = [] if self.quiet else [f"not everything had ended {QUIET_SECONDS:g} s after the last fault"]
        found += self.ledger.refused
        found += [f"{one.promise}: {one.job_id or ''} {one.detail}" for one in self.books.broken]
        concerned = dict.fromkeys(one.job_id for one in self.books.broken if one.job_id is not None)
        return found + [self.books.story(job_id) for job_id in concerned]

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        books, outcomes = self.books, self.books.outcomes()
        broken = Counter(one.promise for one in books.broken)
        worst = books.worst_luck()
        lost = broken["no accepted job is lost"] + broken["every job ends"]
        twice = broken["published once"] + broken["one set of artifacts"]
        cut = sum(inbox.cut_off for inbox in self.inboxes.values())
        tries = [times for inbox in self.inboxes.values() for times in inbox.seen.values()]
        return [
            ("seed", str(self.plan.seed)),
            ("jobs accepted", str(len(books.orders))),
            ("… succeeded", str(books.count(JobState.SUCCEEDED))),
            ("… canceled", str(books.count(JobState.CANCELED))),
            ("… failed: poison", str(books.count(JobState.FAILED) - len(books.unlucky()))),
            (f"… failed: {books.max_crashes} lone crashes by chance", str(len(books.unlucky()))),
            ("faults from outside", _listed(self.done)),
            ("kills at failpoints", _listed(self.from_inside)),
            ("requests sent again", _listed(self.ledger.troubles)),
            ("attempts", _listed(Counter({str(key): number for key, number in outcomes.items()}))),
            ("lost leases", str(outcomes[AttemptOutcome.LOST])),
            ("lone crashes of one harmless job, at most", str(worst.crash_count if worst else 0)),
            ("objects read again", str(self.objects)),
            ("orphan objects", str(books.orphans)),
            ("outbox rows", str(len(books.messages))),
            ("webhooks told", f"{len(tries)}, in {sum(tries)} requests, {cut} more cut off"),
            ("lost", str(lost)),
            ("published twice", str(twice)),
            ("other promises broken", str(len(books.broken) - lost - twice + len(self.ledger.refused))),
            ("seconds", f"{self.seconds:.0f}, of them {self.settled_seconds:.0f} after the last fault"),
        ]


def run(plan: Plan, logs: Path | None = None) -> Result:
    """Carry a plan out, on services of its own. What all processes wrote is kept in `logs`."""
    began = time.monotonic()
    with ExitStack() as stack:
        services = stack.enter_context(own_services())
        settings = settings_of(plan, services)
        engine = make_engine(settings, application="soak")
        stack.callback(engine.dispose)
        sessions = make_sessions(engine)
        receiver = stack.enter_context(Receiver(plan.seed).running())
        keys = make_clients(Seeder(sessions, settings), settings, sessions, receiver)
        more = {role: {"SAFELIGHT_FAILPOINTS": text} for role, text in FAILPOINTS.items()}
        fleet = stack.enter_context(running_fleet(make_fleet(settings, workers=plan.workers, more=more)))
        orders = draw_orders(plan.seed, plan.jobs, CLIENTS, plan.span_seconds)
        ledger, chaos = _under_fire(plan, fleet, services, keys, orders)
        over = time.monotonic()
        quiet = wait_calmly(fleet, _patient(all_quiet(sessions)), QUIET_SECONDS)
        settled_seconds = time.monotonic() - over
        if logs is not None:
            logs.write_text(fleet.logs())
        books = read_books(sessions, orders, ledger, plan.max_crashes)
        check_books(books)
        check_outbox(books)
        check_told(books, receiver.inboxes)
        objects = check_objects(books, Storage(settings))
        return Result(
            plan=plan,
            books=books,
            ledger=ledger,
            done=chaos.done,
            from_inside=Counter(_ACTED.findall(fleet.logs())),
            objects=objects,
            seconds=time.monotonic() - began,
            settled_seconds=settled_seconds,
            quiet=quiet,
            inboxes=receiver.inboxes,
        )


def settings_of(plan: Plan, services: OwnServices) -> Settings:
    """Short leases, no limits."""
    changes = {
        "lease_seconds": LEASE_SECONDS,
        "sweep_seconds": 0.5,
        "max_crashes": plan.max_crashes,
        "retry_base_seconds": 0.2,
        "retry_max_seconds": 2.0,
        "rate_limit": "",
        "webhook_allow_private": True,
        "webhook_timeout_seconds": 2.0,
        "webhook_retry_seconds": (0.5, 1.0, 2.0, *(3.0,) * 30),
        "log_level": "WARNING",
    }
    return services.settings.model_copy(update=changes)


def make_clients(seed: Seeder, settings: Settings, sessions: Sessions, receiver: Receiver) -> list[str]:
    """Each with a key and a webhook, and the checkpoint of the test family."""
    folder = write_checkpoint(settings.home / "slow")
    seed.checkpoint("slow", family="slow", location=str(folder), manifest=scan_folder(folder))
    keys = []
    for number in range(CLIENTS):
        client = seed.client(f"client-{number}")
        with sessions.begin() as session:
            endpoint = create_endpoint(session, client, receiver.url(f"client-{number}"))
            receiver.inboxes[f"client-{number}"] = Inbox(endpoint.secret)
        keys.append(seed.key(client))
    return keys


def _under_fire(
    plan: Plan, fleet: Fleet, services: OwnServices, keys: Sequence[str], orders: Sequence[Order]
) -> tuple[Ledger, Chaos]:
    """Submit everything while everything goes wrong; returns when both are over."""
    began = time.monotonic()
    ledger = Ledger()
    acts = draw_acts(plan.seed, plan.span_seconds, plan.outage_seconds)
    chaos = Chaos(acts, fleet, services, random.Random(f"hand-{plan.seed}"), plan.outage_seconds)
    submitters = [
        Submitter(
            fleet.url,
            key,
            [order for order in orders if order.client == client],
            ledger,
            lambda: time.monotonic() - began,
        )
        for client, key in enumerate(keys)
    ]
    for submitter in submitters:
        submitter.start()
    try:
        while not chaos.over or any(submitter.is_alive() for submitter in submitters):
            chaos.step(time.monotonic() - began)
            fleet.tend()
            time.sleep(0.02)
    finally:
        for submitter in submitters:
            submitter.stopping.set()
    return ledger, chaos


def _patient(condition: Callable[[], bool]) -> Callable[[], bool]:
    """False while Postgres cannot be asked."""

    def asked() -> bool:
        try:
            return condition()
        except SQLAlchemyError:
            return False

    return asked


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"


def show(result: Result) -> None:
    """Print the table, and under it what was wrong."""
    rows = result.rows()
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    worst = result.books.worst_luck()
    told = [f"the unluckiest, {result.books.story(worst.id)}"] if worst is not None and worst.crash_count else []
    sys.stdout.write("\n".join([*lines, *told, *result.complaints]) + "\n")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--outage-seconds", type=float, default=60.0)
    parser.add_argument("--logs", type=Path, help="keep what the processes wrote in this file")
    given = parser.parse_args()
    result = run(Plan(given.seed, given.jobs, given.workers, given.outage_seconds), given.logs)
    show(result)
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
