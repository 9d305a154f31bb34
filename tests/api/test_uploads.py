"""Uploads: what is taken, what becomes of it, and the files that are made to break a decoder."""

import io
import struct
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.test_problems import assert_problem


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    body = io.BytesIO()
    image.save(body, name, **options)
    return body.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_says(width: int, height: int) -> bytes:
    """A PNG whose header is a lie: a few bytes that claim many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def stored(caller: Caller, upload: dict[str, Any]) -> Image.Image:
    answer = httpx.get(caller.get(upload["url"]).headers["Location"])
    assert answer.headers["content-type"] == "image/png"
    assert len(answer.content) == upload["size_bytes"]
    return Image.open(io.BytesIO(answer.content))


def test_a_picture_is_stored_as_png(caller: Caller, subtests: pytest.Subtests) -> None:
    for name in ("PNG", "JPEG", "WEBP"):
        with subtests.test(name=name):
            _check_stored(caller, name)


def _check_stored(caller: Caller, name: str) -> None:
    answer = caller.upload(encoded(Image.new("RGB", (30, 20), "red"), name), filename="x.exe")
    assert answer.status_code == 201, answer.text
    upload = answer.json
    assert answer.headers["Location"] == f"/v1/uploads/{upload['id']}"
    assert (upload["width"], upload["height"], upload["media_type"]) == (30, 20, "image/png")
    red, green, blue = stored(caller, upload).convert("RGB").getpixel((5, 5))
    assert red > 240
    assert max(green, blue) < 20
    assert caller.get(answer.headers["Location"]).json == upload


def test_the_picture_is_turned_upright_and_its_metadata_is_gone(caller: Caller) -> None:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown correctly after a quarter turn clockwise
    exif[0x010F] = "Secret Camera"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    data = encoded(image, "JPEG", exif=exif, quality=95, icc_profile=b"profile" * 50, comment=b"Secret comment")
    assert b"Secret" in data
    upload = caller.upload(data).json
    assert (upload["width"], upload["height"]) == (20, 40)
    picture = stored(caller, upload)
    assert picture.getpixel((10, 5))[0] > 200
    assert picture.getpixel((10, 35))[2] > 200
    assert not picture.getexif()
    assert not picture.info
    body = httpx.get(caller.get(upload["url"]).headers["Location"]).content
    assert b"Secret" not in body


def test_every_mode_becomes_rgb_or_rgba(caller: Caller, subtests: pytest.Subtests) -> None:
    modes = {"L": "RGB", "P": "RGB", "RGBA": "RGBA", "LA": "RGBA", "1": "RGB", "I;16": "RGB"}
    for mode, kept in modes.items():
        with subtests.test(mode=mode):
            upload = caller.upload(encoded(Image.new(mode, (8, 8)), "PNG")).json
            assert stored(caller, upload).mode == kept
    # Grey of 16 bits keeps its tones.
    upload = caller.upload(encoded(Image.new("I;16", (8, 8), 32768), "PNG")).json
    assert stored(caller, upload).getpixel((0, 0)) == (127, 127, 127)

    upload = caller.upload(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")).json
    assert stored(caller, upload).getpixel((4, 4)) == (255, 255, 255)


def test_only_three_formats_are_taken_whatever_they_are_called(caller: Caller) -> None:
    gif = encoded(Image.new("RGB", (8, 8)), "GIF")
    bmp = encoded(Image.new("RGB", (8, 8)), "BMP")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><script>alert(1)</script></svg>'
    for data in (gif, bmp, svg, b"", b"\x89PNG", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff" + b"\0" * 40, b"%PDF-1.7"):
        assert_problem(caller.upload(data, filename="x.png"), 415, "unsupported_media_type")


def test_bombs_are_refused_by_their_header(caller: Caller) -> None:
    lossless = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + struct.pack("<I", 16382 | 16382 << 14) + b"\0" * 8
    extended = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xfe\x3f\0" * 2 + b"\0" * 8
    jpeg = b"\xff\xd8\xff\xe0\x00\x04\0\0\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0"
    for data in (png_that_says(100_000, 100_000), png_that_says(2**31 - 1, 2**31 - 1), lossless, extended, jpeg):
        assert_problem(caller.upload(data), 413, "too_large")


def test_broken_pictures_are_422(caller: Caller) -> None:
    whole = encoded(Image.effect_noise((64, 64), 50), "PNG")
    animated = encoded(Image.effect_noise((64, 64), 50).convert("RGB"), "WEBP", lossless=True)
    for data in (whole[: len(whole) // 2], png_that_says(64, 64), png_that_says(0, 5), animated[: len(animated) // 2]):
        document = assert_problem(caller.upload(data), 422, "validation_failed")
        assert document["errors"][0]["code"] == "undecodable"


def test_the_form_is_checked(caller: Caller, picture: bytes) -> None:
    assert_problem(caller.post("/v1/uploads", data=picture, content_type="image/png"), 415, "unsupported_media_type")
    assert_problem(caller.post("/v1/uploads", data={"other": "x"}), 415, "unsupported_media_type")
    assert_problem(caller.upload(picture, part="picture"), 422, "validation_failed")
    two = {"file": [(io.BytesIO(picture), "a"), (io.BytesIO(picture), "b")]}
    assert_problem(caller.post("/v1/uploads", data=two), 422, "validation_failed")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # werkzeug leaves the parts to the GC
def test_a_form_of_many_parts_is_refused(caller: Caller) -> None:
    many = {f"f{n}": (io.BytesIO(b"x"), "a") for n in range(30)}
    assert_problem(caller.post("/v1/uploads", data=many), 413, "too_large")


def test_an_upload_that_is_too_large_is_413(small: Caller, picture: bytes) -> None:
    assert small.upload(picture).status_code == 201
    noise = encoded(Image.effect_noise((600, 600), 90), "PNG")
    assert len(noise) > 200_000
    assert_problem(small.upload(noise), 413, "too_large")


def test_deleting_takes_the_object_too(caller: Caller, storage: Storage, picture: bytes) -> None:
    before = {blob.key for blob in storage.listing("uploads/")}
    upload = caller.upload(picture).json
    assert {blob.key for blob in storage.listing("uploads/")} - before
    assert caller.delete(f"/v1/uploads/{upload['id']}").status_code == 204
    assert {blob.key for blob in storage.listing("uploads/")} == before
    assert caller.get(f"/v1/uploads/{upload['id']}").status_code == 404


def test_a_picture_may_be_larger_than_a_body_of_json(caller: Caller) -> None:
    noise = encoded(Image.effect_noise((1200, 1200), 90), "PNG")
    assert len(noise) > 1 << 20
    assert caller.upload(noise).status_code == 201
