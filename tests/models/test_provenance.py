"""Provenance in files: written into five kinds of file, read back, and unmoved by what strangers make up."""

import io
import struct
import zlib
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from models.artifacts import MEDIA_TYPES
from models.params import OutputFormat
from models.provenance import DigitalSource, Provenance, containers, read_provenance, stamp
from models.provenance.containers import MAX_PACKET_BYTES, find_xmp, put_xmp
from models.provenance.stamping import generator
from models.provenance.xmp import BrokenPacketError, read_packet, write_packet
from worker.courier.encode import encode
from worker.courier.frames import PictureHead

JOB = UUID("0192f0c1-2d3e-7a4b-8c5d-6e7f80912a3b")
MADE = Provenance(JOB, "emoji-64", "0123abcd", prompt="一只坐在草地上的橘猫")
MP4 = struct.pack("!I", 16) + b"ftypisom\0\0\0\0" + struct.pack("!I", 12) + b"mdatdata"


def picture(side: int = 9) -> Image.Image:
    return Image.frombytes("RGB", (side, side), bytes(number * 7 % 256 for number in range(side * side * 3)))


def saved(form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture().save(stream, form, **options)
    return stream.getvalue()


FILES: dict[str, tuple[str, bytes]] = {
    "png": ("image/png", saved("PNG")),
    "jpeg": ("image/jpeg", saved("JPEG")),
    "webp, lossless": ("image/webp", saved("WEBP", lossless=True)),
    "webp": ("image/webp", saved("WEBP", quality=80)),
    "webp, animated": ("image/webp", saved("WEBP", save_all=True, append_images=[picture().rotate(90)])),
    "gif": ("image/gif", saved("GIF")),
    "gif, animated": ("image/gif", saved("GIF", save_all=True, append_images=[picture().rotate(90)], loop=0)),
    "mp4": ("video/mp4", MP4),
}
each_file = pytest.mark.parametrize(("media_type", "body"), FILES.values(), ids=FILES)
kinds_of_file = st.sampled_from(sorted(FILES))


def frames_of(body: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(body)) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(image.convert("RGBA").tobytes())
        return found


@each_file
def test_what_is_stamped_is_read_back(media_type: str, body: bytes) -> None:
    assert read_provenance(body) is None
    assert read_provenance(stamp(body, media_type, MADE)) == MADE


@each_file
def test_the_pixels_stay_and_the_bytes_are_the_same_each_time(media_type: str, body: bytes) -> None:
    stamped = stamp(body, media_type, MADE)
    assert stamped == stamp(body, media_type, MADE)
    if media_type != "video/mp4":
        assert frames_of(stamped) == frames_of(body)


@each_file
def test_a_second_stamp_takes_the_place_of_the_first(media_type: str, body: bytes) -> None:
    other = Provenance(uuid4(), "sd-1.5", "main", DigitalSource.EDITED)
    assert stamp(stamp(body, media_type, MADE), media_type, other) == stamp(body, media_type, other)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "webp, lossless", "webp, animated"])
def test_others_find_the_packet_where_it_belongs(name: str) -> None:
    """Given Pillow, which knows the places of XMP, then it hands out the packet as it was written."""
    media_type, body = FILES[name]
    stamped = stamp(body, media_type, MADE)
    with Image.open(io.BytesIO(stamped)) as image:
        image.load()
        told = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    assert told == find_xmp(stamped)
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in told


def test_a_transparent_webp_stays_transparent() -> None:
    clear = picture().convert("RGBA")
    clear.putalpha(99)
    stream = io.BytesIO()
    clear.save(stream, "WEBP", lossless=True)
    stamped = stamp(stream.getvalue(), "image/webp", MADE)
    assert stamped[12:16] == b"VP8X"
    assert stamped[20] & 0x10  # the flag by which viewers that do not look inside know
    with Image.open(io.BytesIO(stamped)) as image:
        assert image.mode == "RGBA"
        assert image.tobytes() == clear.tobytes()


def test_the_prompt_goes_in_only_when_it_is_given() -> None:
    body = FILES["png"][1]
    assert "橘猫".encode() in stamp(body, "image/png", MADE)
    silent = stamp(body, "image/png", Provenance(JOB, "emoji-64", "0123abcd"))
    assert b"AIPromptInformation" not in silent
    assert read_provenance(silent) == Provenance(JOB, "emoji-64", "0123abcd", prompt=None)


def test_a_file_names_the_product_and_its_version() -> None:
    assert generator().startswith("Safelight ")
    assert MADE.generator == generator()


@given(kinds_of_file, st.text(), st.text(), st.none() | st.text(), st.sampled_from(DigitalSource))
@example("png", "a & b", "<r>", ' "]]>\r\n\t&amp;', DigitalSource.EDITED)
def test_any_words_come_back(name: str, checkpoint: str, revision: str, prompt: str | None, how: DigitalSource) -> None:
    """Given any text, then it is read as it was, save characters that XML has no way to say."""
    media_type, body = FILES[name]
    stamped = stamp(body, media_type, Provenance(JOB, checkpoint, revision, how, prompt))
    found = read_provenance(stamped)
    assert found is not None
    assert (found.job_id, found.source) == (JOB, how)
    assert [found.checkpoint, found.revision, found.prompt or ""] == [
        "".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in text)
        for text in (checkpoint, revision, prompt or "")
    ]
    assert (found.prompt is None) == (prompt is None)


