"""Prompts with words that the server or the client's admin does not allow."""

from typing import Any

from models.clients import Client
from models.settings import Settings
from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.seeding import Seeder


def named(caller: Caller, seed: Seeder) -> str:
    """What the caller's client is called."""
    with seed.sessions() as session:
        return session.get_one(Client, caller.client_id).name


def ask(caller: Caller, params: dict[str, Any], **more: Any) -> Any:
    return caller.post("/v1/jobs", {"task": "text_to_image", "params": params, **more})


def test_an_admin_blocks_words_for_a_client(
    caller: Caller, stranger: Caller, callers: dict[Role, Caller], seed: Seeder
) -> None:
    """They are refused by field, and neither the word nor the prompt is repeated."""
    name = named(caller, seed)
    answer = callers[Role.ADMIN]("PATCH", f"/v1/clients/{name}", json={"blocked_words": ["gun*", "血"]})
    assert (answer.status_code, answer.json["blocked_words"]) == (200, ["gun*", "血"])

    refused = ask(caller, {"prompt": "a secret gunship", "negative_prompt": "血"})
    assert refused.status_code == 422
    assert {(entry["pointer"], entry["code"]) for entry in refused.json["errors"]} == {
        ("/params/prompt", "prompt_not_allowed"),
        ("/params/negative_prompt", "prompt_not_allowed"),
    }
    assert "gun" not in refused.text
    assert "secret" not in refused.text
    assert ask(stranger, {"prompt": "a gunship"}).status_code == 202
    assert caller.post("/v1/jobs", PROMPT).status_code == 202

    callers[Role.ADMIN]("PATCH", f"/v1/clients/{name}", json={"blocked_words": []})
    assert ask(caller, {"prompt": "a gunship"}).status_code == 202


def test_steps_of_a_chain_are_read_too(caller: Caller, callers: dict[Role, Caller], seed: Seeder) -> None:
    seed.checkpoint("editor", tasks=("image_to_image",))
    name = named(caller, seed)
    callers[Role.ADMIN]("PATCH", f"/v1/clients/{name}", json={"blocked_words": ["gun"]})
    step = {"task": "image_to_image", "params": {"prompt": "a gun"}}
    refused = ask(caller, {"prompt": "a cat"}, then=[step])
    assert refused.json["errors"][0]["pointer"] == "/then/0/params/prompt"


def test_a_threshold_is_set_and_turned_off_by_null(caller: Caller, callers: dict[Role, Caller], seed: Seeder) -> None:
    name = named(caller, seed)
    admin = callers[Role.ADMIN]

    def change(**body: Any) -> Any:
        return admin("PATCH", f"/v1/clients/{name}", json=body)

    assert change(safety_threshold=0.8).json["safety_threshold"] == 0.8
    assert change(weight=2.0, max_priority=None).json["safety_threshold"] == 0.8
    assert change(safety_threshold=None).json["safety_threshold"] is None
    assert change(safety_threshold=1.5).status_code == 422
    assert caller("PATCH", f"/v1/clients/{name}", json={"safety_threshold": None}).status_code == 403


def test_words_of_the_settings_hold_for_everybody(app_settings: Settings, caller: Caller) -> None:
    from api.services import services_of

    services = services_of(caller.app)
    services.settings = app_settings.model_copy(update={"blocked_words": ("sword",)})
    assert ask(caller, {"prompt": "a Sword"}).status_code == 422
