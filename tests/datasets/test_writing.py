"""Writing a data set: what is written reads the same, names are free, and the bytes depend on the pictures alone."""

import io
import time
import zipfile

import numpy as np
import pytest

from worker.datasets.decoding import Pixels
from worker.datasets.reading import DataSet, Sample
from worker.datasets.writing import DataSetWriter

NOISE = np.random.default_rng(1).integers(0, 256, (3, 16, 20, 3), np.uint8)


def written(*pictures: tuple[Pixels, dict[str, str | None]], picture_format: str = "png") -> bytes:
    stream = io.BytesIO()
    writer = DataSetWriter(stream, picture_format)  # type: ignore[arg-type]
    for pixels, facts in pictures:
        writer.add(pixels, **facts)  # type: ignore[arg-type]
    writer.close()
    return stream.getvalue()


def test_what_was_written_reads_the_same() -> None:
    body = written(
        (NOISE[0], {"stem": "1", "split": "train", "class_name": "cat", "caption": "一只猫"}),
        (NOISE[1], {"stem": "2", "split": "tuning", "class_name": "dog/wolf: ..", "caption": None}),
        (NOISE[2], {"stem": "3", "split": "tuning", "class_name": None, "caption": None}),
    )
    found = {sample.member.name: sample for sample in DataSet(body, 1000).samples()}
    assert all(isinstance(sample, Sample) for sample in found.values())
    facts = {name: (s.member.split, s.member.class_name, s.member.caption) for name, s in found.items()}
    assert facts == {
        "train/cat/1.png": ("train", "cat", "一只猫"),
        "tuning/dog-wolf/2.png": ("tuning", "dog/wolf: ..", None),
        "tuning/3.png": ("tuning", None, None),
    }
    assert np.array_equal(found["train/cat/1.png"].pixels, NOISE[0])


def test_two_of_one_name_are_numbered() -> None:
    same = {"stem": "a b", "split": "train", "class_name": None, "caption": None}
    names = zipfile.ZipFile(io.BytesIO(written((NOISE[0], same), (NOISE[1], same)))).namelist()
    assert names == ["train/a-b.png", "train/a-b-2.png", "metadata.jsonl"]


@pytest.mark.parametrize("picture_format", ["png", "jpeg", "webp"])
def test_the_same_pictures_give_the_same_bytes(picture_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [(pixels, {"stem": str(at), "split": "train"}) for at, pixels in enumerate(NOISE)]
    first = written(*pictures, picture_format=picture_format)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert written(*pictures, picture_format=picture_format) == first
    (sample, *_) = DataSet(first, 1000).samples()
    assert isinstance(sample, Sample)
    difference = np.abs(sample.pixels.astype(int) - NOISE[0]).mean()
    assert difference < 12 if picture_format == "jpeg" else difference == 0
