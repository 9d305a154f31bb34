"""Sample with unconditional diffusion: any folder of diffusers' DDPMPipeline or DDIMPipeline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor

from models.errors import CheckpointUnavailableError
from worker.pipelines.base import CheckpointFiles, Item
from worker.pipelines.denoising import Denoising, Predict
from worker.pipelines.failures import guarded_load
from worker.pipelines.opening import open_class

if TYPE_CHECKING:
    from worker.devices import Device

CLASSES = ("DDPMPipeline", "DDIMPipeline")
COLOURS = (1, 3)


class Ddpm(Denoising):
    """A `UNet2DModel` of pixels without classes."""

    family: ClassVar[str] = "ddpm"
    tasks: ClassVar[frozenset[str]] = frozenset({"sample", "interpolate"})

    def __init__(self, pipe: Any, device: "Device") -> None:
        """`pipe` is loaded, on the device."""
        config = pipe.unet.config
        size = config.sample_size if isinstance(config.sample_size, (list, tuple)) else (config.sample_size,) * 2
        super().__init__([pipe.unet], pipe.scheduler, device, (config.in_channels, *size))
        self._unet = pipe.unet

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `unet/` and `scheduler/`."""
        pipe = guarded_load(lambda: open_class(files.folder, device, CLASSES))
        config = pipe.unet.config
        if config.in_channels not in COLOURS or config.num_class_embeds or config.class_embed_type:
            raise CheckpointUnavailableError(f"{files.name} has no UNet of grey or coloured pixels without classes.")
        return cls(pipe, device)

    def predictor(self, items: Sequence[Item]) -> Predict:  # noqa: ARG002  # nothing of an item leads it
        """The net as it is."""

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            predicted: Tensor = self._unet(noisy.to(self._unet.dtype), time).sample
            return predicted

        return predict
