"""The one line format: what each kind of child writes, and what becomes of it."""

import json
from pathlib import Path

import pytest

from safelight.standalone.logs import Journal, Line, parse


@pytest.mark.parametrize(
    ("raw", "level", "text"),
    [
        ("LOG:  database system is ready", "INFO", "database system is ready"),
        ("FATAL:  password authentication failed", "CRITICAL", "password authentication failed"),
        ("ERROR:  relation does not exist", "ERROR", "relation does not exist"),
        ("123:M 21 Jan 2026 10:00:00.123 * Ready to accept connections", "INFO", "Ready to accept connections"),
        ("123:C 21 Jan 2026 10:00:00.123 # WARNING overcommit", "WARNING", "WARNING overcommit"),
        ("W0121 10:00:00.123456 client.go:247 connection failed", "WARNING", "client.go:247 connection failed"),
        ("[2026-01-21 10:00:00 +0000] [12] [INFO] Listening at: x", "INFO", "Listening at: x"),
        ("[2026-01-21 10:00:00,123: ERROR/MainProcess] lost", "ERROR", "lost"),
        ("\x1b[33mWARNING\x1b[0m: colours", "WARNING", "colours"),
        ("something else entirely", "INFO", "something else entirely"),
    ],
)
def test_text_gets_a_level(raw: str, level: str, text: str) -> None:
    line = parse("child", raw)
    assert line is not None
    assert (line.level, line.source, line.text) == (level, "child", text)


def test_json_keeps_its_time_and_its_fields() -> None:
    record = {"event": "claimed", "level": "warn", "timestamp": "2026-01-21T10:00:00.123456Z", "job": 7, "process": "w"}
    assert parse("gpu-1", json.dumps(record)) == Line("2026-01-21T10:00:00.123Z", "WARNING", "gpu-1", "claimed job=7")


@pytest.mark.parametrize("raw", ["", "   ", "\x1b[0m"])
def test_nothing_is_no_line(raw: str) -> None:
    assert parse("child", raw) is None


@pytest.mark.parametrize("raw", ["{not json", '{"unclosed": ', "[1, 2]", '{"level": null}'])
def test_what_only_looks_like_json_is_still_a_line(raw: str) -> None:
    assert parse("child", raw) is not None


def test_a_traceback_stays_an_error_to_its_last_line(tmp_path: Path) -> None:
    heard: list[Line] = []
    journal = Journal("child", tmp_path, heard.append)
    journal.feed(b"INFO: before\nTraceback (most recent call last):\n  File x\nValueError: no\nINFO: after\n")
    assert [line.level for line in heard] == ["INFO", "ERROR", "ERROR", "ERROR", "INFO"]
    journal.close()


def test_lines_may_arrive_in_pieces(tmp_path: Path) -> None:
    heard: list[Line] = []
    journal = Journal("child", tmp_path, heard.append)
    for piece in (b"INFO: on", b"e\nINFO: tw", b"o\nINFO: rest \xff"):
        journal.feed(piece)
    journal.close()
    assert [line.text for line in heard] == ["one", "two", "rest �"]
    assert [line.split(" ", 1)[1] for line in (tmp_path / "child.log").read_text().splitlines()] == [
        "INFO    child one", "INFO    child two", "INFO    child rest �",
    ]  # fmt: skip


def test_a_terminal_that_went_away_stops_nothing(tmp_path: Path) -> None:
    def gone(_line: Line) -> None:
        raise BrokenPipeError

    journal = Journal("child", tmp_path, gone)
    journal.feed(b"INFO: one\nINFO: two\n")
    journal.close()
    assert len((tmp_path / "child.log").read_text().splitlines()) == 2
