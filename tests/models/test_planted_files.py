"""What somebody may plant in a checkpoint's folder or say in a manifest: refused by name, before anything reads it."""

import os
import socket
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.checkpoints import FileManifest, Source, manifest, scan_folder
from models.checkpoints.card import read_folder
from models.checkpoints.names import check_location, check_path
from models.checkpoints.weights import BadWeightsError, check_weights
from models.errors import ValidationFailedError
from models.session import Sessions
from tests.seeding import Seeder
from tests.weights import file_that_says, framed, weights, weights_of

ENTRY = {"sha256": "0" * 64, "size_bytes": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(weights())
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder


def code_of(error: pytest.ExceptionInfo[ValidationFailedError]) -> str:
    return error.value.fields[0].code


@pytest.mark.parametrize("where", ["", "unet/", "unet/deeper/"])
@pytest.mark.parametrize(
    "name", ["model.bin", "model.ckpt", "model.pt", "model.PT", "model.pkl", "model.safetensors.pt"]
)
def test_planted_pickles(folder: Path, where: str, name: str) -> None:
    (folder / where).mkdir(exist_ok=True)
    (folder / where / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValidationFailedError, match=f"{where}{name}") as error:
        scan_folder(folder)
    assert code_of(error) == "unsafe_format"


def plant_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def plant_hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside)


def plant_fifo(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def plant_socket(path: Path, _outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def plant_link_to_folder(path: Path, outside: Path) -> None:
    path.symlink_to(outside.parent, target_is_directory=True)


def plant_link_to_nothing(path: Path, _outside: Path) -> None:
    path.symlink_to("../../nothing")


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        (plant_link, "symlink"),
        (plant_link_to_folder, "symlink"),
        (plant_link_to_nothing, "symlink"),
        (plant_hard_link, "hard_link"),
        (plant_fifo, "special_file"),
        (plant_socket, "special_file"),
    ],
)
def test_planted_links_and_devices(folder: Path, tmp_path: Path, plant: Any, code: str) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    plant(folder / "unet" / "planted.json", outside)
    with pytest.raises(ValidationFailedError, match=r"unet/planted\.json") as error:
        scan_folder(folder)
    assert code_of(error) == code


def test_an_installer_may_link_what_it_installs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").hardlink_to(folder / "model_index.json")
    assert "model_index.json" in read_folder(folder, hard_links=True).manifest.files


