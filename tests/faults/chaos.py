"""What goes wrong in a soak, and when: a plan drawn from a seed, and the hand that carries it out.

Kills come all the time; outages one after the other, since two at once would hide which of them a job outlived.
"""

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import redis

from models.queue import WAKE_TASK, connect_redis, make_celery
from models.states import Pool
from tests.faults.fleet import Fleet, Part, Role, pick
from tests.faults.own_services import OwnServices, Service

KILL_SECONDS = (1.5, 3.5)
"""Between two kills of worker processes."""
FIRST_SECONDS = 2.0
GAP_SECONDS = 6.0
"""Between two outages: long enough for what waited to go on."""
TICKETS = 50
ZOMBIE_LEASES = 1.6
"""How long a zombie sleeps, in leases: another has its jobs when it wakes."""
OUTAGES = ("redis dead", "redis hung", "s3 frozen")

FAILPOINTS = {
    Role.API: "after_submit=kill@0.004",
    Role.WORKER: (
        "after_claim=kill@0.01,before_run=kill@0.005,after_run=kill@0.005,before_put=kill@0.004,after_put=kill@0.004,"
        "before_publish=kill@0.005,after_commit=kill@0.005,before_fail=kill@0.05"
    ),
    Role.DISPATCHER: "before_delivery=kill@0.003,after_delivery=kill@0.003",
}
"""Kills from inside, at the places where a kill from outside rarely hits."""


@dataclass(frozen=True)
class Act:
    """One thing to do, `at_seconds` after the start."""

    at_seconds: float
    name: str


def draw_acts(seed: int, span_seconds: float, outage_seconds: float) -> Sequence[Act]:
    """The plan of a run, in order."""
    dice = random.Random(f"chaos-{seed}")
    acts = list(_often(dice, "kill worker", KILL_SECONDS, span_seconds))
    for name, pause in {
        "zombie": (7, 15),
        "kill api": (10, 25),
        "kill sweeper": (8, 20),
        "zombie sweeper": (15, 40),
        "kill dispatcher": (8, 20),
        "zombie dispatcher": (15, 40),
        "flushall": (15, 40),
        "tickets": (10, 25),
    }.items():
        acts += _often(dice, name, pause, span_seconds)
    at = FIRST_SECONDS + dice.uniform(0, GAP_SECONDS)
    for name in dice.sample([*OUTAGES, "postgres restart"], len(OUTAGES) + 1):
        acts.append(Act(at, name))
        at += (outage_seconds if name in OUTAGES else 0) + GAP_SECONDS
    return sorted(acts, key=lambda act: act.at_seconds)


def span_of(jobs: int, outage_seconds: float) -> float:
    """How long such a run has to be: every outage, and time for the jobs beside them."""
    return FIRST_SECONDS + len(OUTAGES) * outage_seconds + (len(OUTAGES) + 3) * GAP_SECONDS + jobs * 0.02


def _often(dice: random.Random, name: str, pause: tuple[float, float], span: float) -> Sequence[Act]:
    acts = []
    at = dice.uniform(FIRST_SECONDS, FIRST_SECONDS + pause[0])
    while at < span:
        acts.append(Act(at, name))
        at += dice.uniform(*pause)
    return acts


@dataclass
class Chaos:
    """Carries the plan out. `step` is called often, from the main thread."""

    acts: Sequence[Act]
    fleet: Fleet
    services: OwnServices
    dice: random.Random
    outage_seconds: float
    done: Counter[str] = field(default_factory=Counter)
    _redis_away: bool = False
    _next: int = 0
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    def step(self, now_seconds: float) -> None:
        """Do what is due."""
        while self._later and self._later[0][0] <= now_seconds:
            heapq.heappop(self._later)[2]()
        while self._next < len(self.acts) and self.acts[self._next].at_seconds <= now_seconds:
            act = self.acts[self._next]
            self._next += 1
            self._do(act.name, now_seconds)

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done, and everything that was taken away is back."""
        return self._next == len(self.acts) and not self._later

    def _do(self, name: str, now: float) -> None:
        kind, _, role = name.partition(" ")
        if kind == "kill":
            self._kill(Role(role))
        elif kind == "zombie":
            self._zombie(Role(role or "worker"), now)
        elif name in OUTAGES:
            self.done[name] += 1
            self._outage(name, now)
        elif name == "postgres restart":
            self.done[name] += 1
            self._restart_postgres()
        elif not self._redis_away:
            with suppress(redis.RedisError):
                {"flushall": self._flush, "tickets": self._send_tickets}[name]()
                self.done[name] += 1

    def _kill(self, role: Role) -> None:
        # A worker's start is the dear one: its child, or the courier alone, die more often than all of it.
        parts = {
            Role.WORKER: (Part.MAIN, Part.CHILD, Part.CHILD, Part.COURIER, Part.COURIER),
            Role.API: (Part.MAIN, Part.CHILD),
        }.get(role, (Part.MAIN,))
        part = self.dice.choice(parts)
        members = self.fleet.of(role)
        # One that was killed a moment ago may have no such process yet.
        if any(self.fleet.hit(member, part, signal.SIGKILL) for member in self.dice.sample(members, len(members))):
            self.done[f"kill {role} {part}" if len(set(parts)) > 1 else f"kill {role}"] += 1

    def _zombie(self, role: Role, now: float) -> None:
        """Stop a process and wake it when its lease has run out."""
        member = pick(self.fleet, role, self.dice)
        part = self.dice.choice((None, Part.CHILD, Part.COURIER)) if role is Role.WORKER else None
        stopped = (
            self.fleet.hit_all(member, signal.SIGSTOP) if part is None else self.fleet.hit(member, part, signal.SIGSTOP)
        )
        if stopped:
            self.done[f"zombie {role} {part or 'group'}" if role is Role.WORKER else f"zombie {role}"] += 1
            nap = self.fleet.settings.lease_seconds * ZOMBIE_LEASES
            # To all of it: what is not stopped does not mind.
            self._at(now + nap, lambda: self.fleet.hit_all(member, signal.SIGCONT))

    def _outage(self, name: str, now: float) -> None:
        valkey, seaweed = self.services.valkey, self.services.seaweed
        away, back = {
            "redis dead": (valkey.stop, lambda: valkey.start(wait=False)),
            "redis hung": (valkey.freeze, valkey.thaw),
            "s3 frozen": (seaweed.freeze, seaweed.thaw),
        }[name]
        away()
        self._redis_away = name != "s3 frozen"
        self._at(now + self.outage_seconds, lambda: self._come_back(back))

    def _come_back(self, back: Callable[[], None]) -> None:
        self._redis_away = False
        back()

    def _restart_postgres(self) -> None:
        """As after a crash: every connection is cut, what was committed is recovered."""
        postgres: Service = self.services.postgres
        postgres.stop(signal.SIGQUIT)
        postgres.start(wait=False)

    def _flush(self) -> None:
        with connect_redis(self.fleet.settings) as connection:
            connection.flushall()

    def _send_tickets(self) -> None:
        """Tickets of nothing, as a broker may deliver one many times."""
        with make_celery(self.fleet.settings, worker=False) as app:
            for _ in range(TICKETS):
                app.send_task(WAKE_TASK, args=[Pool.GPU.value, ""], queue=Pool.GPU.value, ignore_result=True)

    def _at(self, seconds: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._later, (seconds, next(self._order), lambda: (what(), None)[1]))


def wait_calmly(fleet: Fleet, condition: Callable[[], bool], seconds: float) -> bool:
    """Tend the fleet until the condition holds; False when it did not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        fleet.tend()
        time.sleep(0.1)
    return True
