"""A data set prepared for real: what is dropped and why, what is changed, how it is split, and what the report says."""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidInputError
from models.params import CheckpointProfile, PreprocessParams
from tests.pipelines.conftest import Recorder
from tests.zips import image_folder, picture, rows, zipped
from worker.datasets.reading import DataSet, Sample
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Facts, File, Item, Output, Pipeline


@pytest.fixture(scope="module")
def tool(cpu: Any) -> Pipeline:
    profile = CheckpointProfile(max_input_pixels=100_000)
    return load_family("preprocess").setup(CheckpointFiles("preprocess", Path(), "preprocess", profile, {}), cpu)


def item(body: bytes, **params: Any) -> Item:
    given = PreprocessParams(data_set={"upload": uuid4()}, **({"seed": 1} | params))
    return Item(uuid4(), "preprocess", given, {"data_set": Blob(body, "application/zip")})


def run(tool: Pipeline, *items: Item, context: Recorder | None = None) -> list[Output]:
    context = context or Recorder()
    context.job_ids = {entry.job_id for entry in items}
    return list(tool.run(items, context))


def results(tool: Pipeline, body: bytes, **params: Any) -> tuple[list[Sample], dict[str, Any], dict[str, Any]]:
    """The samples, the report, and the facts."""
    data_set, report, sheet, facts = run(tool, item(body, **params))
    assert isinstance(data_set, File)
    assert isinstance(report, File)
    assert isinstance(sheet, File)
    assert isinstance(facts, Facts)
    named = [(file.index, file.name, file.media_type) for file in (data_set, report, sheet)]
    assert named == [
        (0, "data_set.zip", "application/zip"),
        (1, "report.json", "application/json"),
        (2, "contact_sheet.png", "image/png"),
    ]
    assert Image.open(io.BytesIO(sheet.body)).size == sheet.size
    samples = list(DataSet(data_set.body, 10_000_000).samples())
    assert all(isinstance(sample, Sample) for sample in samples)
    return samples, json.loads(report.body), dict(facts.data)  # type: ignore[return-value]


def flat(colour: str) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(body, "PNG")
    return body.getvalue()


def test_what_is_no_good_is_dropped_and_named(tool: Pipeline) -> None:
    """Given broken, small, blurred and doubled pictures among good ones, when cleaned, then the good ones stay."""
    blurred = io.BytesIO()
    Image.open(io.BytesIO(picture(9, noise=0))).resize((3, 3)).resize((64, 64)).save(blurred, "PNG")
    larger = io.BytesIO()
    Image.open(io.BytesIO(picture(1))).resize((96, 96), Image.Resampling.NEAREST).save(larger, "PNG")
    files = {
        "cat/good.png": picture(0), "cat/double.png": picture(1), "cat/largest.png": larger.getvalue(),
        "dog/broken.png": picture(3)[:90], "dog/huge.png": picture(4, (400, 400)), "dog/last.png": picture(6),
        "dog/small.png": picture(5, (10, 30)), "dog/soft.png": blurred.getvalue(),
    }  # fmt: skip
    samples, report, facts = results(tool, zipped(files), min_side=16, drop_blurred=50.0)

    assert [sample.member.name for sample in samples] == [
        "train/cat/good.png", "train/cat/largest.png", "train/dog/last.png",
    ]  # fmt: skip
    names = {reason: list(entry["names"]) for reason, entry in report["dropped"].items()}
    assert names == {
        "broken": ["dog/broken.png"], "too_large": ["dog/huge.png"], "too_small": ["dog/small.png"],
        "blurred": ["dog/soft.png"], "near_duplicate": ["cat/double.png"],
    }  # fmt: skip
    assert report["dropped"]["near_duplicate"]["names"]["cat/double.png"] == "of cat/largest.png"
    assert facts["dropped"] == dict.fromkeys(names, 1)
    assert (facts["source_pictures"], facts["pictures"], facts["classes"]) == (8, 3, {"cat": 2, "dog": 1})
    assert report["source"]["shortest_sides"] == {"16–31": 2, "64–127": 1}


def test_flat_pictures_of_two_colours_are_not_alike(tool: Pipeline) -> None:
    body = zipped({"a.png": flat("red"), "b.png": flat("blue"), "c.png": flat("red")})
    samples, report, _ = results(tool, body)
    assert len(samples) == 2
    assert list(report["dropped"]["near_duplicate"]["names"]) == ["c.png"]


def test_pictures_come_out_in_the_size_asked_for(tool: Pipeline) -> None:
    body = zipped({"wide.png": picture(1, (60, 30)), "high.png": picture(2, (30, 90)), "one.png": picture(3, (50, 50))})
    for params in ({"width": 32}, {"width": 32, "height": 16, "resize": "contain"}, {"width": 20, "crop": "smart"}):
        samples, report, _ = results(tool, body, **params)
        sizes = {sample.pixels.shape[:2] for sample in samples}
        assert sizes == {(params.get("height", params["width"]), params["width"])}
    assert report["result"]["shortest_sides"] == {"16–31": 3}
    samples, _, _ = results(tool, body, crop="square")
    assert {sample.pixels.shape[:2] for sample in samples} == {(30, 30), (50, 50)}


