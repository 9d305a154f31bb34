"""`safelight submit`: what is sent, what is shown, and how it ends."""

import hashlib
from pathlib import Path

import pytest

from tests.cli.conftest import Run, document
from tests.client.fake import JOB_ID, SHORT, Answer, FakeApi, artifact, job, problem

JOBS, PATH = "/v1/jobs", f"/v1/jobs/{JOB_ID}"
PICTURE = b"png"
RAW = artifact(hashlib.sha256(PICTURE).hexdigest())


@pytest.fixture
def happy(fake: FakeApi) -> FakeApi:
    """A job that is queued, runs, and succeeds with one picture."""
    running = job("running", progress={"phase": "running", "step": 3, "total_steps": 20, "preview": 0})
    fake.script("POST", JOBS, Answer(202, job()))
    fake.script("GET", PATH, Answer(json=running), Answer(json=job("succeeded", artifacts=[RAW])))
    fake.script("GET", f"/v1/artifacts/{RAW['id']}/content", Answer(body=PICTURE))
    return fake


def test_every_option_has_its_place_in_the_body(happy: FakeApi, run: Run) -> None:
    options = "--checkpoint emoji --size 64x48 --steps 9 --guidance 2.5 --seed 7 -n 3 --negative dog --scheduler ddim"
    more = "--priority 4 --bulk --tag mine --deadline 15m --reproducible --no-wait"
    extra = ["--param", "clip_skip=2", "-p", "style=pop art", "-p", 'loras=["a"]']

    result = run("submit", "a cat", *options.split(), *more.split(), *extra)

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{JOB_ID}\n"
    assert happy.seen[0].headers["authorization"] == "Bearer sl_0123456789ab_secret"
    assert happy.seen[0].json == {
        "task": "text_to_image",
        "checkpoint": "emoji",
        "priority": 4,
        "lane": "bulk",
        "tag": "mine",
        "deadline_seconds": 900,
        "reproducible": True,
        "params": {
            "prompt": "a cat",
            "width": 64,
            "height": 48,
            "num_inference_steps": 9,
            "guidance_scale": 2.5,
            "seed": 7,
            "num_images": 3,
            "negative_prompt": "dog",
            "scheduler": "ddim",
            "clip_skip": 2,
            "style": "pop art",
            "loras": ["a"],
        },
    }


def test_a_class_tells_the_task(happy: FakeApi, run: Run) -> None:
    run("submit", "--class", "cat", "--no-wait")
    run("submit", "--class", "3", "--no-wait")

    assert [seen.json["params"] for seen in happy.seen] == [{"class_label": "cat"}, {"class_label": 3}]
    assert happy.seen[0].json["task"] == "class_to_image"


def test_waiting_shows_the_way_on_stderr_and_the_files_on_stdout(happy: FakeApi, run: Run, tmp_path: Path) -> None:
    result = run("submit", "a cat", "-o", "pictures")

    assert result.exit_code == 0, result.output
    assert result.stdout == f"pictures/{SHORT}-0.png\n"
    assert (tmp_path / "pictures" / f"{SHORT}-0.png").read_bytes() == PICTURE
    assert "a cat: queued, 2 ahead, done in about 3.5 s" in result.stderr
    assert "a cat: running 3/20" in result.stderr
    assert "a cat: succeeded, 1 picture" in result.stderr


def test_json_is_one_document_even_when_waiting(happy: FakeApi, run: Run) -> None:
    result = run("submit", "a cat", "-o", "cat.png", "--json")

    assert document(result)["state"] == "succeeded"
    assert document(result)["files"] == ["cat.png"]
    assert result.stderr == ""


def test_a_failed_job_is_exit_code_1_and_says_why(happy: FakeApi, run: Run) -> None:
    failed = job("failed", error={"code": "out_of_memory", "detail": "The device is too small."})
    happy.script("GET", PATH, Answer(json=failed))

    result = run("submit", "a cat")

    assert result.exit_code == 1
    assert "The device is too small. [out_of_memory]" in result.stderr
    assert f"safelight retry {JOB_ID}" in result.stderr


