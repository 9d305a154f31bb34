"""Photo to vintage photo: the generator of a CycleGAN (Zhu et al. 2017) as vintagify trained it at 512 px.

Handed over in the names of the public implementation, for `worker.nets.cyclegan`.
"""

from typing import TYPE_CHECKING, Any, Final

from worker.packaged.files import VINTAGE

if TYPE_CHECKING:
    from torch import Tensor

CONFIG: Final[dict[str, Any]] = {
    "in_channels": 3,
    "out_channels": 3,
    "ngf": 64,
    "n_blocks": 9,
    "norm": "instance_affine",
    "upsampling": "transpose",
}
TRAINED_SIDE: Final = 512


def load_vintage() -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """The generator's configuration, and its 94 tensors in float32.

    Raises:
        CheckpointUnavailableError: the package is missing, or its file is not the pinned one.
    """
    from worker.packaged.state_dicts import read_state_dict

    tensors = read_state_dict(VINTAGE)
    return dict(CONFIG), {name.replace(".block.", ".conv_block."): value for name, value in tensors.items()}
