"""Prepare a data set: dropped, cropped, resized, recoloured and split; a zip, a report and a contact sheet come out.

Each picture is decoded twice: once to see which are kept, once to change it. None stays in memory in between.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self

from models.errors import InvalidInputError, StoppedError
from models.params import PreprocessParams
from worker.datasets.cleaning import Look, Rules, Survey, straddling, survey
from worker.datasets.figures import Tally, dropped, histogram
from worker.datasets.reading import DataSet, Sample
from worker.datasets.splitting import split
from worker.datasets.writing import DataSetWriter, encode
from worker.media.colours import auto_contrast, recolour
from worker.media.sheets import contact_sheet
from worker.media.transforms import crop, mirror, resize
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Facts, File, Item, Output, Pipeline

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

MAX_RESULT_BYTES = 512 << 20
SHOWN = 60
SHEET_COLUMNS = 10
SHEET_CELL_PIXELS = 96
DEFAULT_SPLIT = "train"


class Preprocess(Pipeline):
    """Has no weights and needs no accelerator."""

    family: ClassVar[str] = "preprocess"
    tasks: ClassVar[frozenset[str]] = frozenset({"preprocess"})
    determinism: ClassVar[Determinism] = Determinism.EXACT

    def __init__(self, max_pixels: int) -> None:
        """`max_pixels` is of one picture that is read."""
        self._max_pixels = max_pixels

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:  # noqa: ARG003  # no tensor anywhere
        """Nothing is loaded."""
        return cls(files.profile.max_input_pixels)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One item after the other: the zip, the report and the sheet of each, then its facts."""
        for item in items:
            context.raise_if_all_stopped()
            try:
                yield from _Run(item, context, self._max_pixels).outputs()
            except _ItemStoppedError:
                continue
            except InvalidInputError as error:
                extra = {"job_id": str(item.job_id), "field": "/params/data_set"} | error.extra
                raise InvalidInputError(error.detail, **extra) from error

    @property
    def memory_bytes(self) -> int:
        """None."""
        return 0


class _ItemStoppedError(StoppedError):
    """This item must not go on; others of the batch may."""