def test_a_refusal_names_each_field(fake: FakeApi, run: Run) -> None:
    entries = [
        {"pointer": "/params/width", "code": "size_not_allowed", "message": "64 pixels only."},
        {"pointer": "/params/num_inference_steps", "code": "too_many", "message": "At most 50 steps."},
    ]
    fake.script("POST", JOBS, problem(422, "validation_failed", "two fields", entries))

    result = run("submit", "a cat", "--size", "63")
    as_json = run("submit", "a cat", "--size", "63", "--json")

    assert result.exit_code == as_json.exit_code == 1
    assert "  /params/width: 64 pixels only.\n" in result.stderr
    assert "  /params/num_inference_steps: At most 50 steps.\n" in result.stderr
    assert document(as_json)["code"] == "validation_failed"
    assert document(as_json)["errors"] == entries


def test_a_dry_run_queues_nothing(fake: FakeApi, run: Run) -> None:
    price = {"task": "text_to_image", "cost": 60, "servable": False, "reason": "No live worker."}
    fake.script("POST", JOBS, Answer(200, price))

    result = run("submit", "a cat", "--dry-run")

    assert fake.seen[0].query == {"dry_run": "true"}
    assert "reason    No live worker." in result.stdout
    assert document(run("submit", "a cat", "--dry-run", "--json")) == price


@pytest.mark.parametrize(
    "wrong",
    [
        ["submit"],
        ["submit", "--task", "class_to_image"],
        ["submit", "a cat", "--size", "big"],
        ["submit", "a cat", "--deadline", "soon"],
        ["submit", "a cat", "--param", "novalue"],
        ["submit", "a cat", "--no-wait", "-o", "x"],
        ["submit", "a cat", "--steps", "many"],
        ["submit", "a cat", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_sends_nothing(fake: FakeApi, run: Run, wrong: list[str]) -> None:
    result = run(*wrong)

    assert result.exit_code == 2, result.output
    assert fake.seen == []


def test_inputs_are_files_that_are_sent_first_or_names_of_what_is_there(happy: FakeApi, run: Run) -> None:
    Path("cat.png").write_bytes(PICTURE)
    upload = {"id": "aa", "media_type": "image/png", "size_bytes": 1, "sha256": "", "width": 8, "height": 8}
    happy.script("POST", "/v1/uploads", Answer(201, upload))
    then = ["--then", "upscale scale=4", "--then", "style_transfer style='the scream'"]

    result = run("submit", "a fox", "-i", "cat.png", "--input", "mask=job:bb:2", *then, "--embed-prompt", "--no-wait")

    assert result.exit_code == 0, result.output
    body = happy.seen[-1].json
    assert (body["task"], body["embed_prompt"]) == ("inpaint", True)
    assert body["params"] == {"prompt": "a fox", "image": {"upload": "aa"}, "mask": {"job": "bb", "index": 2}}
    assert body["then"] == [
        {"task": "upscale", "params": {"scale": 4}},
        {"task": "style_transfer", "params": {"style": "the scream"}},
    ]


def test_texts_and_figures_are_printed(fake: FakeApi, run: Run) -> None:
    ended = job("succeeded", task="caption", result={"texts": ["a cat"], "images": 0, "attempt": 1, "score": 0.5})
    fake.script("POST", JOBS, Answer(202, job()))
    fake.script("GET", PATH, Answer(json=ended))
    assert run("submit", "a cat", "-t", "expand_prompt").stdout == "a cat\nscore  0.5\n"


def test_a_picture_alone_does_not_say_what_is_wanted(happy: FakeApi, run: Run) -> None:
    Path("cat.png").write_bytes(PICTURE)
    assert run("submit", "-i", "cat.png").exit_code == 2
    assert run("submit", "a fox", "-i", "dog.png").exit_code == 2
    assert happy.seen == []
