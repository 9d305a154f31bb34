"""Requests whose jobs take what others made: references, chains, and what is wrong with them, by pointer."""

import io
import uuid
from typing import Any

import pytest
from PIL import Image

from models.checkpoints import Source
from models.params import CheckpointProfile
from models.session import Sessions
from models.states import Pool
from models.storage import Storage
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import succeed
from tests.seeding import PROFILE, Seeder

TASKS = ("text_to_image", "image_to_image", "inpaint")


@pytest.fixture(autouse=True)
def upscaler(seed: Seeder) -> None:
    """Beside the `tiny` of every API test."""
    profile = CheckpointProfile(scales=(2, 4), reads_prompt=False, max_input_pixels=64 * 64)
    seed.checkpoint("up", tasks=("upscale",), family="real_esrgan", pool=Pool.CPU, profile=profile)
    seed.checkpoint("editor", tasks=TASKS, profile=PROFILE, source=Source.LOCAL, location="elsewhere")


def picture(side: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(stream, "PNG")
    return stream.getvalue()


def upload(caller: Caller, side: int = 16) -> str:
    answer = caller.upload(picture(side))
    assert answer.status_code == 201, answer.text
    return str((answer.json or {})["id"])


def refused(caller: Caller, task: str, params: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    answer = caller.post("/v1/jobs", {"task": task, "params": params, **more})
    assert answer.status_code == 422, answer.text
    return [(entry["pointer"], entry["code"]) for entry in (answer.json or {})["errors"]]


def test_an_upload_is_taken_by_its_id(caller: Caller) -> None:
    answer = caller.post("/v1/jobs", {"task": "upscale", "params": {"image": {"upload": upload(caller)}}})
    assert answer.status_code == 202, answer.text
    assert (answer.json["state"], answer.json["params"]["scale"], answer.json["needs"]) == ("queued", 4, [])


def test_another_clients_things_are_as_absent_as_those_that_never_were(
    caller: Caller, stranger: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    theirs, nothing = upload(stranger), str(uuid.uuid4())
    job = stranger.submit()["id"]
    succeed(seed, sessions, storage)
    artifact = stranger.get(f"/v1/jobs/{job}").json["artifacts"][0]["id"]
    for kind, ids in (("upload", (theirs, nothing)), ("job", (job, nothing)), ("artifact", (artifact, nothing))):
        for found in ids:
            assert refused(caller, "upscale", {"image": {kind: found}}) == [("/params/image", f"{kind}_unknown")]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, ("/params/image/upload", "value_error")),
        ({"upload": str(uuid.uuid4()), "job": str(uuid.uuid4())}, ("/params/image/upload", "value_error")),
        ({"upload": str(uuid.uuid4()), "index": 1}, ("/params/image/index", "value_error")),
        ({"previous": True}, ("/params/image", "no_previous")),
        ({"url": "https://example.com/cat.png"}, ("/params/image/url", "extra_forbidden")),
    ],
)
def test_a_reference_that_is_none_says_why(caller: Caller, image: Any, expected: tuple[str, str]) -> None:
    assert refused(caller, "upscale", {"image": image})[0] == expected


def test_sizes_are_checked_before_anything_is_queued(caller: Caller) -> None:
    image, mask = {"upload": upload(caller, 32)}, {"upload": upload(caller, 16)}
    given = {"prompt": "a cat", "image": image, "mask": mask}
    assert refused(caller, "inpaint", given) == [("/params/mask", "size_differs")]
    assert refused(caller, "upscale", {"image": {"upload": upload(caller, 65)}}) == [("/params/image", "too_large")]