@pytest.mark.parametrize("letter", ["a", "&", "猫", "\U0001f408"])
def test_a_prompt_that_is_too_long_is_cut(letter: str) -> None:
    """Given the longest prompt that a job may have, and longer, then the file carries its beginning and says so."""
    media_type, body = FILES["jpeg"]
    found = read_provenance(stamp(body, media_type, Provenance(JOB, "c", "r", prompt=letter * 60_000)))
    assert found is not None
    assert found.prompt is not None
    assert found.prompt == letter * (len(found.prompt) - 1) + "…"
    assert len(found.prompt) > 9000


@pytest.mark.parametrize("form", list(OutputFormat))
def test_encoding_stamps(form: OutputFormat) -> None:
    head, pixels = PictureHead(0, 7, 9, 9), memoryview(picture().tobytes())
    bare, stamped = encode(head, pixels, form), encode(head, pixels, form, MADE)
    assert stamped.body == stamp(bare.body, MEDIA_TYPES[form.value], MADE)
    assert stamped.sha256 != bare.sha256
    assert read_provenance(bare.body) is None


# --- what strangers make up --------------------------------------------------------------------------------------


def with_packet(packet: bytes) -> bytes:
    return put_xmp(FILES["png"][1], "image/png", packet)


def edited(old: str, new: str) -> bytes:
    packet = find_xmp(stamp(FILES["png"][1], "image/png", MADE))
    assert packet is not None
    assert old.encode() in packet
    return packet.replace(old.encode(), new.encode())


def test_properties_written_as_attributes_are_read_too() -> None:
    """Given an editor that saved the picture again in XMP's short form."""
    packet = edited("<xmp:CreatorTool>", "<xmp:Rating>").replace(b"</xmp:CreatorTool>", b"</xmp:Rating>")
    packet = packet.replace(b'rdf:about=""', f'rdf:about="" xmp:CreatorTool="{generator()}"'.encode())
    assert read_provenance(with_packet(packet)) == MADE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Safelight ", "Photoshop "),
        ("urn:uuid:", "urn:isbn:"),
        (str(JOB), "not-a-uuid"),
        ("trainedAlgorithmicMedia", "digitalCapture"),
        ("AISystemVersionUsed", "AISystemUsedVersion"),
        ("</x:xmpmeta>", ""),
        ("adobe:ns:meta/", "adobe:ns:other/"),
        ("<x:xmpmeta", "<!DOCTYPE x><x:xmpmeta"),
    ],
)
def test_what_is_not_ours_is_nobodys(old: str, new: str) -> None:
    assert read_provenance(with_packet(edited(old, new))) is None


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)
HARMFUL = {
    "entities that grow": BOMB + "]><x>&j;</x>",
    "a file of this machine": '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>',
    "a document type elsewhere": '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    "no end of elements": "<x>" * 20_000,
    "many within each other": "<x>" * 8000 + "</x>" * 8000,
    "not UTF-8": "\udcff",
    "nothing": "",
    "text": "Safelight",
}


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_a_packet_that_could_do_harm_is_refused(text: str) -> None:
    packet = text.encode("utf-8", "surrogateescape")
    with pytest.raises(BrokenPacketError):
        read_packet(packet)
    assert read_provenance(with_packet(packet[:MAX_PACKET_BYTES])) is None


def test_a_declared_encoding_does_not_change_how_it_is_read() -> None:
    packet = b'<?xml version="1.0" encoding="utf-16"?>' + write_packet({"xmp:CreatorTool": "é"}).partition(b"\n")[2]
    assert read_packet(packet) == {"xmp:CreatorTool": "é"}


def test_of_two_values_the_first_counts_and_inner_ones_do_not() -> None:
    packet = write_packet({"xmp:CreatorTool": "outer", "dc:identifier": "one"})
    packet = packet.replace(b">one<", b"><xmp:CreatorTool>inner</xmp:CreatorTool><")
    packet = packet.replace(b"</rdf:Description>", b"<xmp:CreatorTool>later</xmp:CreatorTool></rdf:Description>")
    assert read_packet(packet)["xmp:CreatorTool"] == "outer"


def test_a_packet_beyond_the_limit_is_neither_written_nor_read() -> None:
    data = b"iTXt" + containers.PNG_KEYWORD + b"\0\0\0\0" + edited("</x:xmpmeta>", "</x:xmpmeta>" + " " * 70_000)
    chunk = struct.pack("!I", len(data) - 4) + data + struct.pack("!I", zlib.crc32(data))
    body = FILES["png"][1]
    assert find_xmp(body[:33] + chunk + body[33:]) is None
    with pytest.raises(ValueError, match="a packet of"):
        put_xmp(body, "image/png", b" " * (MAX_PACKET_BYTES + 1))


@each_file
def test_a_file_is_not_another_kind(media_type: str, body: bytes) -> None:
    for other in {"image/bmp", *(kind for kind, _ in FILES.values())} - {media_type}:
        with pytest.raises(ValueError, match="not a file"):
            stamp(body, other, MADE)


@settings(max_examples=400)
@given(kinds_of_file, st.data())
def test_no_damaged_file_makes_reading_fail(name: str, data: st.DataObject) -> None:
    """Given a stamped file with bytes changed, cut out or put in, then it is read or not, and stamped well or not."""
    media_type, body = FILES[name]
    damaged = bytearray(stamp(body, media_type, MADE))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        damaged[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    found = read_provenance(bytes(damaged))
    assert found is None or isinstance(found, Provenance)
    try:
        again = stamp(bytes(damaged), media_type, MADE)
    except ValueError:
        return
    assert read_provenance(again) == MADE


@settings(max_examples=300)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"\0\0\0\x10ftyp"]),
    st.binary(),
)
def test_no_made_up_file_makes_reading_fail(head: bytes, tail: bytes) -> None:
    assert read_provenance(head + tail) is None
