"""What a browser is told: no sniffing, no script, nothing kept."""

import re

from flask import Flask

from models.states import Role
from tests.api.conftest import Caller


def test_every_answer_is_closed_to_browsers(caller: Caller, callers: dict[Role, Caller]) -> None:
    job = caller.submit()
    for path in (job["urls"]["self"], "/v1/jobs", "/v1/me", "/v1/nothing", "/v1/jobs/x", "/v1/keys"):
        answer = callers[Role.ADMIN].get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'"), path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["Referrer-Policy"] == "no-referrer", path


def test_what_needs_a_key_is_kept_nowhere(app: Flask, caller: Caller) -> None:
    job = caller.submit()
    for path in (job["urls"]["self"], "/v1/jobs", "/v1/me", "/v1/checkpoints"):
        assert caller.get(path).headers["Cache-Control"] == "no-store", path
    assert "no-store" not in app.test_client().get("/openapi.json").headers.get("Cache-Control", "")


def test_the_docs_page_runs_its_own_scripts_alone(app: Flask) -> None:
    page = app.test_client().get("/docs", follow_redirects=True)
    policy = page.headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert re.fullmatch(r"script-src 'self'( 'sha256-[A-Za-z0-9+/=]{44}')+", scripts)
    assert scripts.count("sha256-") == page.text.count("<script>")
    assert "unsafe-eval" not in policy
