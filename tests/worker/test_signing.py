"""Content Credentials with a chain of our own: a reader trusts them, and sees when anything was changed."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import c2pa
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image

from models.params import OutputFormat
from models.provenance import DigitalSource, Provenance, read_provenance, stamp
from models.settings import Settings
from tests.worker.certificates import Chain, make_chain
from worker.courier.encode import encode
from worker.courier.frames import PictureHead
from worker.courier.signing import Signer, SigningError, make_signer

MADE = Provenance(UUID(int=7), "emoji-64", "0123abcd", DigitalSource.EDITED, prompt="a secret cat")
PIXELS = bytes(number * 7 % 256 for number in range(16 * 16 * 3))


@pytest.fixture(scope="module")
def chain() -> Chain:
    return make_chain()


@pytest.fixture(scope="module")
def signer(chain: Chain) -> Signer:
    return Signer(chain.certificate, chain.private_key)


def manifest_of(body: bytes, media_type: str) -> dict[str, Any]:
    with c2pa.Reader(media_type, io.BytesIO(body)) as reader:
        found = json.loads(reader.json())
    manifest: dict[str, Any] = found["manifests"][found["active_manifest"]]
    return manifest


@pytest.mark.parametrize("form", list(OutputFormat))
def test_a_reader_that_knows_the_root_trusts_the_picture(form: OutputFormat, signer: Signer, chain: Chain) -> None:
    """Given a picture signed by a chain, then it is trusted by those who trust its root and whole for all others."""
    signed = encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), form, MADE, signer)
    assert signer.state(signed.body, signed.media_type, chain.root.decode()) == "Trusted"
    assert signer.state(signed.body, signed.media_type, make_chain().root.decode()) == "Valid"
    assert signer.state(signed.body, signed.media_type) == "Valid"
    assert read_provenance(signed.body) == MADE


@pytest.mark.parametrize("form", [OutputFormat.PNG, OutputFormat.WEBP])
def test_signing_changes_no_pixel(form: OutputFormat, signer: Signer) -> None:
    signed = encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), form, MADE, signer)
    with Image.open(io.BytesIO(signed.body)) as image:
        assert image.tobytes() == PIXELS


def test_an_animation_is_signed_too(signer: Signer, chain: Chain) -> None:
    frames = [Image.frombytes("RGB", (16, 16), PIXELS).rotate(90 * turn) for turn in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    signed = signer(stamp(stream.getvalue(), "image/gif", MADE), "image/gif", MADE)
    assert signer.state(signed, "image/gif", chain.root.decode()) == "Trusted"


def test_the_claim_says_what_made_it_and_nothing_of_the_prompt(signer: Signer) -> None:
    silent = Provenance(MADE.job_id, MADE.checkpoint, MADE.revision, MADE.source)
    signed = encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), OutputFormat.PNG, silent, signer)
    manifest = manifest_of(signed.body, signed.media_type)
    (assertion,) = manifest["assertions"]
    (action,) = assertion["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == DigitalSource.EDITED.value
    assert action["softwareAgent"]["name"] == manifest["claim_generator_info"][0]["name"] == "Safelight"
    for told in (str(MADE.job_id), MADE.checkpoint, MADE.revision):
        assert told in action["parameters"]["description"]
    assert "thumbnail" not in manifest
    assert b"secret" not in signed.body


@pytest.mark.parametrize("what", [b"0123abcd", b"digitalsourcetype/composite", b"IDAT"])
def test_a_changed_byte_is_seen(what: bytes, signer: Signer, chain: Chain) -> None:
    """Given a signed picture, when its XMP, its claim or its pixels are changed, then no reader calls it whole."""
    signed = bytearray(encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), OutputFormat.PNG, MADE, signer).body)
    place = signed.index(what) + len(what)
    signed[place + 8] ^= 1
    assert signer.state(bytes(signed), "image/png", chain.root.decode()) == "Invalid"


def test_another_picture_cannot_take_the_claim(signer: Signer) -> None:
    """Given a signed file without its manifest, then there is none to read."""
    bare = encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), OutputFormat.PNG, MADE)
    with pytest.raises(SigningError, match="No manifest"):
        signer.state(bare.body, bare.media_type)


def test_threads_sign_at_once(signer: Signer, chain: Chain) -> None:
    def sign(index: int) -> str:
        made = Provenance(UUID(int=index), "c", "r")
        signed = encode(PictureHead(index, 7, 16, 16), memoryview(PIXELS), OutputFormat.PNG, made, signer)
        assert str(UUID(int=index)) in json.dumps(manifest_of(signed.body, "image/png"))
        return signer.state(signed.body, "image/png", chain.root.decode())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(sign, range(24))) == {"Trusted"}


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, chain: Chain) -> tuple[Path, Path]:
    paths = tmp_path / "signer.pem", tmp_path / "signer.key"
    for path, text in zip(paths, (chain.certificate, chain.private_key), strict=True):
        path.write_bytes(text)
    return paths


def test_the_settings_name_the_signer(files: tuple[Path, Path], chain: Chain) -> None:
    assert make_signer(Settings()) is None
    signer = make_signer(Settings(c2pa_certificate_path=files[0], c2pa_private_key_path=files[1]))
    assert signer is not None
    signed = signer(encode(PictureHead(0, 7, 16, 16), memoryview(PIXELS), OutputFormat.JPEG).body, "image/jpeg", MADE)
    assert signer.state(signed, "image/jpeg", chain.root.decode()) == "Trusted"


def test_half_of_the_settings_is_refused(files: tuple[Path, Path]) -> None:
    for settings in (Settings(c2pa_certificate_path=files[0]), Settings(c2pa_private_key_path=files[1])):
        with pytest.raises(SigningError, match="both"):
            make_signer(settings)


def test_a_missing_file_is_named(files: tuple[Path, Path]) -> None:
    files[1].unlink()
    with pytest.raises(SigningError, match=r"signer\.key cannot be read"):
        make_signer(Settings(c2pa_certificate_path=files[0], c2pa_private_key_path=files[1]))


def pair(chain: Chain) -> tuple[bytes, bytes]:
    return chain.certificate, chain.private_key


WRONG = {
    "another's key": lambda chain: (chain.certificate, make_chain().private_key),
    "expired": lambda _: pair(make_chain(days=-1)),
    "for servers": lambda _: pair(make_chain(usage=ExtendedKeyUsageOID.SERVER_AUTH)),
    "no certificate": lambda chain: (b"nothing", chain.private_key),
    "no key": lambda chain: (chain.certificate, b"nothing"),
    "a NUL": lambda chain: (chain.certificate, b"\0" + chain.private_key),
    "swapped": lambda chain: pair(chain)[::-1],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_cannot_sign_is_found_at_the_start(wrong: Any, chain: Chain) -> None:
    with pytest.raises(SigningError):
        Signer(*wrong(chain))


def test_without_its_package_signing_says_what_to_install(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(SigningError, match="c2pa-python"):
        Signer(*pair(chain))
