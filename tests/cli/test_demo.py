"""`safelight demo`: on an installation that runs already (scripted), and, slowly, from nothing."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from safelight.cli.main import app
from safelight.cli.sheet import contact_sheet
from safelight.standalone import state as states
from safelight.standalone.layout import Layout
from tests.client.fake import JOB_ID, Answer, FakeApi, artifact, job

CLASSES = {"class_names": ["dog", "cat"], "max_images": 2}
CARDS = [
    {"name": "other", "tasks": ["text_to_image"], "profile": {"max_images": 8}},
    {"name": "emoji-64", "tasks": ["text_to_image"], "profile": {"max_images": 8}},
    {"name": "animals-gan", "tasks": ["class_to_image"], "profile": CLASSES},
]


@pytest.fixture
def home(fake: FakeApi, tmp_path: Path) -> Iterator[Path]:
    """A home folder whose supervisor is this test, and whose API is scripted."""
    layout = Layout.at(tmp_path / "home")
    layout.prepare()
    layout.key_file.write_text("sl_local")
    with states.lock(layout):
        now = time.time()
        states.save(layout, states.State(os.getpid(), now, "ready", fake.url, now, now))
        yield layout.home


def picture(side: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (0, 200, 0)).save(stream, "PNG")
    return stream.getvalue()


def test_a_running_installation_is_used_and_left_running(fake: FakeApi, home: Path, tmp_path: Path) -> None:
    content = picture(64)
    made = artifact(hashlib.sha256(content).hexdigest())
    fake.script("GET", "/v1/checkpoints", Answer(json={"items": CARDS}))
    fake.script("POST", "/v1/jobs", Answer(202, job()))
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job("succeeded", artifacts=[made])))
    fake.script("GET", f"/v1/artifacts/{made['id']}/content", Answer(body=content))

    result = CliRunner().invoke(app, ["demo", "--home", str(home), "--output", "demo", "-n", "4"])

    assert result.exit_code == 0, result.output
    bodies = [(seen.json["checkpoint"], seen.json["params"]) for seen in fake.requests("POST", "/v1/jobs")]
    assert bodies == [
        ("emoji-64", {"prompt": "a cat on a blue background", "num_images": 4, "seed": 7}),
        ("animals-gan", {"class_label": "cat", "num_images": 2, "seed": 7}),
    ]
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"text-to-image.png", "class-to-image.png", "contact-sheet.png"}
    assert f"It runs at {fake.url}" in result.stdout
    assert states.is_locked(Layout.at(home))


def test_a_failed_job_is_told_with_where_the_logs_are(fake: FakeApi, home: Path) -> None:
    failed = job("failed", error={"code": "checkpoint_unavailable", "detail": "A hash does not match."})
    fake.script("GET", "/v1/checkpoints", Answer(json={"items": CARDS}))
    fake.script("POST", "/v1/jobs", Answer(202, job()))
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=failed))

    result = CliRunner().invoke(app, ["demo", "--home", str(home)])

    assert result.exit_code == 1
    assert "A hash does not match." in result.stderr
    assert str(home / "logs") in result.stderr


def test_no_checkpoint_is_an_error_and_not_an_empty_success(fake: FakeApi, home: Path) -> None:
    fake.script("GET", "/v1/checkpoints", Answer(json={"items": []}))

    for more in ([], ["--json"]):
        result = CliRunner().invoke(app, ["demo", "--home", str(home), *more])
        assert result.exit_code == 1
        assert "no checkpoint" in result.output


def test_the_sheet_enlarges_by_whole_factors(tmp_path: Path) -> None:
    paths = []
    for number, side in enumerate((64, 32, 300, 64, 64)):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(picture(side))

    with Image.open(contact_sheet(paths[:2], tmp_path / "small.png")) as sheet:
        assert sheet.size == (2 * 264 + 8, 264 + 8)
    with Image.open(contact_sheet(paths, tmp_path / "sheet.png")) as sheet:
        assert sheet.size == (4 * 308 + 8, 2 * 308 + 8)


@pytest.fixture
def empty_home() -> Iterator[Path]:
    """Where Postgres' own user may enter, when we are root; pytest's folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="safelight-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_from_nothing_to_pictures_and_all_stopped_again(empty_home: Path) -> None:
    argv = [sys.executable, "-m", "safelight.cli", "demo", "--home", str(empty_home), "-o", "demo", "-n", "2", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["files"]) == 4
    for path in [*told["files"], told["contact_sheet"]]:
        with Image.open(path) as made:
            made.load()
    assert {"services", "migration", "application", "start", "stop", "total"} <= told["seconds"].keys()
    assert not states.is_locked(Layout.at(empty_home))


@pytest.mark.slow
def test_ctrl_c_stops_what_was_started(empty_home: Path) -> None:
    argv = [sys.executable, "-m", "safelight.cli", "demo", "--home", str(empty_home), "-o", "demo"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        layout = Layout.at(empty_home)
        while not (state := states.load(layout)) or state.phase != "ready":
            assert child.poll() is None
            time.sleep(0.1)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=120)

    assert child.returncode == 130
    assert "Traceback" not in stderr
    assert not states.is_locked(layout)
