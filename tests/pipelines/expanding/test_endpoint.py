"""Prompts by an OpenAI-compatible endpoint: a real server on this machine, and what it may answer."""

import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from models.errors import CheckpointUnavailableError, PipelineFailedError, StoppedError, TransientError
from models.params import CheckpointProfile
from models.settings import get_settings
from tests.pipelines.conftest import Recorder
from tests.pipelines.expanding.asked import asked, said
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline


@dataclass
class Answers:
    """What the server says, and what it was asked."""

    status: int = 200
    body: bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def to(self, request: dict[str, Any]) -> bytes:
        prompt, number = request["messages"][-1]["content"], len(self.asked)
        text = f'Sure, here is one:\n"{prompt.title()} number {number}, watercolour"'
        if number % 2 == 0:
            text = f"number {number}, gouache"
        return self.body or json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def address(answers: Answers) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.asked.append(request)
            answers.paths.append(self.path)
            answers.keys.append(self.headers["Authorization"])
            body = answers.to(request)
            self.send_response(answers.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/"
        server.shutdown()
        thread.join()


@pytest.fixture
def known_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The process's settings, read again in this test and after it."""
    get_settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    get_settings.cache_clear()


def opened(patch: pytest.MonkeyPatch, url: str, device: Device, **config: Any) -> Pipeline:
    patch.setenv("SAFELIGHT_EXPAND_PROMPT_URL", url)
    patch.setenv("SAFELIGHT_EXPAND_PROMPT_KEY", "the-key")
    patch.setenv("SAFELIGHT_EXPAND_PROMPT_MODEL", "writer-7b")
    files = CheckpointFiles("remote-prompts", Path(), "openai_endpoint", CheckpointProfile(), config)
    return load_family("openai_endpoint").setup(files, device)


@pytest.fixture
def remote(known_settings: pytest.MonkeyPatch, address: str, cpu: Device) -> Iterator[Pipeline]:
    found = opened(known_settings, address, cpu)
    yield found
    found.close()


def test_it_asks_once_for_each_text(remote: Pipeline, answers: Answers) -> None:
    job = asked("a cat", num_prompts=2, temperature=0.5, max_tokens=30)
    (made,) = said(remote, [job])
    assert made["method"] == "language model writer-7b"
    assert made["texts"] == ["a cat number 1, watercolour", "a cat, number 2, gouache"]
    first, second = answers.asked
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("writer-7b", 0.5, 30)
    assert first["messages"][0]["role"] == "system"
    assert first["messages"][-1] == {"role": "user", "content": "a cat"}
    assert first["seed"] != second["seed"]
    assert set(answers.paths) == {"/v1/chat/completions"}
    assert set(answers.keys) == {"Bearer the-key"}


def test_it_reads_chinese_and_may_leave_the_prompt_behind(remote: Pipeline) -> None:
    (made,) = said(remote, [asked("橘猫", keep_words=False)])
    assert made["texts"] == ["橘猫 number 1, watercolour"]


def test_the_same_question_is_asked_once(
    known_settings: pytest.MonkeyPatch, address: str, answers: Answers, cpu: Device, tmp_path: Path
) -> None:
    remote = opened(known_settings, address, cpu, cache=str(tmp_path), revision="r1")
    first, again = (said(remote, [asked("a cat")])[0] for _ in range(2))
    assert (first["cached"], again["cached"], first["texts"]) == (False, True, again["texts"])
    assert len(answers.asked) == 1
    remote.close()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, None, TransientError),
        (503, None, TransientError),
        (429, None, TransientError),
        (400, None, PipelineFailedError),
        (401, None, PipelineFailedError),
        (302, None, PipelineFailedError),
        (200, b"<html>", PipelineFailedError),
        (200, b"[]", PipelineFailedError),
        (200, b'{"choices": []}', PipelineFailedError),
        (200, b'{"choices": [{"message": {"content": null}}]}', PipelineFailedError),
        (200, b'"' + b"x" * (2 << 20) + b'"', PipelineFailedError),
    ],
)
def test_trouble_is_typed_and_quotes_nothing(
    remote: Pipeline,
    answers: Answers,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes | None,
    error: type[Exception],
) -> None:
    answers.status, answers.body = status, body
    with caplog.at_level(logging.DEBUG), pytest.raises(error) as caught:
        said(remote, [asked("a secret cat")])
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text
    assert "the-key" not in caplog.text


def test_nobody_there_is_trouble_that_passes(known_settings: pytest.MonkeyPatch, cpu: Device) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        remote = opened(known_settings, f"http://127.0.0.1:{taken.getsockname()[1]}", cpu)
        with pytest.raises(TransientError, match="ConnectError"):
            said(remote, [asked("a cat")])
    remote.close()


def test_it_stops_between_texts(remote: Pipeline, answers: Answers) -> None:
    job = asked("a cat", num_prompts=5)
    context = Recorder()
    context.at_step = lambda done: context.stopped_ids.update({job.job_id} if done == 2 else set())
    with pytest.raises(StoppedError):
        said(remote, [job], context)
    assert len(answers.asked) == 3


def test_without_an_address_it_cannot_be_loaded(known_settings: pytest.MonkeyPatch, cpu: Device) -> None:
    known_settings.delenv("SAFELIGHT_EXPAND_PROMPT_URL", raising=False)
    files = CheckpointFiles("remote-prompts", Path(), "openai_endpoint", CheckpointProfile(), {})
    with pytest.raises(CheckpointUnavailableError, match="SAFELIGHT_EXPAND_PROMPT_URL"):
        load_family("openai_endpoint").setup(files, cpu)
