# ruff: noqa: RUF001 - Chinese text has full-width commas
"""The chain of the README, on real processes and real weights: words, then a picture of four, then a larger one."""

import io
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from models.checkpoints.shipped import read_starter
from models.states import JobState, Pool
from models.storage import Storage
from tests.faults.test_spine import start_api
from tests.pipelines.drawn import STARTERS
from tests.seeding import Seeder
from tests.worker.conftest import Crew

CAT = "一只坐在草地上的橘猫"
LOADING_SECONDS = 240.0
"""Of three checkpoints and their libraries, on a machine that does other things too."""


@pytest.mark.slow
def test_one_request_is_one_large_picture_at_the_end(crew: Crew, seed: Seeder, storage: Storage) -> None:
    # Given an API, a worker for each pool, and what ships with the product
    for name in ("emoji-64", "emoji-64-clip", "prompt-grammar", "real-esrgan-fast", "tools"):
        seed.register(read_starter(STARTERS / name))
    _, url = start_api(crew)
    crew.worker(pool=Pool.GPU)
    crew.worker(pool=Pool.CPU)
    headers = {"Authorization": f"Bearer {seed.key(seed.client())}"}

    def get(path: str) -> Any:
        return httpx.get(f"{url}{path}", headers=headers, timeout=30).raise_for_status().json()

    # When all is asked for at once
    body = {
        "task": "expand_prompt",
        "params": {"prompt": f"{CAT}，{{立体|3d}}风格", "seed": 1},
        "then": [
            {"task": "text_to_image", "params": {"best_of": 4, "num_inference_steps": 8, "seed": 2}},
            {"task": "upscale", "params": {"scale": 4}},
        ],
    }
    answer = httpx.post(f"{url}/v1/jobs", headers=headers, json=body, timeout=30)
    assert answer.status_code == 202, answer.text
    last = answer.json()
    chain = {job["task"]: job["id"] for job in get("/v1/jobs")["items"] if job["chain_id"] == last["chain_id"]}
    assert crew.finish(*map(UUID, chain.values()), seconds=LOADING_SECONDS) == [JobState.SUCCEEDED] * 3

    # Then the words led to one of four pictures, and that one is four times as large
    words, drawn, large = (get(f"/v1/jobs/{chain[task]}") for task in ("expand_prompt", "text_to_image", "upscale"))
    assert large["id"] == last["id"]
    (text,) = words["result"]["texts"]
    assert text in {f"{CAT}，立体风格", f"{CAT}，3d风格"}
    assert words["result"]["method"] == "grammar"
    (chosen,) = drawn["result"]["outputs"]
    assert (chosen["made"], chosen["drawn"] in range(4)) == (4, True)
    (artifact,) = large["artifacts"]
    assert (artifact["width"], artifact["height"]) == (256, 256)
    content = httpx.get(
        f"{url}/v1/artifacts/{artifact['id']}/content", headers=headers, timeout=30, follow_redirects=True
    )
    with Image.open(io.BytesIO(content.content)) as picture:
        assert picture.size == (256, 256)

    # And what came out is looked at: scored and named, by the CLIP that chose it
    jobs = [
        httpx.post(f"{url}/v1/jobs", headers=headers, json={"task": task, "params": params}, timeout=30).json()["id"]
        for task, params in (
            ("score", {"image": {"job": chain["upscale"]}, "descriptions": [CAT, "a dog on a blue background"]}),
            ("caption", {"image": {"job": chain["upscale"]}, "language": "zh", "num_captions": 2}),
        )
    ]
    assert crew.finish(*map(UUID, jobs), seconds=LOADING_SECONDS) == [JobState.SUCCEEDED] * 2
    scored, named = (get(f"/v1/jobs/{job}")["result"] for job in jobs)
    right, wrong = scored["scores"]["text_image"]
    assert right["share"] > 0.9 > wrong["share"]
    assert any("猫" in caption for caption in named["texts"])
