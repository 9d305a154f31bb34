"""Real-ESRGAN's nets, and the reading of ncnn's files: what is written by hand comes back, what lies is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worker.nets.ncnn_weights import BadNcnnError, read_layers
from worker.nets.real_esrgan import SCALE, RRDBNet, SRVGGNetCompact

GRAPH = """7767517
3 3
Input input 0 1 data
Convolution first 1 1 data a 0=2 1=3 4=1 5=1 6=54
PReLU bend 1 1 a b 0=2
Convolution second 1 1 b output 0=3 1=1 5=0 6=6
"""
HALF, WHOLE = (0x01306B47).to_bytes(4, "little"), bytes(4)
FIRST = np.linspace(-1, 1, 54, dtype=np.float16)
BIAS = np.array([0.5, -0.25], np.float32)
SLOPES = np.array([0.1, 0.2], np.float32)
SECOND = np.arange(6, dtype=np.float32)
BODY = HALF + FIRST.tobytes() + BIAS.tobytes() + SLOPES.tobytes() + WHOLE + SECOND.tobytes()


def written(folder: Path, graph: str = GRAPH, body: bytes = BODY) -> tuple[Path, Path]:
    (folder / "net.param").write_text(graph)
    (folder / "net.bin").write_bytes(body)
    return folder / "net.param", folder / "net.bin"


def test_halves_and_whole_floats_come_back(tmp_path: Path) -> None:
    first, bend, second = read_layers(*written(tmp_path))
    assert first.weight.shape == (2, 3, 3, 3)
    assert first.weight.flatten().tolist() == FIRST.astype(np.float32).tolist()
    assert first.bias is not None
    assert first.bias.tolist() == BIAS.tolist()
    assert (bend.kind, bend.weight.tolist(), bend.bias) == ("PReLU", SLOPES.tolist(), None)
    assert (second.weight.shape, second.bias) == ((3, 2, 1, 1), None)


def test_an_odd_number_of_halves_is_filled_up(tmp_path: Path) -> None:
    graph = "7767517\n1 1\nConvolution only 1 1 a b 0=1 1=1 5=1 6=3\n"
    body = HALF + np.array([1, 2, 3], np.float16).tobytes() + b"\0\0" + np.array([4], np.float32).tobytes()
    (only,) = read_layers(*written(tmp_path, graph, body))
    assert only.weight.flatten().tolist() == [1, 2, 3]
    assert only.bias is not None
    assert only.bias.tolist() == [4]


@pytest.mark.parametrize(
    ("graph", "body", "said"),
    [
        (GRAPH, BODY[:-1], "in the middle"),
        (GRAPH, b"", "in the middle"),
        (GRAPH, BODY + b"\0", "more than the layers"),
        ("not a graph\n", BODY, "no ncnn graph"),
        (GRAPH, (0x000D4B38).to_bytes(4, "little") + BODY[4:], "not read here: 0xd4b38"),
        (GRAPH.replace("6=54", "6=55"), BODY, "has no 55 weights"),
    ],
)
def test_files_that_lie_are_refused(tmp_path: Path, graph: str, body: bytes, said: str) -> None:
    with pytest.raises(BadNcnnError, match=said):
        read_layers(*written(tmp_path, graph, body))


@pytest.mark.parametrize("net", [RRDBNet, SRVGGNetCompact])
def test_another_net_is_refused(tmp_path: Path, net: type[RRDBNet] | type[SRVGGNetCompact]) -> None:
    with pytest.raises(BadNcnnError, match=net.__name__):
        net.from_ncnn(*written(tmp_path))


@pytest.mark.parametrize("net", [RRDBNet(blocks=1, channels=8, growth=4), SRVGGNetCompact(convolutions=2, channels=8)])
def test_a_net_enlarges_and_has_the_public_names(net: torch.nn.Module) -> None:
    torch.manual_seed(0)
    assert net(torch.rand(2, 3, 6, 5)).shape == (2, 3, 6 * SCALE, 5 * SCALE)
    names = set(net.state_dict())
    assert {"conv_first.weight", "body.0.rdb1.conv1.weight", "conv_hr.bias"} <= names or {
        "body.0.weight",
        "body.1.weight",
        "body.6.bias",
    } <= names


def test_the_compact_net_adds_to_the_enlarged_picture() -> None:
    net = SRVGGNetCompact(convolutions=1, channels=4).requires_grad_(requires_grad=False)
    for parameter in net.body[-1].parameters():
        parameter.zero_()
    picture = torch.rand(1, 3, 4, 4)
    assert torch.equal(net(picture), picture.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3))
