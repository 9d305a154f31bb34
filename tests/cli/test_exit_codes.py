"""What a shell sees: real processes, and the documented exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.client.fake import JOB_ID, Answer, FakeApi, job

Process = Callable[..., subprocess.CompletedProcess[str]]


def test_nothing_listens_is_3(process: Process) -> None:
    result = process("ls", "--json", SAFELIGHT_URL="http://127.0.0.1:1", SAFELIGHT_KEY="k")

    assert result.returncode == 3
    assert "No answer from the API at http://127.0.0.1:1" in json.loads(result.stdout)["error"]


def test_no_installation_is_3_and_says_what_to_do(process: Process) -> None:
    result = process("ls")

    assert result.returncode == 3
    assert "safelight up" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_key_is_1_and_says_what_to_do(process: Process, fake: FakeApi) -> None:
    fake.script("GET", "/v1/jobs", Answer(401, {"code": "unauthenticated", "detail": "This key was revoked."}))

    result = process("ls", SAFELIGHT_URL=fake.url, SAFELIGHT_KEY="k")

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: This key was revoked.",
        "  try: give a valid key: --key or SAFELIGHT_KEY",
    ]


def test_ctrl_c_leaves_the_job_and_says_how_to_go_on(fake: FakeApi) -> None:
    fake.script("POST", "/v1/jobs", Answer(202, job()))
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job("running")))
    argv = [sys.executable, "-m", "safelight.cli", "submit", "a cat", "--url", fake.url, "--key", "k"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as child:
        try:
            while not fake.requests("GET", f"/v1/jobs/{JOB_ID}"):
                assert child.poll() is None
                time.sleep(0.02)
            child.send_signal(signal.SIGINT)
            _, stderr = child.communicate(timeout=10)
        finally:
            child.kill()  # one that does not heed it would be waited for

    assert child.returncode == 130
    assert f"safelight watch {JOB_ID}" in stderr
    assert "Traceback" not in stderr


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from safelight.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('httpx', 'pydantic', 'flask', 'sqlalchemy', 'torch', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert result.stdout.splitlines()[-1] == "[]"
