"""Where a webhook may lead, refused at the door: in every field of every request that takes a URL."""

from typing import Any

import pytest

from models.settings import Settings
from tests.api.conftest import PROMPT, Caller
from tests.api.test_problems import assert_problem
from tests.api.test_webhooks import HOOKS, URL, make, patch, path

REFUSED = {
    "http://example.com/": "https_needed",
    "https://user:pass@example.com/": "credentials",
    "https://user@example.com/": "credentials",
    "https://@example.com/": "credentials",
    "https://example.com/#part": "fragment",
    "https://example.com/#": "fragment",
    "https:///path": "bad_url",
    "https://example.com:0/": "bad_url",
    "https://example.com:65536/": "bad_url",
    "https://example.com:x/": "bad_url",
    "https://example.com:/": "bad_url",
    "https://exa mple.com/": "bad_url",
    "https://example.com\\@evil.com/": "bad_url",
    "https://example.com/\n": "bad_url",
    "https://exämple.com/": "bad_url",
    "https://①②⑦.0.0.1/": "bad_url",
    "https://-a.com/": "bad_url",
    "https://a..com/": "bad_url",
    "https://[::1": "bad_url",
    "https://[2606:4700::1111]x/": "bad_url",
    "https://x[2606:4700::1111]/": "bad_url",
    "https://[fe80::1%25eth0]/": "private_address",
    "https://127.1/": "bad_url",
    "https://2130706433/": "bad_url",
    "https://0x7f000001/": "bad_url",
    "https://0177.0.0.1/": "bad_url",
    "https://127.0.0.1/": "private_address",
    "https://127.0.0.1./": "private_address",
    "https://10.0.0.1:8443/": "private_address",
    "https://169.254.169.254/latest/meta-data/": "private_address",
    "https://[::1]/": "private_address",
    "https://[::ffff:127.0.0.1]/": "private_address",
    "https://[64:ff9b::7f00:1]/": "private_address",
    "https://localhost/": "private_address",
    "https://LOCALHOST./": "private_address",
    "https://a.localhost:9/": "private_address",
}


@pytest.mark.parametrize("url", REFUSED)
def test_a_target_that_is_refused_is_refused_everywhere(caller: Caller, url: str) -> None:
    hook = make(caller)
    answers = {
        "/url": (caller.post(HOOKS, {"url": url}), patch(caller, hook, url=url)),
        "/webhook/url": (
            caller.post("/v1/jobs", {**PROMPT, "webhook": {"url": url}}),
            caller.post("/v1/jobs?dry_run=true", {**PROMPT, "webhook": {"url": url}}),
        ),
    }
    for pointer, refused in answers.items():
        for answer in refused:
            (error,) = assert_problem(answer, 422, "validation_failed")["errors"]
            assert (error["pointer"], error["code"]) == (pointer, REFUSED[url])
    assert caller.get(path(hook)).json["url"] == URL
    assert caller.get("/v1/jobs").json["items"] == []


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://Example.COM:8443/a?b=c",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:443/x",
        "https://xn--exmple-cua.com",
        "https://under_score.example.com./",
    ],
)
def test_a_public_target_is_taken(caller: Caller, url: str) -> None:
    assert make(caller, url)["url"] == url


@pytest.mark.parametrize("body", [{}, {"url": "ftp://x/"}, {"url": "https://" + "a" * 2000}, {"url": 1}])
def test_what_is_no_url(caller: Caller, body: dict[str, Any]) -> None:
    assert_problem(caller.post(HOOKS, body), 422, "validation_failed")


@pytest.mark.parametrize("events", [[], ["job.queued"], ["webhook.test"], "job.failed"])
def test_what_is_no_event(caller: Caller, events: Any) -> None:
    assert_problem(caller.post(HOOKS, {"url": URL, "events": events}), 422, "validation_failed")


class TestDevelopment:
    """With `webhook_allow_private`."""

    @pytest.fixture
    def app_settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"webhook_allow_private": True, "api_threads": 16})

    def test_local_targets_are_taken(self, caller: Caller) -> None:
        for url in ("http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/"):
            make(caller, url)
        assert_problem(caller.post(HOOKS, {"url": "http://a:b@localhost/"}), 422, "validation_failed")
