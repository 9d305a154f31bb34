"""`client.webhooks`: what it sends and repeats; and against the real API."""

import pytest

from models.states import Role
from models.storage import Storage
from safelight import Client
from safelight.client import ApiUnreachableError, ConflictError, InvalidRequestError
from tests.client.fake import Answer, FakeApi, job
from tests.client.live import running_api, work
from tests.seeding import Seeder

HOOKS, URL = "/v1/webhooks", "https://example.com/hook"


def test_what_is_absent_is_left_to_the_api(fake: FakeApi, client: Client) -> None:
    fake.script("POST", HOOKS, Answer(201, {"id": "w", "secret": "s"}))
    fake.script("PATCH", f"{HOOKS}/w", Answer(json={"id": "w"}))

    client.webhooks.create(URL)
    client.webhooks.create(URL, ["job.failed"])
    client.webhooks.change("w", enabled=False)

    assert [seen.json for seen in fake.seen] == [
        {"url": URL},
        {"url": URL, "events": ["job.failed"]},
        {"enabled": False},
    ]


def test_lists_go_on_over_pages(fake: FakeApi, client: Client) -> None:
    pages = [{"items": [{"id": "a"}, {"id": "b"}], "cursor": "b"}, {"items": [{"id": "c"}], "cursor": None}]
    fake.script("GET", f"{HOOKS}/w/deliveries", *(Answer(json=page) for page in pages))

    assert [entry["id"] for entry in client.webhooks.deliveries("w", state="failed")] == ["a", "b", "c"]
    assert [seen.query for seen in fake.seen] == [
        {"state": "failed", "limit": "200"},
        {"state": "failed", "limit": "200", "cursor": "b"},
    ]


@pytest.mark.parametrize("verb", ["rotate", "test"])
def test_what_would_do_more_twice_is_not_repeated(fake: FakeApi, client: Client, verb: str) -> None:
    fake.script("POST", f"{HOOKS}/w/{verb}", Answer(cut=True))

    with pytest.raises(ApiUnreachableError):
        getattr(client.webhooks, verb)("w")
    assert len(fake.seen) == 1


@pytest.mark.parametrize("webhook", [URL, {"url": URL, "events": ["job.failed"]}])
def test_a_job_names_a_url_or_one_with_its_events(fake: FakeApi, client: Client, webhook: str | dict[str, str]) -> None:
    fake.script("POST", "/v1/jobs", Answer(202, job()))

    client.submit("text_to_image", prompt="a cat", webhook=webhook)  # type: ignore[arg-type]

    assert fake.seen[0].json["webhook"] == (webhook if isinstance(webhook, dict) else {"url": URL})


def test_the_whole_life_against_the_real_api(environment: dict[str, str], seed: Seeder, storage: Storage) -> None:
    owner = seed.client("house")
    seed.checkpoint()
    with running_api(environment) as api, Client(api.url, seed.key(owner, Role.CLIENT)) as client:
        hook = client.webhooks.create(URL)
        with pytest.raises(ConflictError):
            client.webhooks.create(URL)
        with pytest.raises(InvalidRequestError) as refused:
            client.submit("text_to_image", prompt="a cat", webhook="https://127.0.0.1/")
        assert [(field.pointer, field.code) for field in refused.value.fields] == [("/webhook/url", "private_address")]

        made = client.submit("text_to_image", prompt="a cat", webhook={"url": URL, "events": ["job.running"]})
        work(seed, storage)
        named = made.raw["webhook"]["id"]
        assert {entry["id"]: entry["scope"] for entry in client.webhooks.list()} == {hook["id"]: "all", named: "named"}
        assert [sent["kind"] for sent in client.webhooks.deliveries(hook["id"])] == ["job.succeeded"]
        assert [sent["kind"] for sent in client.webhooks.deliveries(named)] == ["job.running"]

        test = client.webhooks.test(hook["id"])
        assert client.webhooks.redeliver(hook["id"], test["id"])["message_id"] == test["message_id"]
        assert len(list(client.webhooks.deliveries(hook["id"], limit=1))) == 1
        rotated = client.webhooks.rotate(hook["id"])
        assert client.webhooks.secret(hook["id"])["secret"] == rotated["secret"]
        assert client.webhooks.change(hook["id"], events=["job.expired"])["events"] == ["job.expired"]
        assert client.webhooks.get(hook["id"])["enabled"] is True
        client.webhooks.delete(hook["id"])
        assert [entry["id"] for entry in client.webhooks.list()] == [named]
