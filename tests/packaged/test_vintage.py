"""The generator's state dict, in the names of the public implementation."""

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
