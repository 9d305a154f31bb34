"""Asking for each row, and keeping what came: files, texts, seconds."""

import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.cli.gallery.rows import DATA_SET_PROMPTS, ROWS, SOURCES, From, Row

if TYPE_CHECKING:
    from safelight.client import Client, Job

ROW_SECONDS = 900.0
DATA_SET_IMAGES = 8
"""Of each prompt."""


@dataclass(frozen=True, slots=True)
class Made:
    """One row and what became of it; no job where its checkpoint is not there, or where it failed (`why`)."""

    row: Row
    job: "Job | None" = None
    files: Sequence[Path] = ()
    inputs: Sequence[Path] = ()
    seconds: float = 0.0
    why: str = ""


class Maker:
    """Makes rows one after the other; each may take what an earlier one made."""

    def __init__(self, client: "Client", photograph: Path, scratch: Path) -> None:
        self._client = client
        self._photograph = photograph
        self._scratch = scratch
        self._jobs: dict[str, Job] = {}
        self._known = {str(card["name"]) for card in client.checkpoints()}

    def make_all(self, only: Sequence[str] = ()) -> Iterator[Made]:
        """Every row of `ROWS`, or those that are named and what they need."""
        wanted = [row for row in ROWS if not only or row.key in only]
        for row in wanted:
            yield self._make(row)

    def _make(self, row: Row) -> Made:
        from safelight.client import SafelightClientError

        named = {row.checkpoint, *(step.get("checkpoint") for step in row.then)} - {None}
        if missing := sorted(str(name) for name in named if name not in self._known):
            return Made(row, why=f"The checkpoint {', '.join(missing)} is not registered here.")
        began = time.monotonic()
        try:
            params = {name: self._resolved(value) for name, value in row.params.items()}
            options: dict[str, Any] = {"checkpoint": row.checkpoint} if row.checkpoint else {}
            if row.then:
                options["then"] = row.then
            job = self._client.run(row.task, params, tag="gallery", timeout=ROW_SECONDS, **options)
            files = self._client.download(job, self._scratch / row.key) if job.artifacts else []
            inputs = [self._shown(row.params[name], row.key) for name in row.shows]
        except SafelightClientError as error:
            return Made(row, seconds=time.monotonic() - began, why=str(error))
        self._jobs[row.key] = job
        return Made(row, job, files, inputs, time.monotonic() - began)

    def _resolved(self, value: Any) -> Any:
        """An input as the client takes it."""
        if not isinstance(value, From):
            return value
        if not value.row:
            return self._photograph
        if value.row == "data-set":
            return self._data_set()
        job = self._job(value.row)
        return {"job": job.id, "index": value.index}

    def _job(self, key: str) -> "Job":
        """An earlier row's, made now if it was not asked for."""
        if key not in self._jobs:
            row = next((row for row in (*ROWS, *SOURCES) if row.key == key), None)
            if row is None:
                raise KeyError(key)
            made = self._make(row)
            if made.job is None:
                from safelight.client import SafelightClientError

                raise SafelightClientError(f"it takes the output of {key!r}, which is missing: {made.why}")
        return self._jobs[key]

    def _shown(self, value: Any, key: str) -> Path:
        if not isinstance(value, From) or not value.row:
            return self._photograph
        folder = self._scratch / f"{key}-input-{value.row}"
        return self._client.download(self._job(value.row), folder)[value.index]

    def _data_set(self) -> Path:
        """A zip of fruit, drawn now; one picture comes twice, so that there is something to clean."""
        target = self._scratch / "fruit.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for number, prompt in enumerate(DATA_SET_PROMPTS):
                params: Mapping[str, Any] = {"prompt": prompt, "num_images": DATA_SET_IMAGES, "seed": number}
                job = self._client.run(
                    "text_to_image", params, checkpoint="emoji-64", tag="gallery", timeout=ROW_SECONDS
                )
                name = prompt.split()[-1]
                for index, path in enumerate(self._client.download(job, self._scratch / "fruit" / name)):
                    archive.write(path, f"{name}/{index}.png")
                    if not index:
                        archive.write(path, f"{name}/again.png")
        return target