@dataclass
class _Run:
    """One item on its way."""

    item: Item
    context: Context
    max_pixels: int
    tally: Tally = field(default_factory=Tally)
    shown: "list[tuple[Pixels, str]]" = field(default_factory=list)

    @property
    def params(self) -> PreprocessParams:
        params = self.item.params
        assert isinstance(params, PreprocessParams)  # noqa: S101  # the claim matched task and checkpoint
        return params

    def outputs(self) -> Iterator[Output]:
        data_set = DataSet(self.item.inputs["data_set"].body, self.max_pixels)
        count = len(data_set.members)
        params = self.params
        rules = Rules(params.min_side, params.drop_blurred, params.deduplicate, params.duplicate_distance)
        found = survey(data_set, rules, self._progress(0, 2 * count))
        if not found.kept:
            reasons = {reason: entry["count"] for reason, entry in dropped(found.drops).items()}
            told = f" {json.dumps(reasons)}" if reasons else ""
            raise InvalidInputError(
                f"No picture of this data set can be used: {count} in it.{told}", code="no_pictures"
            )
        splits = _splits(found, params)
        with tempfile.TemporaryFile() as stream:
            self._write(data_set, found.kept, splits, stream, self._progress(count, 2 * count))
            stream.seek(0)
            body = stream.read()
        report = self._report(found, splits, count)
        sheet = contact_sheet(
            [pixels for pixels, _ in self.shown],
            [name for _, name in self.shown],
            columns=SHEET_COLUMNS,
            cell_pixels=SHEET_CELL_PIXELS,
        )
        text = json.dumps(report, indent=2, ensure_ascii=False).encode()
        job_id, size = self.item.job_id, (sheet.shape[1], sheet.shape[0])
        yield File(job_id, 0, "data_set.zip", body, "application/zip")
        yield File(job_id, 1, "report.json", text, "application/json")
        yield File(job_id, 2, "contact_sheet.png", encode(sheet, "png"), "image/png", size)
        yield Facts(job_id, _facts(report))

    def _progress(self, before: int, total: int) -> Callable[[int], None]:
        """To be called between pictures; ends the item when it must not go on."""

        def looked(count: int) -> None:
            if self.context.stopped(self.item.job_id):
                raise _ItemStoppedError("the job was stopped between two pictures")
            # Never quite done: what comes last takes its time as well.
            self.context.step(min(before + count, total - 1), total)

        return looked

    def _write(
        self,
        data_set: DataSet,
        kept: Sequence[Look],
        splits: dict[int, str],
        stream: IO[bytes],
        looked: Callable[[int], None],
    ) -> None:
        params, mirrored = self.params, _first(self.params, splits) if self.params.flips else None
        writer = DataSetWriter(stream, params.picture_format)
        every = max(1, len(kept) // SHOWN)
        for place, sample in enumerate(data_set.samples([look.member for look in kept])):
            assert isinstance(sample, Sample)  # noqa: S101  # it was decoded once already
            pixels, name = changed(sample.pixels, params), PurePosixPath(sample.member.name).stem
            self._add(writer, sample, pixels, name, splits[place])
            if splits[place] == mirrored:
                self._add(writer, sample, mirror(pixels), f"{name}-mirrored", splits[place])
            if place % every == 0 and len(self.shown) < SHOWN:
                self.shown.append((_thumbnail(pixels), sample.member.class_name or name))
            if writer.size_bytes > MAX_RESULT_BYTES:
                text = f"The result has more than {MAX_RESULT_BYTES >> 20} MiB: choose a smaller size, or jpeg."
                raise InvalidInputError(text, field="/params/picture_format")
            looked(place + 1)
        writer.close()

    def _add(self, writer: DataSetWriter, sample: Sample, pixels: "Pixels", stem: str, part: str) -> None:
        member = sample.member
        writer.add(pixels, stem=stem, split=part, class_name=member.class_name, caption=member.caption)
        self.tally.add(pixels, part, member.class_name)

    def _report(self, found: Survey, splits: dict[int, str], count: int) -> dict[str, Any]:
        sizes: dict[tuple[int, int], int] = {}
        for look in found.kept:
            sizes[look.width, look.height] = sizes.get((look.width, look.height), 0) + 1
        return {
            "source": {"pictures": count, "kept": len(found.kept), "shortest_sides": histogram(sizes)},
            "dropped": dropped(found.drops),
            "result": self.tally.summary(),
            "groups_across_splits": straddling(found.groups, splits),
            "settings": self.params.model_dump(mode="json", exclude={"data_set"}),
        }


def changed(pixels: "Pixels", params: PreprocessParams) -> "Pixels":
    """Crop, resize, normalize and recolour one picture, in this order."""
    width, height = params.width, params.height or params.width
    pixels = crop(pixels, width or 1, height or 1, params.crop)
    if width is not None and height is not None:
        pixels = resize(pixels, width, height, params.resize)
    if params.normalize:
        pixels = auto_contrast(pixels)
    return recolour(pixels, params.colour) if params.colour is not None else pixels


def _splits(found: Survey, params: PreprocessParams) -> dict[int, str]:
    """The split of each kept picture by its place: as asked for, or else as it came."""
    if params.splits is None:
        return {place: look.member.split or DEFAULT_SPLIT for place, look in enumerate(found.kept)}
    classes = [look.member.class_name for look in found.kept]
    return split(found.groups, classes, params.splits, params.seed or 0)


def _first(params: PreprocessParams, splits: dict[int, str]) -> str:
    """The split that is added to: the first that was asked for; of those that came, the one to train on."""
    if params.splits is not None:
        return next(iter(params.splits))
    names = sorted(set(splits.values()))
    return next((name for name in names if name.startswith(DEFAULT_SPLIT)), names[0])


def _thumbnail(pixels: "Pixels") -> "Pixels":
    longest = max(pixels.shape[:2])
    if longest <= SHEET_CELL_PIXELS:
        return pixels
    height, width = (max(1, round(side * SHEET_CELL_PIXELS / longest)) for side in pixels.shape[:2])
    return resize(pixels, width, height)


def _facts(report: dict[str, Any]) -> dict[str, Any]:
    """The report without its lists of names."""
    drops = {reason: entry["count"] for reason, entry in report["dropped"].items()}
    result = {name: report["result"][name] for name in ("pictures", "splits", "classes", "channels")}
    return {"source_pictures": report["source"]["pictures"], "dropped": drops, **result}
