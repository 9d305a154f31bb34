"""What strangers' bytes go through, one function each: it returns or raises what the API answers, and nothing else.

`python -m tests.fuzz` feeds them with what atheris makes up, `test_replay.py` with the committed seeds.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, get_type_hints

from flask import Flask
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from api.app import create_app
from api.auth import _bearer
from api.reading import body_reader
from api.slots import Slots
from api.uploads import decoder
from api.uploads.receiving import received
from api.uploads.zip_checker import look_through
from models.clients.keys import looks_like_a_key
from models.data_sets import Archive, Bounds, RefusedArchiveError
from models.errors import RequestError
from models.jobs.queries import _read_cursor
from models.provenance import read_provenance
from models.provenance.containers import find_xmp, put_xmp
from models.provenance.xmp import BrokenPacketError, read_packet
from models.settings import Settings
from models.sniff import sniff
from models.webhooks.urls import check_url
from worker.courier.frames import BrokenFrameError, read_frame

MAX_PIXELS = 1 << 16
MAX_UPLOAD_BYTES = 1 << 20


@cache
def app() -> Flask:
    """The application; it connects to nothing."""
    return create_app(Settings())


def bodies() -> list[type[BaseModel]]:
    """The schema of each endpoint's body."""
    views = [view for view in app().view_functions.values() if hasattr(view, "access")]
    hints = [get_type_hints(getattr(view, "__wrapped__", view)) for view in views]
    return sorted({hint["body"] for hint in hints if "body" in hint}, key=lambda schema: str(schema.__name__))


@cache
def readers() -> tuple[Callable[[], BaseModel], ...]:
    """The reader of each endpoint's body."""
    return tuple(body_reader(schema, optional=False) for schema in bodies())


def upload(data: bytes) -> None:
    """The decoding child's part, in this process: if it breaks, by an exception; and its PNG is nothing but one."""
    header = sniff(data)
    if header is None or not 0 < header.pixels <= MAX_PIXELS:
        return
    body = io.BytesIO()
    try:
        decoder.convert(data, header.format, MAX_PIXELS, body)
    except Exception:  # noqa: BLE001  # what the child says 65 of
        return
    made = sniff(body.getvalue())
    assert made is not None
    assert made.format == "PNG"
    assert 0 < made.pixels <= MAX_PIXELS
    assert not any(kind in body.getvalue()[:100] for kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP"))


def body(data: bytes) -> None:
    """A JSON body of some endpoint: the first byte says which."""
    if not data:
        return
    reader = readers()[data[0] % len(readers())]
    given = {"method": "POST", "data": data[1:], "content_type": "application/json"}
    with app().test_request_context("/", **given), suppress(RequestError):
        reader().model_dump_json()


def key(data: bytes) -> None:
    """A key as it comes in a header: what does not look like one never reaches Postgres."""
    text = data.decode("latin-1")
    with app().test_request_context("/", environ_overrides={"HTTP_AUTHORIZATION": text}):
        found = _bearer()
    if looks_like_a_key(found):
        assert found.isascii()
        assert len(found) == len("sl_") + 12 + 1 + 43


def frame(data: bytes) -> None:
    """What a worker might say to its courier."""
    with suppress(BrokenFrameError):
        stream: Any = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
        while read_frame(stream) is not None:
            pass


def cursor(data: bytes) -> None:
    """Where a list goes on."""
    with suppress(RequestError):
        moment, _ = _read_cursor(data.decode("utf-8", "replace"))
        assert moment.tzinfo is not None


def form(data: bytes) -> None:
    """The multipart form of an upload, with its boundary in the first line."""
    boundary, _, rest = data.partition(b"\n")
    kind = b"multipart/form-data; boundary=" + boundary
    # As the server hands it over: a test's own header would not take every byte.
    environ = {"CONTENT_TYPE": kind.replace(b"\r", b" ").decode("latin-1")}
    context = app().test_request_context("/", method="POST", data=rest, environ_overrides=environ)
    settings = Settings(max_upload_bytes=MAX_UPLOAD_BYTES, max_data_set_bytes=MAX_UPLOAD_BYTES)
    with context, suppress(RequestError, HTTPException), received(settings, Slots(1)) as file:
        assert len(file.stream.read()) == file.size_bytes <= len(rest)


def zip_of_pictures(data: bytes) -> None:
    """A data set: what is taken unpacks to no more than it may, and its names lead nowhere."""
    bounds = Bounds(pictures=50, total_bytes=1 << 20, picture_bytes=1 << 18)
    with suppress(RefusedArchiveError):
        found = look_through(io.BytesIO(data), bounds, MAX_PIXELS)
        archive = Archive(io.BytesIO(data), bounds)
        assert found["pictures"] <= len(archive.members) <= bounds.pictures
        assert sum(member.size_bytes for member in archive.members) <= bounds.total_bytes
        for member in archive.members:
            assert not member.name.startswith("/")
            assert ".." not in member.name.split("/")


def url(data: bytes) -> None:
    """A webhook's address."""
    text = data.decode("utf-8", "replace")
    with suppress(RequestError):
        check_url(text, allow_private=False)
        assert text.isascii()
        assert text.lower().startswith("https://")


def provenance(data: bytes) -> None:
    """A file that somebody asks about: it tells where it comes from or it does not, and takes another stamp or none."""
    told = read_provenance(data)
    assert told is None or told.generator.startswith("Safelight")
    with suppress(BrokenPacketError):
        read_packet(data)
    for media_type in ("image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4"):
        with suppress(ValueError):
            assert find_xmp(put_xmp(data, media_type, b"packet")) == b"packet"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "upload": upload, "body": body, "key": key, "frame": frame, "cursor": cursor, "form": form, "url": url,
    "zip": zip_of_pictures, "provenance": provenance,
}  # fmt: skip
