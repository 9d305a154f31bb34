"""schemathesis over the real server, as several people: whatever the document allows or forbids, it answers as said.

How is in `schemathesis.toml` beside this. `make fuzz` runs it with more examples and another seed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from models.settings import Settings
from models.states import Role
from tests.api.live import running_server
from tests.seeding import Seeder

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")
SEED = os.environ.get("FUZZ_SEED", "1")
LIMIT_SECONDS = 300 + 60 * int(EXAMPLES)


def test_schemathesis_finds_nothing(settings: Settings, seed: Seeder, tmp_path: Path) -> None:
    # given: two clients and an admin, a checkpoint, and nobody who runs jobs
    seed.checkpoint()
    people = {"alice": Role.CLIENT, "bob": Role.CLIENT, "root": Role.ADMIN}
    keys = {name: seed.key(seed.client(name, max_priority=100), role) for name, role in people.items()}
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    (tmp_path / "auth.json").write_text(json.dumps({"auth": entries}))
    shutil.copy(CONFIG, tmp_path / "schemathesis.toml")
    # It tries keys that do not fit on purpose, and good ones from the same address would have to wait for that.
    free = {"rate_limit": "", "failed_keys_per_minute": 0}
    quiet = settings.model_copy(update={**free, "max_wait_seconds": 0, "sse_heartbeat_seconds": 0.1})
    # when: one thread, since Python 3.11 crashes now and then when two parse source at once, which schemathesis does
    with running_server(quiet, tmp_path / "log") as server:
        run = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml",
                "run", f"{server.url}/openapi.json", "--max-examples", EXAMPLES, "--seed", SEED,
            ],
            cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=LIMIT_SECONDS,
            check=False,
        )  # fmt: skip
        assert server.process.poll() is None
    # then
    assert run.returncode == 0, run.stdout[-12000:] + run.stderr[-2000:]
    assert "will not run" not in run.stdout + run.stderr
    assert "Traceback" not in server.log.read_text()
