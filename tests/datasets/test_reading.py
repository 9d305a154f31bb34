"""Reading a data set: what is broken is said and stays alone, and no header is believed before a decoder allocates."""

import io

import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidInputError
from tests.api.test_uploads import png_that_says
from tests.zips import picture, rows, zipped
from worker.datasets.decoding import UnusablePictureError, decode
from worker.datasets.reading import DataSet, Sample, Unusable


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    body = io.BytesIO()
    image.save(body, name, **options)
    return body.getvalue()


def test_whole_pictures_come_with_what_is_known_of_them() -> None:
    table = rows({"file_name": "train/cat/1.png", "text": "一只猫"})
    body = zipped({"train/cat/1.png": picture(1), "val/dog/2.jpg": picture(2, name="JPEG"), "metadata.jsonl": table})
    one, two = DataSet(body, 10_000).samples()
    assert isinstance(one, Sample)
    assert isinstance(two, Sample)
    assert (one.member.split, one.member.class_name, one.member.caption) == ("train", "cat", "一只猫")
    assert (two.member.split, two.member.class_name, two.member.caption) == ("val", "dog", None)
    assert one.pixels.shape == two.pixels.shape == (24, 24, 3)
    assert np.array_equal(one.pixels, np.asarray(Image.open(io.BytesIO(picture(1)))))


def test_what_cannot_be_used_is_named_with_its_reason_and_ends_nothing() -> None:
    whole = picture(1, (64, 64))
    files = {
        "a-cut.png": whole[: len(whole) // 2], "b-text.png": b"hello", "c-bomb.png": png_that_says(60_000, 60_000),
        "d-empty.png": b"", "e-bent.jpg": picture(2, name="JPEG")[:200], "f-large.png": picture(3, (200, 200)),
        "g-whole.png": whole,
    }  # fmt: skip
    found = {
        sample.member.name: sample.reason if isinstance(sample, Unusable) else "fine"
        for sample in DataSet(zipped(files), 10_000).samples()
    }
    assert found == {
        "a-cut.png": "broken", "b-text.png": "broken", "c-bomb.png": "too_large", "d-empty.png": "broken",
        "e-bent.jpg": "broken", "f-large.png": "too_large", "g-whole.png": "fine",
    }  # fmt: skip


def test_a_picture_is_upright_opaque_and_of_eight_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    upright = decode(encoded(image, "JPEG", exif=exif, quality=95), 10_000)
    assert upright.shape == (40, 20, 3)
    assert upright[5, 10, 0] > 200
    assert upright[35, 10, 2] > 200
    clear = decode(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG"), 10_000)
    assert clear.min() == 255
    grey = decode(encoded(Image.new("I;16", (8, 8), 32768), "PNG"), 10_000)
    assert set(grey.ravel().tolist()) == {127}


def test_other_formats_are_not_even_opened() -> None:
    for name in ("GIF", "BMP", "TIFF"):
        with pytest.raises(UnusablePictureError):
            decode(encoded(Image.new("RGB", (8, 8)), name), 10_000)


def test_what_is_no_data_set_is_invalid_input() -> None:
    for body in (b"", picture(), zipped({"../up.png": picture()})):
        with pytest.raises(InvalidInputError, match="no data set"):
            DataSet(body, 10_000)
