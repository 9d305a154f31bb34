"""In which order files go to the processes of `make test`: a long one that comes last would be waited for by all.

Left to itself xdist begins with the files of many tests, and so ends with those whose one test starts half a
deployment. Those mostly wait, for a lease or a process; the others compute. Evenly mixed, they keep the cores busy.
"""

from collections.abc import Iterable

LONGEST = (
    "tests/faults/test_zombies.py",
    "tests/faults/test_clocks.py",
    "tests/faults/test_soak.py",
    "tests/worker/webhooks/test_processes.py",
    "tests/api/test_fuzz.py",
    "tests/faults/test_lost_answers.py",
    "tests/faults/test_half_open.py",
    "tests/worker/test_memory.py",
    "tests/worker/test_processes.py",
    "tests/cli/test_demo.py",
    "tests/security/test_slow_clients.py",
    "tests/standalone/test_whole.py",
    "tests/faults/test_storage_trouble.py",
    "tests/standalone/test_cli.py",
    "tests/standalone/test_recovery.py",
    "tests/worker/test_courier_hangs.py",
    "tests/worker/test_training.py",
    "tests/faults/test_sweepers.py",
    "tests/faults/test_drain.py",
    "tests/faults/test_poison.py",
    "tests/security/test_canary.py",
    "tests/faults/test_shortages.py",
    "tests/faults/test_suspects.py",
    "tests/worker/test_watchdog.py",
    "tests/api/test_live.py",
    "tests/standalone/test_services.py",
    "tests/worker/test_families.py",
    "tests/security/test_doors.py",
    "tests/security/test_processes.py",
    "tests/worker/test_runner.py",
    "tests/faults/test_monitor.py",
    "tests/worker/webhooks/test_dispatcher.py",
    "tests/faults/test_spine.py",
    "tests/faults/test_postgres_restarts.py",
    "tests/worker/webhooks/test_sending.py",
    "tests/worker/test_chain.py",
    "tests/models/test_invariants.py",
    "tests/cli/test_doctor_health.py",
    "tests/standalone/test_supervisor.py",
    "tests/client/test_live.py",
    "tests/api/test_webhook_targets.py",
    "tests/worker/test_courier.py",
    "tests/worker/test_diffusers.py",
    "tests/models/test_endings.py",
    "tests/api/test_decoder.py",
)
"""What takes about ten seconds or more, the longest first."""


def ordered(files: Iterable[str]) -> list[str]:
    """Every file once: the long ones by length, and the others, as they came, evenly between them."""
    found = list(dict.fromkeys(files))
    long = [name for name in LONGEST if name in found]
    short = [name for name in found if name not in LONGEST]
    place = {name: at / len(long) for at, name in enumerate(long)}
    place |= {name: (at + 0.5) / len(short) for at, name in enumerate(short)}
    return sorted(found, key=place.__getitem__)
