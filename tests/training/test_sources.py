"""Fetching: what is pinned, and that wrong bytes are refused."""

import hashlib
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from worker.training import sources
from worker.training.sources import SOURCES, SourceError, fetch


def test_every_source_is_pinned_and_credited() -> None:
    for source in SOURCES.values():
        assert len(source.sha256) == 64
        assert source.version in source.archive
        assert source.licence
        assert source.credit


def test_wrong_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / SOURCES["flat"].archive).write_bytes(b"not the pinned bytes")
    with pytest.raises(SourceError, match="sha256"):
        fetch("flat", tmp_path)


@pytest.mark.parametrize("suffix", [".tgz", ".whl"])
def test_the_right_archive_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    inner = tmp_path / "inner.txt"
    inner.write_text("inside")
    archive = tmp_path / f"thing{suffix}"
    if suffix == ".tgz":
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(inner, "package/inner.txt")
    else:
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.write(inner, "package/inner.txt")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    source = replace(SOURCES["flat"], archive=archive.name, sha256=digest)
    monkeypatch.setattr(sources, "SOURCES", {"thing": source})
    folder = fetch("thing", tmp_path)
    assert (folder / "package" / "inner.txt").read_text() == "inside"
    archive.unlink()
    assert fetch("thing", tmp_path) == folder


def test_a_failed_download_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="npm is needed"):
        fetch("flat", tmp_path)