def test_colours_are_changed_after_the_size(tool: Pipeline) -> None:
    body = zipped({"a.png": picture(1)})
    (grey,), report, _ = results(tool, body, colour={"greyscale": True})
    assert np.array_equal(grey.pixels[..., 0], grey.pixels[..., 2])
    assert len({round(value, 4) for value in report["result"]["channels"]["mean"]}) == 1
    (stretched,), _, _ = results(tool, body, normalize=True)
    assert (stretched.pixels.min(), stretched.pixels.max()) == (0, 255)


def test_the_channels_are_those_of_all_pixels(tool: Pipeline) -> None:
    samples, report, _ = results(tool, zipped(image_folder({"cat": 5})))
    pixels = np.stack([sample.pixels for sample in samples]).reshape(-1, 3) / 255
    assert report["result"]["channels"]["mean"] == pytest.approx(pixels.mean(axis=0), abs=1e-5)
    assert report["result"]["channels"]["std"] == pytest.approx(pixels.std(axis=0), abs=1e-5)


def test_splits_hold_each_class_and_the_first_is_mirrored(tool: Pipeline) -> None:
    body = zipped(image_folder({"cat": 20, "dog": 10}))
    samples, report, _ = results(tool, body, splits={"train": 0.8, "test": 0.2}, flips=True)
    counts = Counter((sample.member.split, sample.member.class_name) for sample in samples)
    assert counts == {("train", "cat"): 32, ("train", "dog"): 16, ("test", "cat"): 4, ("test", "dog"): 2}
    by_name = {sample.member.name: sample.pixels for sample in samples}
    mirrored = [name for name in by_name if "-mirrored" in name]
    assert len(mirrored) == 24
    for name in mirrored:
        assert name.startswith("train/")
        assert np.array_equal(by_name[name], by_name[name.replace("-mirrored", "")][:, ::-1])
    assert report["result"]["classes_by_split"] == {"test": {"cat": 4, "dog": 2}, "train": {"cat": 32, "dog": 16}}


def test_pictures_that_look_alike_stay_in_one_split(tool: Pipeline) -> None:
    """Given pairs that are nearly the same, when they are kept and divided, then no pair is torn apart."""
    files = {}
    for number in range(12):
        files[f"{number}-a.png"] = picture(number, (48, 48), noise=0)
        files[f"{number}-b.jpg"] = picture(number, (96, 96), "JPEG", noise=0)
    apart = {"deduplicate": False, "duplicate_distance": 10, "splits": {"train": 0.5, "test": 0.5}}
    samples, report, _ = results(tool, zipped(files), **apart)
    where: dict[str, set[str | None]] = {}
    for sample in samples:
        where.setdefault(sample.member.name.rsplit("/", 1)[-1].split("-")[0], set()).add(sample.member.split)
    assert len(samples) == 24
    assert all(len(splits) == 1 for splits in where.values())
    assert set().union(*where.values()) == {"train", "test"}
    assert report["groups_across_splits"] == 0


def test_splits_that_are_there_stay_and_tables_come_along(tool: Pipeline) -> None:
    table = rows({"file_name": "train/cat/000.png", "text": "一只猫"})
    files: dict[str, Any] = image_folder({"cat": 3}, split="train")
    files |= {"test/cat/9.png": picture(9), "metadata.jsonl": table}
    samples, report, _ = results(tool, zipped(files), picture_format="webp")
    assert samples[0].member.name == "test/cat/9.webp"
    assert report["result"]["splits"] == {"test": 1, "train": 3}
    assert {sample.member.caption for sample in samples} == {"一只猫", None}


def test_the_same_request_gives_the_same_bytes(tool: Pipeline) -> None:
    body = zipped(image_folder({"cat": 8, "dog": 8}))
    params = {"splits": {"train": 0.5, "test": 0.5}, "flips": True, "width": 16}
    first, again = (run(tool, item(body, **params)) for _ in range(2))
    assert [file.body for file in first if isinstance(file, File)] == [f.body for f in again if isinstance(f, File)]
    other = run(tool, item(body, **(params | {"seed": 2})))
    assert isinstance(other[0], File)
    assert isinstance(first[0], File)
    assert other[0].body != first[0].body
    assert all(entry.date_time[0] == 1980 for entry in zipfile.ZipFile(io.BytesIO(first[0].body)).infolist())


def test_a_data_set_without_a_usable_picture_names_its_field(tool: Pipeline) -> None:
    bad = item(zipped({"a.png": b"nothing", "b.png": picture(1, (10, 10))}), min_side=11)
    with pytest.raises(InvalidInputError, match="No picture") as error:
        run(tool, bad)
    assert error.value.extra["field"] == "/params/data_set"
    assert error.value.extra["job_id"] == str(bad.job_id)
    assert '"broken": 1' in error.value.detail
    with pytest.raises(InvalidInputError, match="no data set"):
        run(tool, item(b"not a zip"))


def test_a_stopped_item_ends_between_two_pictures_and_its_mate_goes_on(tool: Pipeline) -> None:
    body = zipped(image_folder({"cat": 6}))
    gone, stays = item(body), item(body)
    context = Recorder()

    def at_step(done: int) -> None:
        if done == 4:
            context.stopped_ids.add(gone.job_id)

    context.at_step = at_step
    found = run(tool, gone, stays, context=context)
    assert {output.job_id for output in found} == {stays.job_id}
    assert len(found) == 4
    assert context.steps[:5] == [(1, 12), (2, 12), (3, 12), (4, 12), (1, 12)]
    assert max(done for done, _ in context.steps) == 11
