"""Content Credentials: a signed C2PA manifest inside the file, so that its provenance can be proved.

Only when a certificate and its key are set. The claim says that the picture was created, by what, and how in IPTC's
words; its hash covers the whole file, the XMP that `provenance` wrote with it. No thumbnail and no time stamp go in,
and nothing is fetched: it works without a network. A signature is random and a claim has its own id and time, so files
that are signed differ from run to run; their pixels do not (see `worker.quality.pixels_hash`).
"""

import io
from typing import Any
from uuid import UUID

from PIL import Image

from models.errors import SafelightError
from models.provenance import Provenance
from models.settings import Settings

ALGORITHM = b"es256"
_OFFLINE: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}

_NOTHING = Provenance(UUID(int=0), "none", "none")
"""Of the picture that is signed to see whether it works."""


class SigningError(SafelightError):
    """The settings ask for signed pictures, and they cannot be signed."""

    code = "signing_failed"
    title = "Pictures cannot be signed"


class Signer:
    """Signs files with one key. Thread-safe: every call has its own handles."""

    def __init__(self, certificates: bytes, private_key: bytes) -> None:
        """PEM: the signer's certificate and its issuers without the root; the PKCS#8 key. Signs once, to be sure.

        Raises:
            SigningError: c2pa-python is missing, or certificate and key make no signature that holds.
        """
        try:
            import c2pa
        except ImportError as error:
            raise SigningError("Signing needs the package c2pa-python: pip install 'safelight[models]'.") from error
        self._c2pa = c2pa
        self._certificates, self._private_key = certificates, private_key
        probe = io.BytesIO()
        Image.new("RGB", (1, 1)).save(probe, "PNG")
        if self.state(self(probe.getvalue(), "image/png", _NOTHING), "image/png") == "Invalid":
            raise SigningError("The C2PA certificate does not allow signing, or is not this key's.")

    def __call__(self, body: bytes, media_type: str, provenance: Provenance) -> bytes:
        """The same picture, PNG, JPEG, WebP, GIF or MP4, with a manifest.

        Raises:
            SigningError: c2pa-python refuses.
        """
        name, _, version = provenance.generator.partition(" ")
        product = {"name": name, **({"version": version} if version else {})}
        made_by = f"job {provenance.job_id}, checkpoint {provenance.checkpoint} at revision {provenance.revision}"
        action = {
            "action": "c2pa.created",
            "digitalSourceType": provenance.source.value,
            "softwareAgent": product,
            "parameters": {"description": made_by},
        }
        manifest = {
            "claim_generator_info": [product],
            "title": f"{provenance.job_id}.{media_type.partition('/')[2]}",
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
        }
        return self._signed(body, media_type, manifest)

    def state(self, body: bytes, media_type: str, trust_anchors: str | None = None) -> str:
        """What a reader makes of a file: `Invalid`, `Valid` (whole, by a stranger) or `Trusted` (by these roots).

        Raises:
            SigningError: there is no manifest, or none that can be read.
        """
        trust = {"trust": {"trust_anchors": trust_anchors}} if trust_anchors else {}
        try:
            context = self._c2pa.Context.from_dict({"verify": _OFFLINE["verify"], **trust})
            with context, self._c2pa.Reader(media_type, io.BytesIO(body), context=context) as reader:
                return str(reader.get_validation_state())
        except self._c2pa.C2paError as error:
            raise SigningError(f"No manifest can be read: {error}") from error

    def _signed(self, body: bytes, media_type: str, manifest: dict[str, Any]) -> bytes:
        c2pa, signed = self._c2pa, io.BytesIO()
        try:
            info = c2pa.C2paSignerInfo(ALGORITHM, self._certificates, self._private_key, None)
            with (
                c2pa.Context.from_dict(_OFFLINE) as context,
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(manifest, context=context) as builder,
            ):
                builder.sign(signer, media_type, io.BytesIO(body), signed)
        except (c2pa.C2paError, ValueError) as error:
            raise SigningError(f"The picture cannot be signed: {error}") from error
        return signed.getvalue()


def make_signer(settings: Settings) -> Signer | None:
    """The signer that the settings name, tried out; None when they name none.

    Raises:
        SigningError: only one of certificate and key is set, a file cannot be read, or they do not sign.
    """
    certificate_path, key_path = settings.c2pa_certificate_path, settings.c2pa_private_key_path
    if certificate_path is None and key_path is None:
        return None
    if certificate_path is None or key_path is None:
        raise SigningError("Set both c2pa_certificate_path and c2pa_private_key_path, or neither.")
    try:
        return Signer(certificate_path.read_bytes(), key_path.read_bytes())
    except OSError as error:
        raise SigningError(f"{error.filename} cannot be read: {error.strerror}.") from error
