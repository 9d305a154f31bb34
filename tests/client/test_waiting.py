"""Waiting and events, over outages."""

import pytest

from safelight import Client
from safelight.client import ApiError, ApiUnreachableError, JobFailedError, WaitTimeoutError
from safelight.client.sse import EventParser
from tests.client.fake import JOB_ID, Answer, FakeApi, job, problem, sse

PATH = f"/v1/jobs/{JOB_ID}"
EVENTS = f"{PATH}/events"


def test_waiting_is_long_polling(fake: FakeApi, client: Client) -> None:
    fake.script("GET", PATH, Answer(json=job("queued")), Answer(json=job("running")), Answer(json=job("succeeded")))

    done = client.wait(JOB_ID)

    assert done.succeeded
    assert {seen.headers["prefer"] for seen in fake.seen} == {"wait=25"}


def test_waiting_survives_a_restart_of_the_api(fake: FakeApi, client: Client) -> None:
    away = [Answer(cut=True)] * 8 + [problem(503, "unavailable")] * 4
    fake.script("GET", PATH, Answer(json=job("running")), *away, Answer(json=job("succeeded")))

    assert client.wait(JOB_ID).succeeded
    assert len(fake.seen) == 14


def test_progress_is_shown_up_to_the_last_view(fake: FakeApi, client: Client) -> None:
    running = job("running", progress={"phase": "running", "step": 3, "total_steps": 20, "preview": 0})
    fake.script("GET", PATH, Answer(json=job("queued")), Answer(json=running), Answer(json=job("succeeded")))
    seen = []

    client.wait(JOB_ID, on_progress=lambda view: seen.append((view.state, view.progress and view.progress.step)))

    assert seen == [("queued", None), ("running", 3), ("succeeded", None)]


def test_a_wait_ends_in_time(fake: FakeApi, client: Client) -> None:
    fake.script("GET", PATH, Answer(json=job("running")))

    with pytest.raises(WaitTimeoutError, match="goes on") as caught:
        client.wait(JOB_ID, timeout=0)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job.state == "running"


def test_run_raises_what_the_job_died_of(fake: FakeApi, client: Client) -> None:
    failed = job("failed", error={"code": "worker_lost", "detail": "Three workers died."})
    fake.script("POST", "/v1/jobs", Answer(202, job()))
    fake.script("GET", PATH, Answer(json=failed))

    with pytest.raises(JobFailedError, match=r"Three workers died\. \[worker_lost\]") as caught:
        client.run("text_to_image", prompt="a cat")

    assert caught.value.job.id == JOB_ID


def test_events_go_on_where_the_connection_broke(fake: FakeApi, client: Client) -> None:
    fake.script("GET", PATH, Answer(json=job("running")))
    fake.script(
        "GET",
        EVENTS,
        sse(("job.queued", "11", {}), ("job.running", "12", {}), ("progress", None, {"step": 1}), cut=True),
        problem(503, "too_many_streams", Retry_After="2"),
        sse(("progress", None, {"step": 9}), ("job.succeeded", "13", {"attempt": 1})),
    )

    events = list(client.events(JOB_ID))

    assert [event.name for event in events] == ["job.queued", "job.running", "progress", "progress", "job.succeeded"]
    assert events[-1].is_terminal
    assert events[-1].data == {"attempt": 1}
    assert [seen.headers.get("last-event-id") for seen in fake.requests("GET", EVENTS)] == [None, "12", "12"]


def test_events_after_the_terminal_one_are_none(fake: FakeApi, client: Client) -> None:
    fake.script("GET", PATH, Answer(json=job("succeeded")))
    fake.script("GET", EVENTS, sse())

    assert list(client.events(JOB_ID, after="13")) == []


def test_the_api_says_that_nothing_more_comes(fake: FakeApi, client: Client) -> None:
    fake.script("GET", EVENTS, Answer(204))

    assert list(client.events(JOB_ID, after="13")) == []
    assert len(fake.seen) == 1


def test_events_give_up_after_their_patience(fake: FakeApi, client: Client) -> None:
    client._patience = 0
    fake.script("GET", EVENTS, Answer(cut=True))

    with pytest.raises(ApiUnreachableError):
        list(client.events(JOB_ID))


def test_events_of_an_unknown_job_are_an_error_at_once(fake: FakeApi, client: Client) -> None:
    with pytest.raises(ApiError, match="nothing scripted"):
        list(client.events("unknown"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_the_parser_takes_pieces_of_any_size(end: str, size: int) -> None:
    lines = [": hello", "", "id: 4", "event: job.queued", 'data: {"a":', "data: 1}", "", "data: é", "", "data: lost"]
    raw = end.join(lines).encode()
    parser = EventParser()

    found = [event for at in range(0, len(raw), size) for event in parser.feed(raw[at : at + size])]

    assert [(event.name, event.id, event.data) for event in found] == [
        ("job.queued", "4", {"a": 1}),
        ("message", None, {"value": "é"}),
    ]
