"""Class to image with diffusion in pixel space, guided away from the class "none"."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from worker.pipelines.base import CheckpointFiles, Item
from worker.pipelines.denoising import Denoising, Predict
from worker.pipelines.draws import check_names, label_of
from worker.pipelines.failures import guarded_load
from worker.pipelines.opening import quieten

if TYPE_CHECKING:
    from worker.devices import Device


class ClassConditionalDiffusion(Denoising):
    """A `worker.nets.class_diffusion.ClassDiffusion`."""

    family: ClassVar[str] = "class_diffusion"
    tasks: ClassVar[frozenset[str]] = frozenset({"class_to_image", "interpolate"})

    def __init__(self, model: Any, device: "Device") -> None:
        """`model` is loaded, its UNet on the device."""
        config = model.unet.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        super().__init__([model.unet], model.scheduler, device, shape)
        self._model = model

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `unet/` and `scheduler/`; the profile's classes must be those of `model_index.json`."""
        from worker.nets.class_diffusion import ClassDiffusion

        quieten()
        model = guarded_load(lambda: ClassDiffusion.from_pretrained(files.folder))
        check_names(files, model.class_names)
        # Torch's own `to`: that of diffusers warns of an empty list of modules to keep in float32.
        guarded_load(lambda: torch.nn.Module.to(model.unet, device.torch_device, device.dtype))
        return cls(model, device)

    def check(self, item: Item) -> None:
        """Also the class."""
        super().check(item)
        label_of(item, self._model.class_names)

    def predictor(self, items: Sequence[Item]) -> Predict:
        """Guided where guidance is above 1 (Ho & Salimans 2022)."""
        params: Any = items[0].params
        guidance = max(1.0, params.guidance_scale or 1.0)
        labels = torch.tensor([label_of(item, self._model.class_names) for item in items], device=self._device)
        dtype = self._model.unet.dtype

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            predicted: Tensor = self._model.velocity(noisy.to(dtype), time, labels, guidance)
            return predicted

        return predict
