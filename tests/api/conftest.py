"""The application on the test's own services, and a caller that speaks for one key."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from PIL import Image
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import Services, services_of
from models.jobs import CheckpointCard
from models.settings import Settings
from models.states import Role
from tests.seeding import Seeder

PROMPT: dict[str, Any] = {"task": "text_to_image", "params": {"prompt": "a cat", "seed": 7}}


@dataclass
class Caller:
    """Requests of one key."""

    app: Flask
    key: str
    client_id: UUID
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}", **self.headers, **more.pop("headers", {})}
        return self.app.test_client().open(path, method=method, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> TestResponse:
        return self("POST", path, **({"json": json} if json is not None else {}), **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self("DELETE", path, **more)

    def upload(
        self,
        data: bytes,
        *,
        part: str = "file",
        filename: str = "x.png",
        media_type: str = "image/png",
        path: str = "/v1/uploads",
    ) -> TestResponse:
        # Written by hand: the test client would leave the temporary file of a large form open.
        disposition = f'Content-Disposition: form-data; name="{part}"; filename="{filename}"'
        head = f"--x\r\n{disposition}\r\nContent-Type: {media_type}\r\n\r\n".encode()
        return self.post(path, data=head + data + b"\r\n--x--\r\n", content_type="multipart/form-data; boundary=x")

    def submit(self, **changes: Any) -> dict[str, Any]:
        """A queued job."""
        answer = self.post("/v1/jobs", {**PROMPT, **changes})
        assert answer.status_code == 202, answer.text
        return dict(answer.json or {})


@pytest.fixture
def app_settings(settings: Settings) -> Settings:
    """What a test may change before the app is made."""
    return settings.model_copy(update={"api_threads": 16})


@pytest.fixture
def app(app_settings: Settings) -> Iterator[Flask]:
    """The application."""
    app = create_app(app_settings)
    yield app
    services_of(app).close()


@pytest.fixture
def api(app: Flask) -> Services:
    """What is behind the application."""
    return services_of(app)


@pytest.fixture
def checkpoint(seed: Seeder) -> CheckpointCard:
    """A checkpoint that nothing runs."""
    return seed.checkpoint()


@pytest.fixture
def callers(app: Flask, seed: Seeder) -> dict[Role, Caller]:
    """One client with a key of each role."""
    client_id = seed.client("house")
    return {role: Caller(app, seed.key(client_id, role), client_id) for role in Role}


@pytest.fixture
def caller(callers: dict[Role, Caller], checkpoint: CheckpointCard) -> Caller:
    """A client's key, and a checkpoint to ask for."""
    return callers[Role.CLIENT]


@pytest.fixture
def stranger(app: Flask, seed: Seeder) -> Caller:
    """Another client."""
    client_id = seed.client("stranger")
    return Caller(app, seed.key(client_id), client_id)


@pytest.fixture
def favoured(app: Flask, seed: Seeder, checkpoint: CheckpointCard) -> Caller:
    """A client that may ask for any priority."""
    client_id = seed.client("favoured", max_priority=100)
    return Caller(app, seed.key(client_id), client_id)


@pytest.fixture
def picture() -> bytes:
    """A small PNG."""
    body = io.BytesIO()
    Image.new("RGB", (16, 16), "green").save(body, "PNG")
    return body.getvalue()


@pytest.fixture
def small(app_settings: Settings, seed: Seeder) -> Iterator[Caller]:
    """A caller of an application that takes uploads of at most 100 kB."""
    app = create_app(app_settings.model_copy(update={"max_upload_bytes": 100_000}))
    client_id = seed.client()
    yield Caller(app, seed.key(client_id), client_id)
    services_of(app).close()
