"""What is sent again, when, and with which key."""

import pytest

from safelight import Client
from safelight.client import ApiUnreachableError, InvalidRequestError, NotFoundError, RateLimitedError, ServerError
from safelight.client.retry import RetryPolicy, retry_after
from tests.client.fake import JOB_ID, Answer, FakeApi, job, problem

JOBS = "/v1/jobs"


@pytest.mark.parametrize(
    "fault",
    [problem(503, "unavailable"), problem(502, "bad_gateway"), problem(504, "timeout"), Answer(cut=True)],
    ids=["503", "502", "504", "dropped"],
)
def test_a_submit_is_repeated_with_the_same_idempotency_key(
    fake: FakeApi, client: Client, naps: list[float], fault: Answer
) -> None:
    fake.script("POST", JOBS, fault, fault, Answer(202, job()))

    made = client.submit("text_to_image", prompt="a cat")

    keys = [seen.headers["idempotency-key"] for seen in fake.requests("POST", JOBS)]
    assert made.id == JOB_ID
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert naps == [0.25, 0.5]


def test_two_submits_have_two_keys_and_a_given_one_is_used(fake: FakeApi, client: Client) -> None:
    fake.script("POST", JOBS, Answer(202, job()))

    for options in ({}, {}, {"idempotency_key": "mine"}):
        client.submit("text_to_image", {"num_images": 2}, prompt="a cat", **options)

    first, second, third = (seen.headers["idempotency-key"] for seen in fake.seen)
    assert first != second
    assert third == "mine"
    assert fake.seen[2].json == {"task": "text_to_image", "params": {"prompt": "a cat", "num_images": 2}}


def test_retry_after_is_obeyed(fake: FakeApi, client: Client, naps: list[float]) -> None:
    fake.script("POST", JOBS, problem(429, "rate_limited", Retry_After="7"), Answer(202, job()))

    client.submit("text_to_image", prompt="a cat")

    assert naps == [7.0]


def test_a_retry_after_beyond_the_bound_is_an_error_at_once(fake: FakeApi, client: Client, naps: list[float]) -> None:
    fake.script("POST", JOBS, problem(429, "quota_exceeded", "Too many.", Retry_After="3600"))

    with pytest.raises(RateLimitedError, match="Too many") as caught:
        client.submit("text_to_image", prompt="a cat")

    assert caught.value.retry_after_seconds == 3600
    assert naps == []


def test_attempts_are_bounded(fake: FakeApi, client: Client) -> None:
    fake.script("GET", f"{JOBS}/x", problem(503, "unavailable", "Postgres is away."))

    with pytest.raises(ServerError, match="Postgres is away") as caught:
        client.get("x")

    assert caught.value.code == "unavailable"
    assert len(fake.seen) == 6


def test_a_new_key_is_not_asked_for_twice(fake: FakeApi, client: Client) -> None:
    fake.script("POST", "/v1/keys", Answer(cut=True), Answer(201, {"id": "k", "key": "sl_k_s"}))

    with pytest.raises(ApiUnreachableError):
        client.create_key("acme")

    assert len(fake.seen) == 1


def test_refusals_are_not_repeated_and_name_the_fields(fake: FakeApi, client: Client) -> None:
    entry = {"pointer": "/params/width", "code": "size_not_allowed", "message": "64 pixels only."}
    fake.script("POST", JOBS, problem(422, "validation_failed", "/params/width: 64 pixels only.", [entry]))

    with pytest.raises(InvalidRequestError) as caught:
        client.submit("text_to_image", {"width": 63}, prompt="a cat")

    assert len(fake.seen) == 1
    assert [field.pointer for field in caught.value.fields] == ["/params/width"]
    assert caught.value.request_id == "r1"


def test_an_error_that_is_no_problem_document_is_mapped_too(fake: FakeApi, client: Client) -> None:
    fake.script("GET", f"{JOBS}/x", Answer(404, body=b"<h1>nginx</h1>"))

    with pytest.raises(NotFoundError, match="nginx") as caught:
        client.get("x")

    assert caught.value.code == "http_404"


def test_nobody_listens() -> None:
    policy = RetryPolicy(attempts=2, base_seconds=0.01)
    with (
        Client("http://127.0.0.1:1", "k", retry=policy) as client,
        pytest.raises(ApiUnreachableError, match="No answer"),
    ):
        client.me()


def test_the_pauses_grow_to_a_bound_and_stay_within_the_total() -> None:
    policy = RetryPolicy(attempts=99, total_seconds=60, jitter=lambda: 0.0)

    assert [policy.delay_seconds(attempt) for attempt in (1, 2, 3, 9)] == [0.125, 0.25, 0.5, 5.0]
    assert policy.next_delay(3, elapsed_seconds=59.8) is None
    assert policy.next_delay(99, elapsed_seconds=0) is None


def test_retry_after_reads_numbers_dates_and_nonsense() -> None:
    assert retry_after("1.5") == 1.5
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None
