"""One mutation tried: in a copy of the tree, with the same Python, by the tests that are meant to catch it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.table import Mutant

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 900
_WHERE = (
    "import api, models, safelight, tests, worker; print(*(m.__path__[0] for m in (api, models, safelight, worker)))"
)


class Verdict(StrEnum):
    """What came of a trial."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    SKIPPED = "skipped"
    """Every test of it was skipped: something is not installed here."""
    BROKEN = "broken"
    """It does not apply, or the tests could not even be run: that catches nothing."""


@dataclass(frozen=True)
class Trial:
    """How one mutant fared. `failed` are the tests that did, each with the first line of why."""

    name: str
    verdict: Verdict
    failed: dict[str, str]
    seconds: float
    output: str


class DoesNotApplyError(ValueError):
    """The source is not what the table says."""


def mutated(root: Path, mutant: Mutant) -> dict[Path, str]:
    """The files that change, and their new text.

    Raises:
        DoesNotApplyError: a text to be replaced is not there exactly once.
    """
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        path = root / edit.path
        before = texts.get(path) or path.read_text()
        if (times := before.count(edit.old)) != 1:
            raise DoesNotApplyError(f"{mutant.name}: {edit.old!r} is {times} times in {edit.path}")
        texts[path] = before.replace(edit.old, edit.new)
    return texts


def attempt(mutant: Mutant) -> Trial:
    """Apply it, and run its tests. Without edits it shows that the tests pass as things are."""
    started = time.monotonic()
    with copied_tree() as folder:
        try:
            for path, text in mutated(folder, mutant).items():
                path.write_text(text)
        except DoesNotApplyError as error:
            return Trial(mutant.name, Verdict.BROKEN, {}, 0.0, str(error))
        verdict, failed, output = _run(folder, mutant.tests)
    return Trial(mutant.name, verdict, failed, time.monotonic() - started, output)


@contextmanager
def copied_tree() -> Iterator[Path]:
    """What git knows of this tree or could, as it is now, in a folder of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="safelight-mutant-"))
    try:
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (source := ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, tests: Sequence[str]) -> tuple[Verdict, dict[str, str], str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    where = subprocess.run(
        [sys.executable, "-c", _WHERE], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if where.returncode or not all(path.startswith(str(folder)) for path in where.stdout.split()):
        return Verdict.BROKEN, {}, f"not this tree would be tested: {where.stdout}{where.stderr}"
    report = folder / "mutant.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    try:
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        return Verdict.BROKEN, {}, f"not done after {error.timeout:g} s"
    if not report.exists():
        return Verdict.BROKEN, {}, done.stdout + done.stderr
    return (*_judge(report), done.stdout)


def _judge(report: Path) -> tuple[Verdict, dict[str, str]]:
    """Only a test that ran and failed counts: an error before it shows nothing."""
    cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314  # pytest wrote it just now
    failed = {case.get("name", ""): _first_line(bad) for case in cases if (bad := case.find("failure")) is not None}
    if failed:
        return Verdict.CAUGHT, failed
    if not cases or any(case.find("error") is not None for case in cases):
        return Verdict.BROKEN, {}
    if all(case.find("skipped") is not None for case in cases):
        return Verdict.SKIPPED, {}
    return Verdict.SURVIVED, {}


def _first_line(failure: ET.Element) -> str:
    return (failure.get("message") or "").partition("\n")[0]
