"""The child that decodes an upload: what breaks it, or takes it over, ends with it and reaches nothing else."""

import io
import json
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from werkzeug.test import TestResponse

from api.services import Services
from api.uploads import child
from api.uploads.child import Ending, Limits, Outcome, run_decoder
from models.settings import Settings
from tests.api.conftest import Caller
from tests.api.helpers import eventually
from tests.api.test_problems import assert_problem

TakeOver = Callable[[str], None]

LIMITS = Limits(memory_bytes=256 << 20, seconds=60, output_bytes=1 << 20)
BRIEF = Limits(memory_bytes=256 << 20, seconds=1, output_bytes=1 << 20)
HOSTILE = """
import ctypes, fcntl, json, os, resource, runpy, socket, sys, time
space = runpy.run_path({decoder!r})

def is_open(number):
    try:
        return fcntl.fcntl(number, fcntl.F_GETFD) >= 0
    except OSError:
        return False

def convert(data, wanted, max_pixels, output):
{code}

space["main"].__globals__["convert"] = convert
os._exit(space["main"](*sys.argv[1:]))
"""
"""The real program with its real limits, whose decoder somebody else has taken over."""


@pytest.fixture
def take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TakeOver:
    """`take_over(code)` has every child run this code in place of Pillow."""
    decoder = str(child.PROGRAM)

    def take(code: str) -> None:
        program = tmp_path / "hostile.py"
        program.write_text(HOSTILE.format(decoder=decoder, code=textwrap.indent(code, "    ")))
        monkeypatch.setattr(child, "PROGRAM", program)

    return take


def ended(limits: Limits = LIMITS) -> Outcome:
    return run_decoder(b"anything", "PNG", 100, limits)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("raise ValueError('whatever the file says')", Ending.BROKEN),
        ("bytearray(1 << 30)", Ending.OUT_OF_MEMORY),
        ("held = [bytearray(1 << 20) for _ in range(1024)]", Ending.OUT_OF_MEMORY),
        ("ctypes.string_at(0)", Ending.CRASHED),
        ("os.abort()", Ending.CRASHED),
        ("os._exit(3)", Ending.CRASHED),
        ("while True: output.write(b'x' * 65536)", Ending.BROKEN),
        ("open('/dev/zero')", Ending.BROKEN),
        ("socket.socket()", Ending.BROKEN),
        ("import wave", Ending.BROKEN),
    ],
)
def test_every_way_to_break_has_its_name(take_over: TakeOver, code: str, ending: Ending) -> None:
    take_over(code)
    assert ended().ending is ending


@pytest.mark.parametrize("code", ["time.sleep(3600)", "while True: pass"])
def test_a_child_that_does_not_end_is_ended(take_over: TakeOver, code: str) -> None:
    take_over(code)
    assert ended(BRIEF).ending is Ending.TIMED_OUT


def test_its_own_clock_ends_it_when_nobody_else_does(take_over: TakeOver) -> None:
    # As when the API was killed meanwhile: the parent's patience is long, the child's own time is short.
    take_over("resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass")
    assert ended().ending is Ending.TIMED_OUT


def test_it_sees_no_secret(take_over: TakeOver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # given: secrets in the environment, and a file that the API holds open
    monkeypatch.setenv("SAFELIGHT_S3_SECRET_ACCESS_KEY", "canary")
    with (tmp_path / "held").open("w"):
        # when: the decoder tells what it sees
        take_over("seen = dict(os.environ), list(filter(is_open, range(256)))\noutput.write(json.dumps(seen).encode())")
        outcome = ended()
    # then: no more than it needs
    environment, open_files = json.loads(outcome.body)
    assert set(environment) <= {"LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT"}
    assert open_files == [0, 1, 2]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("bytearray(1 << 40)", "decoder_out_of_memory"),
        ("os.kill(os.getpid(), 11)", "decoder_crashed"),
        ("output.write(b'<svg onload=alert(1)>')", "decoder_crashed"),
        (
            "output.write(b'\\x89PNG\\r\\n\\x1a\\n\\0\\0\\0\\rIHDR\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff')",
            "decoder_crashed",
        ),
        ("raise type('<script>', (Exception,), {})", "undecodable"),
    ],
)
def test_the_client_gets_a_problem_and_nothing_that_the_child_made_up(
    caller: Caller, take_over: TakeOver, picture: bytes, code: str, reason: str
) -> None:
    take_over(code)
    answer = caller.upload(picture)
    document = assert_problem(answer, 422, "validation_failed")
    assert document["errors"][0]["code"] == reason
    assert "script" not in answer.text


def test_a_decoder_that_hangs_takes_one_place_and_no_more(
    caller: Caller, api: Services, take_over: TakeOver, picture: bytes
) -> None:
    # given: as many hanging decoders as there may be
    take_over("time.sleep(3600)")
    assert api.decoders.capacity == 1
    answers: list[TestResponse] = []
    hanging = threading.Thread(target=lambda: answers.append(caller.upload(picture)))
    hanging.start()
    eventually(lambda: api.decoders.taken == 1)
    # then: the next is asked to come again, and everything else is as ever
    assert caller.upload(picture).headers["Retry-After"]
    assert caller.get("/v1/jobs").status_code == 200
    # and: the place is free again after the time that a decoder has
    hanging.join()
    document = assert_problem(answers[0], 422, "validation_failed")
    assert document["errors"][0]["code"] == "decoder_timed_out"
    assert api.decoders.taken == 0


@pytest.fixture
def app_settings(settings: Settings) -> Settings:
    """Room for one decoder, with little time and memory."""
    return settings.model_copy(update={"api_threads": 16, "upload_seconds": 3, "upload_memory_mib": 128})


def test_a_real_picture_that_needs_too_much_memory(caller: Caller) -> None:
    body = io.BytesIO()
    Image.new("RGBA", (4000, 4000)).save(body, "PNG")
    document = assert_problem(caller.upload(body.getvalue()), 422, "validation_failed")
    assert document["errors"][0]["code"] == "decoder_out_of_memory"


def test_a_real_picture_that_takes_too_long(caller: Caller) -> None:
    # A progressive JPEG may refine its pixels as often as it likes: what this one takes is minutes.
    body = io.BytesIO()
    Image.new("L", (4000, 4000), 128).save(body, "JPEG", progressive=True)
    plain = body.getvalue()
    last = plain.rindex(b"\xff\xda")
    document = assert_problem(
        caller.upload(plain[:last] + plain[last:-2] * 4000 + plain[-2:]), 422, "validation_failed"
    )
    assert document["errors"][0]["code"] == "decoder_timed_out"


def test_a_phones_picture_of_several_frames_is_its_first(caller: Caller) -> None:
    # MPO, a JPEG with others behind it, and EXIF: Pillow imports parts for both that a confined child could not load.
    body, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 8
    first, second = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (40, 20), "blue")
    first.save(body, "MPO", save_all=True, append_images=[second], exif=exif)
    upload = caller.upload(body.getvalue()).json
    assert (upload["width"], upload["height"]) == (20, 40)


def test_it_is_pillow_and_nothing_of_ours(take_over: TakeOver) -> None:
    take_over("output.write(json.dumps(sorted({name.split('.')[0] for name in sys.modules})).encode())")
    loaded = set(json.loads(ended().body))
    assert "PIL" in loaded
    assert not loaded & {"api", "models", "worker", "safelight", "flask", "sqlalchemy", "boto3", "redis"}
