"""Who may read /metrics: this machine without a key, others with a viewer's, anybody if an operator says so."""

from typing import Any

import pytest
from flask import Flask

from api.app import create_app
from api.services import services_of
from models.settings import Settings
from models.states import Role
from tests.api.conftest import Caller

FAR = {"REMOTE_ADDR": "192.0.2.7"}


def status(app: Flask, *, near: bool = False, **headers: str) -> int:
    environ: dict[str, Any] = {} if near else {"environ_base": FAR}
    return app.test_client().get("/metrics", headers=headers, **environ).status_code


def test_this_machine_needs_no_key_and_others_do(app: Flask) -> None:
    assert status(app, near=True) == 200
    assert status(app) == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_came_through_a_proxy_of_this_machine_needs_a_key(app: Flask, header: str) -> None:
    assert status(app, near=True, **{header: "127.0.0.1"}) == 401


def test_a_client_may_not_and_a_viewer_may(callers: dict[Role, Caller]) -> None:
    allowed = {role: caller.get("/metrics", environ_base=FAR).status_code for role, caller in callers.items()}
    assert allowed == {Role.CLIENT: 403, Role.VIEWER: 200, Role.OPERATOR: 200, Role.ADMIN: 200}


def test_an_operator_may_open_it(app_settings: Settings) -> None:
    app = create_app(app_settings.model_copy(update={"metrics_public": True}))
    try:
        assert status(app) == 200
    finally:
        services_of(app).close()
