"""The outputs of a run as a parcel for the courier: heads, result, stamp, and the bytes as they are."""

import hashlib
from collections.abc import Sequence
from typing import Any

from models.checkpoints import Checkpoint
from models.checkpoints.card import read_folder
from models.jobs import ClaimedJob
from models.params import OutputFormat
from worker.courier.frames import FileHead, Parcel, PictureHead, Stamp
from worker.pipelines.base import Facts, File, Item, Output, Picture, Trained

TEXT_SUFFIXES = {".json": "application/json", ".md": "text/markdown", ".txt": "text/plain", ".png": "image/png"}


def pack(
    job: ClaimedJob, item: Item, checkpoint: Checkpoint, outputs: Sequence[Output], measures: dict[str, Any]
) -> tuple[Parcel, tuple[memoryview, ...]]:
    """The parcel and its body, pictures first, each kind by index. Pixels are not copied."""
    pictures = sorted((output for output in outputs if isinstance(output, Picture)), key=lambda output: output.index)
    files = sorted((output for output in outputs if isinstance(output, File)), key=lambda output: output.index)
    heads = [_file_head(file) for file in files]
    bodies = [memoryview(file.body) for file in files]
    trained = None
    for output in outputs:
        if isinstance(output, Trained):
            trained, parts = _checkpoint(output)
            heads += [head for head, _ in parts]
            bodies += [memoryview(body) for _, body in parts]
    parcel = Parcel(
        hold=job.hold,
        output_format=getattr(item.params, "output_format", OutputFormat.PNG),
        pictures=tuple(
            PictureHead(picture.index, picture.seed, picture.pixels.shape[1], picture.pixels.shape[0])
            for picture in pictures
        ),
        measures=measures,
        files=tuple(heads),
        result=_result(outputs, pictures),
        stamp=_stamp(job, item, checkpoint),
        safety_threshold=job.safety_threshold,
        reproduces=job.reproduces,
        trained=trained,
    )
    return parcel, (*(picture.pixels.data.cast("B") for picture in pictures), *bodies)


def _result(outputs: Sequence[Output], pictures: Sequence[Picture]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for output in outputs:
        if isinstance(output, Facts):
            result |= output.data
    shown = [{"index": picture.index, **picture.facts} for picture in pictures if picture.facts]
    return result | ({"outputs": shown} if shown else {})


def _stamp(job: ClaimedJob, item: Item, checkpoint: Checkpoint) -> Stamp:
    prompt = item.params.texts().get("prompt") if job.embed_prompt else None
    return Stamp(checkpoint.name, checkpoint.revision, edited=bool(item.inputs), prompt=prompt)


def _file_head(file: File) -> FileHead:
    width, height = file.size or (None, None)
    return FileHead(file.name, file.media_type, len(file.body), file.index, width, height)


def _checkpoint(output: Trained) -> tuple[dict[str, Any], list[tuple[FileHead, bytes]]]:
    """Its registration as JSON, and its files."""
    found = read_folder(output.folder)
    parts = []
    for relative in found.manifest.files:
        path = output.folder / relative
        body = path.read_bytes()
        if hashlib.sha256(body).hexdigest() != found.manifest.files[relative]["sha256"]:
            raise OSError(f"{relative} changed while it was packed")
        media_type = TEXT_SUFFIXES.get(path.suffix, "application/octet-stream")
        parts.append((FileHead(relative, media_type, len(body)), body))
    registration = {
        "name": found.name,
        "family": found.family,
        "tasks": list(found.tasks),
        "pool": found.pool.value,
        "files": found.manifest.files,
        "profile": found.profile.model_dump(mode="json"),
        "licence": found.licence,
        "description": found.description,
    }
    return registration, parts
