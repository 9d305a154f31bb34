"""Zips of pictures: what their paths and tables mean, and the ones that are made to do harm."""

import contextlib
import io
import stat
import struct
import warnings
import zipfile

import pytest

from models.data_sets import Archive, Bounds, BrokenMemberError, RefusedArchiveError
from models.data_sets.archive import describe
from tests.zips import image_folder, picture, rows, zipped

BOUNDS = Bounds(pictures=20, total_bytes=8 << 20, picture_bytes=1 << 20)


def opened(data: bytes, bounds: Bounds = BOUNDS) -> Archive:
    return Archive(io.BytesIO(data), bounds)


def refused(data: bytes, bounds: Bounds = BOUNDS) -> str:
    with pytest.raises(RefusedArchiveError) as error:
        opened(data, bounds)
    return error.value.code


def test_classes_are_folders(subtests: pytest.Subtests) -> None:
    one = picture()
    layouts = {
        "a class each": ({"cat/1.png": one, "dog/2.PNG": one}, {"cat", "dog"}, set()),
        "splits of classes": ({"train/cat/1.png": one, "Test/dog/2.png": one}, {"cat", "dog"}, {"train", "test"}),
        "files alone": ({"1.png": one, "2.jpeg": one}, set(), set()),
        "splits of files": ({"train/1.png": one, "val/2.webp": one}, set(), {"train", "val"}),
        "one folder round all": ({"mine/cat/1.png": one, "mine/dog/2.png": one}, {"cat", "dog"}, set()),
        "one folder round splits": ({"mine/train/1.png": one, "mine/val/2.png": one}, set(), {"train", "val"}),
        "one class": ({"cat/1.png": one, "cat/2.png": one}, {"cat"}, set()),
        "one split": ({"train/cat/1.png": one, "train/cat/2.png": one}, {"cat"}, {"train"}),
        "folders within classes": ({"cat/a/1.png": one, "dog/b/c/2.png": one}, {"cat", "dog"}, set()),
    }
    for name, (files, classes, splits) in layouts.items():
        with subtests.test(name):
            archive = opened(zipped(files))
            found = describe(archive.members)
            assert (set(found["classes"]), set(found["splits"])) == (classes, splits)
            assert found["pictures"] == len(files) == 2
            assert archive.read(archive.members[0].name) == one


def test_a_table_says_more_than_the_folders() -> None:
    table = rows(
        {"file_name": "cat/1.png", "text": "一只猫", "split": "train"},
        {"file_name": "./cat/2.png", "caption": "a second cat", "label": "tiger"},
        {"file_name": "gone.png", "text": "nothing"},
        {"file_name": "cat/1.png", "split": "../up"},
        {"text": "no name"},
    )
    files = {"cat/1.png": picture(1), "cat/2.png": picture(2), "dog/3.png": picture(3)}
    archive = opened(zipped({**files, "metadata.jsonl": table + "no json\n\n"}))
    found = {member.name: (member.class_name, member.split, member.caption) for member in archive.members}
    assert found == {
        "cat/1.png": ("cat", "train", "一只猫"),
        "cat/2.png": ("tiger", None, "a second cat"),
        "dog/3.png": ("dog", None, None),
    }
    assert archive.bad_rows == 4
    assert describe(archive.members)["captions"] == 2


def test_a_table_names_the_files_beside_it() -> None:
    table = rows({"file_name": "1.png", "label": 3})
    archive = opened(zipped({"train/1.png": picture(), "train/metadata.jsonl": table}))
    (member,) = archive.members
    assert (member.name, member.split, member.class_name) == ("train/1.png", "train", "3")


def test_what_is_no_picture_is_ignored() -> None:
    files = {
        "cat/1.png": picture(), "cat/.DS_Store": "x", "__MACOSX/cat/._1.png": "x", ".git/a.png": "x",
        "README.md": "x", "run.exe": "x", "inner.zip": zipped(image_folder({"dog": 2})), "cat/": "",
    }  # fmt: skip
    archive = opened(zipped(files))
    assert [member.name for member in archive.members] == ["cat/1.png"]
    assert archive.ignored == 3


