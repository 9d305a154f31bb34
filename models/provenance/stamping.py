"""Where a picture comes from, said inside its file: made by which job, which checkpoint, and that a machine made it.

The prompt goes in only when the client asked. Nothing here decodes a picture; `containers` knows the files, `xmp` the
packets, and the courier's `signing` makes a claim of it that can be proved.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID

from models.provenance.containers import find_xmp, put_xmp
from models.provenance.xmp import BrokenPacketError, escaped, read_packet, write_packet

PRODUCT = "Safelight"
MAX_NAME_CHARS = 500
"""Of the checkpoint's name and revision; longer ones are cut."""
MAX_PROMPT_BYTES = 50_000
"""Of the prompt as it stands in the file: a JPEG segment must hold it. A longer one is cut and ends in an ellipsis."""

_GENERATOR, _JOB = "xmp:CreatorTool", "dc:identifier"
_SOURCE = "Iptc4xmpExt:DigitalSourceType"
_CHECKPOINT, _REVISION = "Iptc4xmpExt:AISystemUsed", "Iptc4xmpExt:AISystemVersionUsed"
_PROMPT = "Iptc4xmpExt:AIPromptInformation"
_URN = "urn:uuid:"


class DigitalSource(StrEnum):
    """How a picture came to be, in IPTC's words (newscodes, "Digital Source Type")."""

    GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    """All of it by a trained net."""
    EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    """From a picture that somebody gave."""


@cache
def generator() -> str:
    """This product and its version, e.g. "Safelight 0.1.0"."""
    try:
        return f"{PRODUCT} {version('safelight')}"
    except PackageNotFoundError:  # run from a folder that was not installed
        return PRODUCT


@dataclass(frozen=True)
class Provenance:
    """What a file says of itself. The IPTC properties are those of the Photo Metadata Standard 2025.1."""

    job_id: UUID
    checkpoint: str
    revision: str
    source: DigitalSource = DigitalSource.GENERATED
    prompt: str | None = None
    generator: str = field(default_factory=generator)


def stamp(body: bytes, media_type: str, provenance: Provenance) -> bytes:
    """The same file, PNG, JPEG, WebP, GIF or MP4, with its provenance in place of any XMP that it had.

    The same bytes for the same input. Pixels stay as they are.

    Raises:
        ValueError: not a file of this media type.
    """
    properties = {
        _GENERATOR: provenance.generator,
        _JOB: f"{_URN}{provenance.job_id}",
        _SOURCE: provenance.source.value,
        _CHECKPOINT: provenance.checkpoint[:MAX_NAME_CHARS],
        _REVISION: provenance.revision[:MAX_NAME_CHARS],
    }
    if provenance.prompt is not None:
        properties[_PROMPT] = _cut(provenance.prompt)
    return put_xmp(body, media_type, write_packet(properties))


def read_provenance(body: bytes) -> Provenance | None:
    """What `stamp` wrote, or None: no such file, no packet, or somebody else's. Takes any bytes, and never raises.

    Nothing proves it: whoever can write a file can write this. `signing` is for proof.
    """
    packet = find_xmp(body)
    if packet is None:
        return None
    with suppress(BrokenPacketError, ValueError, KeyError):
        found = read_packet(packet)
        if found[_GENERATOR].split(" ")[0] != PRODUCT or not found[_JOB].startswith(_URN):
            return None
        return Provenance(
            job_id=UUID(found[_JOB].removeprefix(_URN)),
            checkpoint=found[_CHECKPOINT],
            revision=found[_REVISION],
            source=DigitalSource(found[_SOURCE]),
            prompt=found.get(_PROMPT),
            generator=found[_GENERATOR],
        )
    return None


def _cut(prompt: str) -> str:
    """As much of it as may stand in a file."""
    if len(escaped(prompt).encode()) <= MAX_PROMPT_BYTES:
        return prompt
    room = MAX_PROMPT_BYTES - len("…".encode())
    low, high = 0, len(prompt)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(escaped(prompt[:middle]).encode()) <= room else (low, middle - 1)
    return prompt[:low] + "…"
