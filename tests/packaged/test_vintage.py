"""The generator's state dict, in the names of the public implementation, and what it does to a picture."""

import numpy as np
import torch

from tests.packaged.conftest import Pixels
from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator
from worker.packaged.vintage import CONFIG, load_vintage


def test_its_tensors_have_the_public_names_and_fit_its_configuration() -> None:
    config, tensors = load_vintage()
    assert config == CONFIG
    assert len(tensors) == 94
    assert tuple(tensors["model.1.weight"].shape) == (config["ngf"], config["in_channels"], 7, 7)
    assert tuple(tensors["model.26.weight"].shape) == (config["out_channels"], config["ngf"], 7, 7)
    blocks = {name.split(".")[1] for name in tensors if ".conv_block." in name}
    assert len(blocks) == config["n_blocks"]
    assert tuple(tensors["model.19.weight"].shape) == (4 * config["ngf"], 2 * config["ngf"], 3, 3)


def test_it_changes_the_colours_and_keeps_the_drawing(scene: Pixels) -> None:
    # given
    config, tensors = load_vintage()
    generator = CycleGanGenerator.from_state_dict(CycleGanConfig(**config), tensors)
    # when
    given = torch.from_numpy(np.array(scene)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        made = generator(given)
    # then
    assert made.shape == given.shape
    assert made.abs().max() <= 1
    assert (made - given).abs().mean() > 0.1
    outlines = [picture.mean(1).diff(dim=-1).flatten() for picture in (given, made)]
    assert float(torch.corrcoef(torch.stack(outlines))[0, 1]) > 0.7