def test_a_job_waits_for_the_one_that_it_names(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    first = caller.submit()["id"]
    second = caller.post("/v1/jobs", {"task": "upscale", "params": {"image": {"job": first}}}).json
    assert (second["state"], second["needs"], second["queue"]) == ("waiting", [first], None)
    assert caller.get("/v1/jobs?state=waiting").json["items"][0]["id"] == second["id"]
    succeed(seed, sessions, storage)
    assert caller.get(f"/v1/jobs/{second['id']}").json["state"] == "queued"


def test_an_output_that_will_never_be_is_told_at_once(caller: Caller) -> None:
    job = caller.submit()["id"]
    assert refused(caller, "upscale", {"image": {"job": job, "index": 1}}) == [("/params/image", "no_such_output")]
    assert refused(caller, "text_to_image", {"prompt_from": {"job": job}}) == [("/params/prompt_from", "wrong_kind")]
    caller.post(f"/v1/jobs/{job}/cancel")
    assert refused(caller, "upscale", {"image": {"job": job}}) == [("/params/image", "job_without_output")]


def test_a_chain_is_one_request_and_answers_with_its_last_job(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    steps = [{"task": "image_to_image", "params": {"prompt": "a fox"}}, {"task": "upscale", "params": {"scale": 2}}]
    last = caller.post("/v1/jobs", {**PROMPT, "then": steps, "tag": "mine"}).json
    items = caller.get("/v1/jobs").json["items"]
    assert [item["task"] for item in items] == ["upscale", "image_to_image", "text_to_image"]
    assert [item["state"] for item in items] == ["waiting", "waiting", "queued"]
    assert {item["tag"] for item in items} == {"mine"}
    assert {item["chain_id"] for item in items} == {items[2]["id"]}
    assert (last["id"], last["task"], last["chain_id"]) == (items[0]["id"], "upscale", items[2]["id"])
    assert (items[0]["needs"], items[1]["needs"]) == ([items[1]["id"]], [items[2]["id"]])
    succeed(seed, sessions, storage)
    succeed(seed, sessions, storage)
    assert caller.get(f"/v1/jobs/{last['id']}").json["state"] == "queued"


def test_a_chain_with_a_key_is_made_once(caller: Caller) -> None:
    body = {**PROMPT, "then": [{"task": "upscale"}]}
    headers = {"Idempotency-Key": "once"}
    first, again = (caller.post("/v1/jobs", body, headers=headers) for _ in range(2))
    assert (first.json["id"], again.headers["Idempotency-Replayed"]) == (again.json["id"], "true")
    assert len(caller.get("/v1/jobs").json["items"]) == 2


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"task": "upscale", "params": {"scale": 3}}, ("/then/0/params/scale", "scale_not_allowed")),
        ({"task": "upscale", "params": {"colour": 1}}, ("/then/0/params/colour", "extra_forbidden")),
        ({"task": "upscale", "checkpoint": "nobody"}, ("/then/0/checkpoint", "checkpoint_unknown")),
        ({"task": "upscale", "params": {"image": {"previous": True, "index": 1}}}, ("/then/0/params/image", None)),
        ({"task": "text_to_image", "params": {"prompt": "a dog"}}, ("/then/0/params", "not_chained")),
        ({"task": "text_to_image"}, ("/then/0/params/prompt_from", "wrong_kind")),
        ({"task": "paint"}, ("/then/0/task", "unknown_task")),
    ],
)
def test_what_is_wrong_with_a_step_is_told_by_its_number(
    caller: Caller, step: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    pointer, code = refused(caller, "text_to_image", {"prompt": "a cat"}, then=[step])[0]
    assert (pointer, code if expected[1] else None) == expected
    assert caller.get("/v1/jobs").json["items"] == []


def test_a_chain_has_a_price(caller: Caller) -> None:
    alone = caller.post("/v1/jobs?dry_run=true", PROMPT).json
    chained = caller.post("/v1/jobs?dry_run=true", {**PROMPT, "then": [{"task": "upscale"}]}).json
    assert (chained["task"], chained["cost"]) == ("upscale", alone["cost"] + 1)
    assert caller.get("/v1/jobs").json["items"] == []


def test_a_canceled_step_takes_those_behind_it_along_and_on_request_those_before(caller: Caller) -> None:
    body = {**PROMPT, "then": [{"task": "image_to_image", "params": {"prompt": "a fox"}}, {"task": "upscale"}]}
    last = caller.post("/v1/jobs", body).json["id"]
    middle = caller.get(f"/v1/jobs/{last}").json["needs"][0]
    assert caller.post(f"/v1/jobs/{middle}/cancel").status_code == 200
    assert [item["state"] for item in caller.get("/v1/jobs").json["items"]] == ["canceled", "canceled", "queued"]

    last = caller.post("/v1/jobs", body).json["id"]
    assert caller.post(f"/v1/jobs/{last}/cancel?chain=true").json["state"] == "canceled"
    assert {item["state"] for item in caller.get("/v1/jobs").json["items"][:3]} == {"canceled"}


def test_what_a_live_job_takes_is_not_deleted(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    first = caller.submit()["id"]
    second = caller.post("/v1/jobs", {"task": "upscale", "params": {"image": {"job": first}}}).json["id"]
    succeed(seed, sessions, storage)
    assert caller.delete(f"/v1/jobs/{first}").status_code == 409
    caller.post(f"/v1/jobs/{second}/cancel")
    assert caller.delete(f"/v1/jobs/{first}").status_code == 204


def test_the_oldest_checkpoint_that_can_do_it_is_taken(caller: Caller, seed: Seeder) -> None:
    """Given styles by words and by name, each request goes where it is understood."""
    styles = CheckpointProfile(style_names=("sea", "fire"), reads_prompt=False, takes_style_image=True)
    seed.checkpoint("by-words", tasks=("style_transfer",))
    seed.checkpoint("by-name", tasks=("style_transfer",), profile=styles)
    image = {"upload": upload(caller)}
    chosen = [
        caller.post("/v1/jobs", {"task": "style_transfer", "params": {"image": image, **style}}).json
        for style in ({"prompt": "like the sea"}, {"style": "sea"}, {"style_image": image})
    ]
    assert [job["checkpoint"]["name"] for job in chosen] == ["by-words", "by-name", "by-name"]
    assert refused(caller, "style_transfer", {"image": image, "style": "air"}) == [("/params/style", "style_unknown")]
