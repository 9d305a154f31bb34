"""Failpoints: off unless armed, and a mistyped one is refused."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import failpoints
from models.failpoints import FailpointError, arm, reach
from models.settings import Settings


@pytest.fixture(autouse=True)
def _disarm(settings: Settings) -> Iterator[None]:
    yield
    arm(settings)


def test_nothing_happens_while_nothing_is_armed(settings: Settings) -> None:
    arm(settings)
    for name in failpoints.POINTS:
        reach(name)


def test_an_armed_point_acts_and_the_others_do_not(settings: Settings) -> None:
    arm(settings.model_copy(update={"failpoints": "after_put=raise"}))
    reach("before_put")
    with pytest.raises(FailpointError, match="after_put"):
        reach("after_put")


def test_once_is_for_the_first_process_only(settings: Settings, tmp_path: Path) -> None:
    arm(settings.model_copy(update={"failpoints": "after_put=once-raise", "failpoint_folder": tmp_path}))
    with pytest.raises(FailpointError):
        reach("after_put")
    reach("after_put")


def test_memory_is_short_as_often_as_told(settings: Settings) -> None:
    arm(settings.model_copy(update={"failpoints": "before_pass=oom:2"}))
    for _ in range(2):
        with pytest.raises(MemoryError):
            reach("before_pass")
    reach("before_pass")


def test_a_wait_ends_when_it_is_told_to_go(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "after_put.go").touch()
    arm(settings.model_copy(update={"failpoints": "after_put=wait", "failpoint_folder": tmp_path}))
    reach("after_put")
    assert not list(tmp_path.glob("*.reached"))


@pytest.mark.parametrize("wrong", ["nowhere=kill", "after_put=explode", "after_put", "after_put=wait"])
def test_what_cannot_be_armed_is_refused(settings: Settings, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"failpoint|FAILPOINT"):
        arm(settings.model_copy(update={"failpoints": wrong}))


def test_kill_kills(environment: dict[str, str]) -> None:
    code = "from models.failpoints import arm, reach; from models.settings import get_settings\n"
    code += "arm(get_settings()); reach('after_claim'); print('lived')"
    armed = {**os.environ, **environment, "SAFELIGHT_FAILPOINTS": "after_claim=kill"}
    done = subprocess.run([sys.executable, "-c", code], env=armed, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert b"lived" not in done.stdout
