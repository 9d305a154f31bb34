"""Keys, checkpoints and tasks."""

from tests.cli.conftest import Run, document
from tests.client.fake import Answer, FakeApi


def test_a_new_key_is_alone_on_stdout(fake: FakeApi, run: Run) -> None:
    fake.script("POST", "/v1/keys", Answer(201, {"id": "0123456789ab", "key": "sl_0123456789ab_x"}))

    result = run("keys", "create", "acme", "--role", "operator", "--name", "ci", "--expires-in-days", "30")

    assert result.stdout == "sl_0123456789ab_x\n"
    assert fake.seen[0].json == {"client": "acme", "role": "operator", "name": "ci", "expires_in_days": 30}


def test_keys_are_listed_and_revoked(fake: FakeApi, run: Run) -> None:
    key = {"id": "k1", "client": "acme", "role": "client", "name": "", "created_at": "2026-11-21T22:54:00+00:00"}
    fake.script("GET", "/v1/keys", Answer(json={"items": [{**key, "expires_at": None, "revoked_at": None}]}))
    fake.script("DELETE", "/v1/keys/k1", Answer(204))

    assert "acme" in run("keys", "ls").stdout
    assert document(run("keys", "ls", "--json"))["items"][0]["id"] == "k1"
    assert run("keys", "revoke", "k1").stdout == "Key k1 is revoked.\n"


def test_checkpoints_show_what_they_can(fake: FakeApi, run: Run) -> None:
    profile = {"default_width": 64, "default_height": 64, "default_steps": 20, "max_images": 8}
    names = [f"class{number}" for number in range(30)]
    card = {"name": "emoji", "tasks": ["text_to_image"], "pool": "gpu", "revision": "ab" * 32}
    fake.script("GET", "/v1/checkpoints", Answer(json=[{**card, "profile": {**profile, "class_names": names}}]))
    fake.script("POST", "/v1/checkpoints", Answer(201, card))

    listed = run("checkpoints", "ls").stdout

    assert "emoji" in listed
    assert "64x64" in listed
    assert "(30)" in listed
    assert run("checkpoints", "add", "/models/emoji", "--pool", "gpu", "--base", "sd15").stdout.startswith(
        "emoji @ abababababab"
    )
    assert fake.seen[-1].json == {"source": "local", "location": "/models/emoji", "pool": "gpu", "base": "sd15"}


def test_tasks_show_their_params(fake: FakeApi, run: Run) -> None:
    schema = {
        "properties": {"prompt": {"description": "What to draw."}, "num_images": {"default": 1}},
        "required": ["prompt"],
    }
    fake.script("GET", "/v1/tasks", Answer(json={"items": [{"name": "text_to_image", "params": schema}]}))

    listed = run("tasks").stdout

    assert "What to draw." in listed
    assert "required" in listed
    assert run("tasks", "nonsense").exit_code == 2
