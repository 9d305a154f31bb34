"""The home folder: what lies where, who may read it, and what happens when something is missing."""

import stat
from pathlib import Path

import pytest

from safelight.standalone.errors import StandaloneError
from safelight.standalone.layout import Layout, write_private


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_secrets_are_generated_once_and_private(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "home")
    layout.prepare()
    first = layout.load_secrets()
    assert layout.load_secrets() == first
    assert mode(layout.secrets_file) == "0o600"
    assert {mode(folder) for folder in (layout.logs, layout.run, layout.valkey, layout.seaweed)} == {"0o700"}
    assert len({first.postgres_admin, first.postgres_app, first.valkey, first.s3_secret_access_key}) == 4


def test_lost_secrets_are_not_replaced_while_there_is_data(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.prepare()
    layout.postgres.mkdir()
    with pytest.raises(StandaloneError, match=r"secrets\.json cannot be read") as caught:
        layout.load_secrets()
    assert "restore" in caught.value.remedy


def test_a_home_that_cannot_be_one_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StandaloneError, match="cannot be used"):
        Layout.at(tmp_path / "file").prepare()


def test_the_home_folder_hides_itself_from_git(tmp_path: Path) -> None:
    Layout.at(tmp_path).prepare()
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_private_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", "0o600")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_somebody_elses_keeps_its_mode(tmp_path: Path) -> None:
    """Given a home that is a shared folder, such as /tmp, then nobody is shut out of it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for _ in range(2):
        Layout.at(shared).prepare()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert stat.S_IMODE((shared / "run").stat().st_mode) == 0o700
