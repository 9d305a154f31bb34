"""Reading and writing a network's folder: what fits comes back, what does not is refused by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from worker.nets.folders import FolderError, fit, read_config, read_own_config, read_weights, write_folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tensors = {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)}
    write_folder(tmp_path, {"_class_name": "Net", "widths": (4, 8)}, tensors)
    assert read_config(tmp_path) == {"_class_name": "Net", "widths": (4, 8)}
    stored = read_weights(tmp_path)
    assert stored["weight"].dtype == torch.float16
    assert stored["count"].dtype == torch.int64
    assert torch.equal(stored["weight"].float(), tensors["weight"])


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"_class_name": "Net"}, {})
    with pytest.raises(FolderError, match="holds a Net, not a Other"):
        read_own_config(tmp_path, "Other")


@pytest.mark.parametrize("content", [None, "{", "[1, 2]"])
def test_a_broken_config_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(FolderError, match=r"config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", [None, b"no tensors in here"])
def test_broken_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FolderError, match=r"model\.safetensors"):
        read_weights(tmp_path)


def test_weights_that_do_not_fit_are_named() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(FolderError, match=r"1 missing \(bias\); 1 not wanted \(extra\); 1 of another shape \(weight\)"):
        fit(net, {"weight": torch.zeros(3, 2), "extra": torch.zeros(1)})
