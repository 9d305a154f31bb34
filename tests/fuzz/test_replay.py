"""The seeds, and whatever the fuzzer has found, go through the same functions: quickly, and without a fuzzer."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, readers

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_SECONDS = 300


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # werkzeug leaves the parts to the GC
@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_crashes(name: str) -> None:
    seeds = sorted((HERE / "seeds" / name).iterdir())
    crashes = sorted((HERE / "crashes" / name).glob("*"))
    assert seeds
    for path in (*seeds, *crashes):
        data = path.read_bytes()
        TARGETS[name](data)
        # Cut short and bent a little, as a first look beside each.
        for index in range(0, len(data), max(1, len(data) // 16)):
            TARGETS[name](data[:index])
            TARGETS[name](data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :])


def test_every_body_of_the_api_is_among_the_targets() -> None:
    from api.app import create_app
    from models.settings import Settings

    document = create_app(Settings()).api_doc  # type: ignore[attr-defined]
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for item in document["paths"].values()
        for operation in item.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert len(readers()) == len(bodies) >= 5


def test_the_fuzzer_itself_runs(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no build for this Python")
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "cursor", "2"],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert "stat::number_of_executed_units" in run.stderr
