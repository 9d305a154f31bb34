"""Small stand-ins for the application's processes, and a supervisor over them, each a real process.

``python fakes.py child NAME JOURNAL BEHAVIOUR`` is one child; ``python fakes.py up JOURNAL OPTIONS`` supervises a table
of them.  Every child writes what happens to it into the journal, one line each: a test reads the order of things there.
"""

import argparse
import ctypes
import functools
import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from safelight.standalone import launch
from safelight.standalone.children import READY_PATH, Application, answers
from safelight.standalone.errors import StandaloneError
from safelight.standalone.layout import Layout
from safelight.standalone.spec import API_RANK, SCHEDULER_RANK, WORKER_RANK, Kind, ProcessSpec

READY_TEXT = "ready to work"
say = functools.partial(print, flush=True)


def note(journal: Path, text: str) -> None:
    with journal.open("a") as file:
        file.write(text + "\n")


def child(name: str, journal: Path, behaviour: str) -> int:
    """Behave as told: run, task, serve, crash (a moment after each start), fail (at once), stubborn, clinging, mute."""
    note(journal, f"{name} started {os.getpid()}")
    if behaviour == "task":
        return 0
    if behaviour == "fail":
        say("ERROR: the frobnicator is missing")
        return 3
    ended = threading.Event()

    def end(number: int, _frame: object) -> None:
        note(journal, f"{name} {signal.Signals(number).name}")
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        patient = behaviour == "stubborn" and number != signal.SIGQUIT
        signal.signal(number, signal.SIG_IGN if patient else end)
    if behaviour == "clinging":  # gives its death signal away, as a program that changes its user does
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour != "mute":
        say(READY_TEXT)
    if behaviour == "serve":
        threading.Thread(target=serve, daemon=True).start()
    if behaviour == "crash":
        time.sleep(0.1)
        return 7
    while not ended.wait(0.05) and (behaviour in {"stubborn", "clinging"} or os.getppid() != 1):
        pass
    note(journal, f"{name} ended")
    return 0


def serve() -> None:
    """An API that knows one path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == READY_PATH else 404)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_arguments: object) -> None:
            pass

    address = (os.environ["SAFELIGHT_API_HOST"], int(os.environ["SAFELIGHT_API_PORT"]))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()


def table(journal: Path, behaviours: dict[str, str]) -> launch.Table:
    """The application's shape, with fakes in it."""

    def build(_layout: Layout, application: Application) -> list[ProcessSpec]:
        def spec(name: str, default: str, **more: object) -> ProcessSpec:
            argv = (sys.executable, __file__, "child", name, str(journal), behaviours.get(name, default))
            return ProcessSpec(name, argv, **{"drain_seconds": 20.0, **more})  # type: ignore[arg-type]

        return [
            spec("migrate", "task", kind=Kind.TASK, needs=("postgres",)),
            spec("bootstrap", "task", kind=Kind.TASK, needs=("migrate", "seaweed")),
            spec(
                "api",
                "serve",
                needs=("migrate",),
                probe=lambda: answers(application),
                stop_rank=API_RANK,
                ports={"api": application.port},
            ),
            spec(
                "gpu-1",
                "run",
                needs=("bootstrap",),
                ready_text=READY_TEXT,
                ready_seconds=1.5 if behaviours.get("gpu-1") == "mute" else 60.0,
                stop_rank=WORKER_RANK,
                hurry_signal=signal.SIGQUIT,
            ),
            spec("scheduler", "run", needs=("bootstrap",), ready_text=READY_TEXT, stop_rank=SCHEDULER_RANK),
        ]

    return build


def up() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--external", action="store_true")
    parser.add_argument("--behave", type=json.loads, default={})
    given = parser.parse_args(sys.argv[2:])
    options = launch.Options(home=given.home, port=given.port, external=given.external)
    try:
        launch.supervise(
            options,
            on_ready=lambda ready: say("ready", ready.url),
            on_recovered=lambda ended: say("recovered", *ended),
            table=table(given.journal, given.behave),
        )
    except StandaloneError as error:
        say("error", error, "| remedy:", error.remedy)
        return 1
    say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(up() if sys.argv[1] == "up" else child(sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
