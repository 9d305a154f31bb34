"""The program that looks through one zip, in a process of its own: zip on standard input, what is in it as JSON.

    python -I zip_checker.py PICTURES TOTAL_BYTES PICTURE_BYTES PIXELS MEMORY_BYTES CPU_SECONDS OUTPUT_BYTES

Every file is unpacked, since a directory may lie, and of each picture the header is read; none is decoded. It gives up
what `api.uploads.decoder` gives up, before it reads the first byte. Of ours it imports that, `models.sniff` and
`models.data_sets`, which import nothing else of ours.
"""

import codecs
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from api.uploads.decoder import BROKEN_STATUS, MEMORY_STATUS, confine
from models.data_sets import Archive, Bounds, BrokenMemberError, RefusedArchiveError
from models.data_sets.archive import describe
from models.sniff import sniff

NAMES_AHEAD = codecs.lookup("cp437")
"""How names in zips were written before UTF-8. Python imports it when the first one comes: too late here."""
MAX_CLASSES = 1000
MAX_SPLITS = 20


def look_through(stream: IO[bytes], bounds: Bounds, max_pixels: int) -> dict[str, Any]:
    """What the zip holds, and how many of its pictures cannot be used.

    Raises:
        RefusedArchiveError: it is not taken.
    """
    archive = Archive(stream, bounds)
    good, unreadable, too_large = [], 0, 0
    for member in archive.members:
        try:
            header = sniff(archive.read(member.name))
        except BrokenMemberError:
            header = None
        if header is None or not header.pixels:
            unreadable += 1
        elif header.pixels > max_pixels:
            too_large += 1
        else:
            good.append(member)
    found = describe(good)
    if len(found["classes"]) > MAX_CLASSES or len(found["splits"]) > MAX_SPLITS:  # type: ignore[arg-type]  # mappings
        text = f"At most {MAX_CLASSES} classes and {MAX_SPLITS} splits are taken."
        raise RefusedArchiveError("too_many_classes", text)
    left_out = {"unreadable": unreadable, "too_large": too_large, "ignored": archive.ignored}
    return {**found, **left_out, "bad_rows": archive.bad_rows}


def main(*numbers: str) -> int:
    """Look through what is on standard input; the exit status tells how that went."""
    pictures, total_bytes, picture_bytes, max_pixels, *limits = map(int, numbers)
    confine(*limits)
    try:
        found = look_through(sys.stdin.buffer, Bounds(pictures, total_bytes, picture_bytes), max_pixels)
    except RefusedArchiveError as error:
        found = {"refused": error.code, "message": str(error)}
    except MemoryError:
        return MEMORY_STATUS
    except Exception:  # noqa: BLE001  # a zip that is made to break it
        return BROKEN_STATUS
    sys.stdout.buffer.write(json.dumps(found, ensure_ascii=False).encode())
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    # At once: there is nothing to clean up.
    os._exit(main(*sys.argv[1:]))