@pytest.mark.parametrize(
    "name",
    ["../up.png", "/abs.png", "a/../b.png", "a\\b.png", "C:/x.png", "a//b.png", "./a.png", "a\nb.png", "x" * 600],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert refused(zipped({name: picture(), "fine.png": picture()})) == "unsafe_name"


def test_a_name_with_a_hidden_end_is_refused() -> None:
    """Given a name whose rest hides behind a NUL, when Python's own reader would cut it off, then it is refused."""
    data = zipped({"fine.pngX../../up": picture()}).replace(b"fine.pngX", b"fine.png\0")
    assert refused(data) == "unsafe_name"


def test_links_and_encrypted_and_odd_files_are_refused() -> None:
    def with_entry(info: zipfile.ZipInfo) -> bytes:
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            archive.writestr("cat.png", picture())
            archive.writestr(info, "/etc/passwd")
        return body.getvalue()

    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refused(with_entry(link)) == "special_file"
    device = zipfile.ZipInfo("null.png")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    assert refused(with_entry(device)) == "special_file"
    assert refused(zipped({"a.png": picture()}, zipfile.ZIP_BZIP2)) == "unknown_compression"
    assert refused(zipped({"a.png": picture()}, zipfile.ZIP_LZMA)) == "unknown_compression"
    plain = zipped({"a.png": picture()}, zipfile.ZIP_STORED)
    directory = plain.rindex(b"PK\x01\x02")
    assert refused(plain[: directory + 8] + b"\x01" + plain[directory + 9 :]) == "encrypted"


def test_a_name_that_is_there_twice_is_refused() -> None:
    body = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(body, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a.png", picture(1))
        archive.writestr("a.png", picture(2))
    assert refused(body.getvalue()) == "duplicate_name"


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    assert refused(zipped({"a.png": bytes(9 << 20)})) == "too_large_unpacked"
    wide = Bounds(pictures=20, total_bytes=1 << 30, picture_bytes=1 << 30)
    assert refused(zipped({"a.png": bytes(8 << 20)}), wide) == "compressed_too_far"
    many = zipped({f"{n}.png": b"" for n in range(21)})
    assert refused(many) == "too_many_pictures"
    assert refused(zipped({f"{n}.txt": b"" for n in range(1041)})) == "too_many_entries"


def test_a_directory_that_lies_about_sizes_breaks_that_picture_alone() -> None:
    """Given a picture that unpacks to more than its entry says, when it is read, then it alone is broken."""
    data = zipped({"a.png": picture(1), "b.png": bytes(100_000)})
    directory = data.rindex(b"PK\x01\x02")
    told = struct.pack("<I", 10)
    archive = opened(data[: directory + 24] + told + data[directory + 28 :])
    assert archive.read("a.png") == picture(1)
    with pytest.raises(BrokenMemberError):
        archive.read("b.png")


def test_a_picture_that_is_too_long_is_broken() -> None:
    archive = opened(zipped({"a.png": picture()}), Bounds(pictures=5, total_bytes=1 << 20, picture_bytes=100))
    with pytest.raises(BrokenMemberError):
        archive.read("a.png")


def test_damaged_zips_are_refused_or_read_and_nothing_else() -> None:
    """Given a zip cut off or bent at any place, when it is opened and read, then only the two errors come."""
    data = zipped({**image_folder({"cat": 2}), "metadata.jsonl": rows({"file_name": "a.png"})})
    assert refused(b"") == refused(b"PK") == refused(data[: len(data) // 2]) == "not_a_zip"
    for index in range(0, len(data), 3):
        bent = data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :]
        try:
            archive = opened(bent)
        except RefusedArchiveError:
            continue
        for member in archive.members:
            with contextlib.suppress(BrokenMemberError):
                archive.read(member.name)
