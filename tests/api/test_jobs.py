"""POST, GET and the changes of a job."""

import uuid
from typing import Any

from api.services import Services
from models.jobs import CheckpointCard, Output, publish
from models.progress import Progress, ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.states import JobState, Role
from models.storage import Storage
from tests.api.conftest import PROMPT, Caller
from tests.seeding import Seeder


def succeed(seed: Seeder, sessions: Sessions, storage: Storage, images: int = 1) -> uuid.UUID:
    """Run the head of the queue to its end, and say which job it was."""
    (claimed,) = seed.claim(max_images=1)
    outputs = []
    for index in range(images):
        key = f"results/{claimed.job_id}/a1/{index}-{uuid.uuid4().hex}.png"
        storage.put(key, b"picture", "image/png")
        outputs.append(Output(index, key, uuid.uuid4().hex, "image/png", 7, 64, 64, 7))
    with sessions.begin() as session:
        publish(session, claimed.hold, outputs, {"run_seconds": 0.5})
    return claimed.job_id


def test_a_submitted_job_is_queued_and_says_where_it_stands(caller: Caller, seed: Seeder) -> None:
    caller.submit()
    answer = caller.post("/v1/jobs", {**PROMPT, "tag": "demo", "priority": 0, "retention_days": 3})
    assert answer.status_code == 202
    body = answer.json
    assert body is not None
    assert answer.headers["Location"] == body["urls"]["self"] == f"/v1/jobs/{body['id']}"
    assert body["state"] == "queued"
    assert body["queue"] == {"position": 1, "position_capped": False, "eta_seconds": None}
    assert body["params"] == {
        "num_images": 1, "seed": 7, "output_format": "png", "prompt": "a cat", "negative_prompt": "", "width": 64,
        "height": 64, "num_inference_steps": 4, "guidance_scale": 7.5, "scheduler": "default",
    }  # fmt: skip
    assert (body["tag"], body["lane"], body["checkpoint"]["name"]) == ("demo", "interactive", "tiny")
    assert "attempts" not in body
    assert seed.read(uuid.UUID(body["id"])).retention_seconds == 3 * 86_400


def test_reading_a_job_shows_attempts_artifacts_and_times(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    job = caller.submit()
    succeed(seed, sessions, storage)
    body = caller.get(job["urls"]["self"]).json
    assert body is not None
    assert (body["state"], body["queue"], body["progress"], body["error"]) == ("succeeded", None, None, None)
    (attempt,) = body["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["measures"]) == (1, "succeeded", {"run_seconds": 0.5})
    (artifact,) = body["artifacts"]
    assert artifact["url"] == f"/v1/artifacts/{artifact['id']}/content"
    assert body["finished_at"] is not None
    assert body["results_expire_at"] > body["finished_at"]


def test_the_result_redirects_to_the_bytes(caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    import httpx

    job = caller.submit()
    early = caller.get(job["urls"]["result"])
    assert (early.status_code, early.json["code"]) == (409, "conflict")  # type: ignore[index]
    succeed(seed, sessions, storage)
    answer = caller.get(job["urls"]["result"])
    assert answer.status_code == 302
    picture = httpx.get(answer.headers["Location"])
    assert (picture.content, picture.headers["content-type"]) == (b"picture", "image/png")
    artifact = caller.get(job["urls"]["self"]).json["artifacts"][0]  # type: ignore[index]
    assert httpx.get(caller.get(artifact["url"]).headers["Location"]).content == b"picture"
    assert caller.get(f"/v1/artifacts/{artifact['id']}").json["job_id"] == job["id"]  # type: ignore[index]