def test_a_device_file(folder: Path) -> None:
    try:
        os.mknod(folder / "zero.json", 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes device files")
    with pytest.raises(ValidationFailedError, match=r"zero\.json"):
        scan_folder(folder)


def test_an_index_that_is_too_large_to_be_read(folder: Path) -> None:
    # Sparse: it has the size without the bytes.
    with (folder / "unet" / "model.safetensors.index.json").open("wb") as stream:
        stream.truncate(manifest.MAX_OTHER_BYTES + 1)
    with pytest.raises(ValidationFailedError, match=r"unet/model\.safetensors\.index\.json") as error:
        scan_folder(folder)
    assert code_of(error) == "too_large"


@pytest.mark.parametrize(
    "index",
    [b"[" * 100_000, b'{"_class_name":' * 5_000, b"[]", b'"x"', b"null", b"{", b"\xff\xfe", b"1" * 5_000],
)
@pytest.mark.parametrize("name", ["model_index.json", "safelight.json", "unet/config.json", "vae/config.json"])
def test_an_index_that_is_no_object(folder: Path, name: str, index: bytes) -> None:
    (folder / "vae").mkdir()
    (folder / name).write_bytes(index)
    with pytest.raises(ValidationFailedError):
        read_folder(folder)


@pytest.mark.parametrize("value", ['"x"', "[96, 96]", "1e400", "-5", "1" + "0" * 400, "null", "{}", "true"])
def test_numbers_of_an_index_that_are_none(folder: Path, value: str) -> None:
    (folder / "vae").mkdir()
    (folder / "unet" / "config.json").write_text(f'{{"sample_size": {value}}}')
    (folder / "vae" / "config.json").write_text(f'{{"block_out_channels": {value}}}')
    try:
        side = read_folder(folder, name="odd").profile.default_width
    except ValidationFailedError:
        return
    assert 0 < side <= 4096


def test_more_files_than_a_checkpoint_has(folder: Path) -> None:
    for number in range(manifest.MAX_FILES + 1):
        (folder / f"{number}.json").touch()
    with pytest.raises(ValidationFailedError) as error:
        scan_folder(folder)
    assert code_of(error) == "too_many_files"
    with pytest.raises(ValidationFailedError) as error:
        FileManifest({f"{number}.safetensors": ENTRY for number in range(manifest.MAX_FILES + 1)}).check()
    assert code_of(error) == "too_many_files"


# --- weights whose header lies -----------------------------------------------------------------------------------

BYTES = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def test_true_headers_are_taken(tmp_path: Path) -> None:
    scalar = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
    empty = {"dtype": "BF16", "shape": [0, 7], "data_offsets": [4, 4]}
    for body in (
        weights(),
        weights(1000),
        weights_of(b"abc"),
        file_that_says({"__metadata__": {"format": "pt"}, "b": empty, "a": scalar}, b"1234"),
    ):
        path = tmp_path / "model.safetensors"
        path.write_bytes(body)
        check_weights(path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"1234567",
        (1 << 63).to_bytes(8, "little") + b"{}",
        (100).to_bytes(8, "little") + b"{}",
        framed(b""),
        framed(b"[]"),
        framed(b"{" * 50_000),
        framed(b"\xff"),
        file_that_says({}, b"more"),
        file_that_says({"a": BYTES}, b"123"),
        file_that_says({"a": BYTES}, b"12345"),
        file_that_says({"a": BYTES, "b": BYTES}, b"1234"),
        file_that_says({"a": BYTES | {"data_offsets": [4, 8]}}, b"12345678"),
        file_that_says({"a": BYTES | {"data_offsets": [-4, 0]}}, b""),
        file_that_says({"a": BYTES | {"data_offsets": [4, 0]}}, b"1234"),
        file_that_says({"a": BYTES | {"data_offsets": [0, 1 << 70]}}, b"1234"),
        file_that_says({"a": BYTES | {"shape": [1 << 40, 1 << 40]}}, b"1234"),
        file_that_says({"a": BYTES | {"shape": [-1, -4]}}, b"1234"),
        file_that_says({"a": BYTES | {"shape": [True, 4]}}, b"1234"),
        file_that_says({"a": BYTES | {"shape": "4"}}, b"1234"),
        file_that_says({"a": BYTES | {"dtype": "OBJECT"}}, b"1234"),
        file_that_says({"a": ["U8", [4], [0, 4]]}, b"1234"),
        b"\x80\x04\x95" + b"pickle" * 10,
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_headers_that_lie_are_refused_with_the_files_name(folder: Path, body: bytes) -> None:
    (folder / "unet" / "lying.safetensors").write_bytes(body)
    with pytest.raises(ValidationFailedError, match=r"unet/lying\.safetensors") as error:
        scan_folder(folder)
    assert code_of(error) == "bad_weights"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.text(max_size=5),
        JSON
        | st.fixed_dictionaries({"dtype": st.sampled_from(["U8", "F32", "x"]), "shape": JSON, "data_offsets": JSON}),
        max_size=3,
    ),
    st.binary(max_size=20),
)
def test_what_our_check_takes_the_library_takes(
    tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes
) -> None:
    from safetensors import SafetensorError, safe_open

    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    path.write_bytes(file_that_says(header, data))
    try:
        check_weights(path)
    except BadWeightsError:
        return
    metadata = header.get("__metadata__")
    if metadata is None or (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        with safe_open(path, framework="numpy") as opened:  # type: ignore[no-untyped-call]
            assert set(opened.keys()) == header.keys() - {"__metadata__"}
    else:
        with pytest.raises(SafetensorError):
            safe_open(path, framework="numpy")  # type: ignore[no-untyped-call]


# --- names -------------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(
    ["..", ".", "", "a", "unet", "model.safetensors", "~", "C:", "\\", "\0", "\n", " ", ".git", "$(x)"]
)
NAMES = st.one_of(st.text(max_size=40), st.lists(PARTS | st.text(max_size=8), max_size=6).map("/".join))


@given(NAMES)
@example("../up.safetensors")
@example("/etc/passwd")
@example("a/../../b")
@example("a\\..\\b")
@example("a//b")
@example("a/./b")
@example("..\x00/a")
@example("a/..")
def test_no_name_of_a_manifest_leads_anywhere_else(name: str) -> None:
    try:
        check_path(name)
    except ValidationFailedError:
        return
    folder, key = PurePosixPath("/cache/revision"), "checkpoints/mine"
    joined = os.path.normpath(folder / name)
    # Neither as a path, nor as a key that some store tidies up; and it is the same name afterwards.
    assert joined == f"{folder}/{name}"
    assert os.path.normpath(f"{key}/{name}") == f"{key}/{name}"
    name.encode()


@given(st.sampled_from([Source.S3, Source.HUB]), NAMES)
@example(Source.S3, "checkpoints/../results")
@example(Source.S3, "/results")
@example(Source.HUB, f"../..@{'0a' * 20}")
@example(Source.HUB, f"a/b@{'0a' * 20}\n")
@example(Source.HUB, "a/b@main")
def test_no_location_leads_anywhere_else(source: Source, location: str) -> None:
    try:
        check_location(source, location)
    except ValidationFailedError:
        return
    plain = location.removesuffix("/")
    assert source is Source.S3
    assert os.path.normpath(f"/bucket/{plain}") == f"/bucket/{plain}"


@pytest.mark.parametrize(
    "name", ["../up.safetensors", "/abs.safetensors", "a/../../b.safetensors", ".hidden/a.safetensors"]
)
def test_the_registry_takes_no_such_name(sessions: Sessions, seed: Seeder, name: str) -> None:
    with pytest.raises(ValidationFailedError) as error:
        seed.checkpoint(source=Source.S3, location="checkpoints/mine", manifest=FileManifest({name: ENTRY}))
    assert code_of(error) == "unsafe_path"
    with pytest.raises(ValidationFailedError):
        seed.checkpoint(source=Source.S3, location="checkpoints/../results")
