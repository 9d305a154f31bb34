"""The API's docs page in a real browser: complete, without a request to any other host, and it can be tried out."""

import pytest
from playwright.sync_api import Browser, Page, Request

from tests.faults.test_spine import start_api
from tests.seeding import Seeder
from tests.worker.conftest import Crew, crew

__all__ = ["crew"]

pytestmark = pytest.mark.browser


@pytest.fixture
def docs(chromium: Browser, crew: Crew) -> tuple[Page, list[str], list[str]]:
    """The page, the addresses that it asked for, and what its console complained of."""
    _, url = start_api(crew)
    page = chromium.new_context(viewport={"width": 1280, "height": 1600}).new_page()
    asked: list[str] = []
    complaints: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            asked.append(request.url)

    page.on("request", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{url}/docs")
    page.wait_for_selector('[data-path="/v1/jobs"]')
    return page, asked, complaints


def test_the_docs_are_served_without_any_other_host(docs: tuple[Page, list[str], list[str]]) -> None:
    page, asked, complaints = docs
    host = page.url.split("/")[2]
    assert asked
    assert [url for url in asked if url.split("/")[2] != host] == []
    assert complaints == []


def test_a_job_can_be_submitted_from_the_docs_page(docs: tuple[Page, list[str], list[str]], seed: Seeder) -> None:
    page, _, _ = docs
    seed.checkpoint()
    key = seed.key(seed.client())
    page.click("button.authorize")
    page.fill(".auth-container input", key)
    page.click(".auth-btn-wrapper .authorize")
    page.click(".auth-btn-wrapper .btn-done")
    operation = page.locator(".opblock-post", has=page.locator('[data-path="/v1/jobs"]')).first
    operation.locator(".opblock-summary").click()
    operation.locator(".try-out__btn").click()
    operation.locator("textarea.body-param__text").fill('{"task": "text_to_image", "params": {"prompt": "a cat"}}')
    operation.locator("button.execute").click()
    answer = operation.locator(".live-responses-table tr.response .response-col_status").first
    answer.wait_for()
    assert answer.inner_text().startswith("202")
