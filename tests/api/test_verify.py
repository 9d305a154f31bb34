"""Whether a picture was made here: by its file, by its pixels, and what it says of itself."""

import io
import uuid

import numpy as np
import pytest
from PIL import Image

from models.jobs import Output, publish
from models.provenance import Provenance, stamp
from models.session import Sessions
from models.states import Role
from tests.api.conftest import Caller
from tests.seeding import Seeder
from worker.courier.encode import encode
from worker.courier.frames import PictureHead
from worker.quality.pixels_hash import pixels_hash

PIXELS = np.random.default_rng(7).integers(0, 256, (12, 16, 3), np.uint8)


@pytest.fixture
def made(caller: Caller, seed: Seeder, sessions: Sessions) -> tuple[str, bytes]:
    """A job, and the picture that it published."""
    from models.params import OutputFormat

    job = caller.submit()["id"]
    (claimed,) = seed.claim(max_images=1)
    told = Provenance(uuid.UUID(job), "tiny", "1234")
    file = encode(PictureHead(0, 7, 16, 12), memoryview(PIXELS).cast("B"), OutputFormat.PNG, told)
    output = Output(
        0, f"results/{job}/a1/0.png", file.sha256, "image/png", len(file.body), 16, 12, 7,
        pixels_sha256=pixels_hash(PIXELS),
    )  # fmt: skip
    with sessions.begin() as session:
        publish(session, claimed.hold, [output], {})
    return job, file.body


def again(body: bytes, kind: str, **options: object) -> bytes:
    """The same picture in a file of another kind, without what it said."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(body)) as picture:
        Image.fromarray(np.asarray(picture)).save(stream, kind, **options)
    return stream.getvalue()


def verify(caller: Caller, body: bytes, media_type: str = "image/png") -> dict[str, object]:
    answer = caller.upload(body, media_type=media_type, path="/v1/verify")
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def test_a_file_is_found_by_its_bytes_and_says_who_made_it(caller: Caller, made: tuple[str, bytes]) -> None:
    job, body = made
    found = verify(caller, body)
    assert found["made_here"] is True
    [match] = found["matches"]  # type: ignore[misc]
    assert (match["match"], match["job_id"], match["checkpoint"]) == ("file", job, "tiny")
    claim = found["claim"]
    assert (claim["job_id"], claim["revision"]) == (job, "1234")  # type: ignore[index]


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_picture_is_found_by_its_pixels_whatever_the_file(
    caller: Caller, made: tuple[str, bytes], kind: str, options: dict[str, object]
) -> None:
    found = verify(caller, again(made[1], kind, **options))
    assert [match["match"] for match in found["matches"]] == ["pixels"]  # type: ignore[attr-defined]
    assert found["claim"] is None


def test_one_pixel_more_is_another_picture_and_a_claim_proves_nothing(caller: Caller, made: tuple[str, bytes]) -> None:
    pixels = PIXELS.copy()
    pixels[0, 0, 0] ^= 1
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    forged = stamp(stream.getvalue(), "image/png", Provenance(uuid.UUID(made[0]), "tiny", "1234"))
    found = verify(caller, forged)
    assert (found["made_here"], found["matches"]) == (False, [])
    assert found["claim"]["job_id"] == made[0]  # type: ignore[index]


def test_others_learn_that_it_was_made_here_and_not_by_whom(
    stranger: Caller, callers: dict[Role, Caller], made: tuple[str, bytes]
) -> None:
    sha256 = pixels_hash(PIXELS)
    [theirs] = stranger.get(f"/v1/verify?sha256={sha256.upper()}").json["matches"]
    assert (theirs["match"], theirs["job_id"], theirs["artifact_id"]) == ("pixels", None, None)
    [seen] = callers[Role.VIEWER].get(f"/v1/verify?sha256={sha256}").json["matches"]
    assert seen["job_id"] == made[0]


def test_what_is_no_hash_or_no_picture_is_refused_or_unknown(caller: Caller, made: tuple[str, bytes]) -> None:
    assert caller.get("/v1/verify?sha256=abc").status_code == 422
    assert caller.get(f"/v1/verify?sha256={'0' * 64}").json == {"made_here": False, "matches": [], "claim": None}
    assert verify(caller, b"GIF89a and nothing more", "image/gif")["made_here"] is False
    broken = made[1][:60]
    assert caller.upload(broken, path="/v1/verify").status_code == 422
    assert caller.upload(b"PK", media_type="application/zip", path="/v1/verify").status_code == 415
