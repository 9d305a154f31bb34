"""Class to image with a diffusion transformer: any folder of diffusers' DiTPipeline (Peebles & Xie 2022)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from models.errors import CheckpointUnavailableError
from worker.pipelines.base import CheckpointFiles, Item
from worker.pipelines.denoising import Denoising, Predict
from worker.pipelines.draws import label_of
from worker.pipelines.failures import guarded_load
from worker.pipelines.opening import open_class

if TYPE_CHECKING:
    from worker.devices import Device

CLASSES = ("DiTPipeline",)


class Dit(Denoising):
    """A `DiTTransformer2DModel` over the latents of an autoencoder."""

    family: ClassVar[str] = "dit"
    tasks: ClassVar[frozenset[str]] = frozenset({"class_to_image", "interpolate"})

    def __init__(self, pipe: Any, names: Sequence[str], device: "Device") -> None:
        """`pipe` is loaded, on the device; `names` are those of its classes, by number."""
        config = pipe.transformer.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        super().__init__([pipe.transformer, pipe.vae], pipe.scheduler, device, shape)
        self._transformer, self._vae, self._names = pipe.transformer, pipe.vae, tuple(names)

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the folder; the profile names the classes, which are at most as many as the net has."""
        pipe = guarded_load(lambda: open_class(files.folder, device, CLASSES))
        known, names = pipe.transformer.config.num_embeds_ada_norm, files.profile.class_names
        if not 0 < len(names) <= known:
            raise CheckpointUnavailableError(
                f"{files.name}: the profile has {len(names)} class names, the net {known}."
            )
        return cls(pipe, names, device)

    def check(self, item: Item) -> None:
        """Also the class."""
        super().check(item)
        label_of(item, self._names)

    def decode(self, latents: Tensor) -> Tensor:
        """By the autoencoder."""
        scaled = (latents / self._vae.config.scaling_factor).to(self._vae.dtype)
        pictures: Tensor = self._vae.decode(scaled).sample
        return pictures

    def predictor(self, items: Sequence[Item]) -> Predict:
        """Guided away from the class behind the last, where guidance is above 1 (Ho & Salimans 2022)."""
        params: Any = items[0].params
        guidance = max(1.0, params.guidance_scale or 1.0)
        labels = torch.tensor([label_of(item, self._names) for item in items], device=self._device)
        none = torch.full_like(labels, self._transformer.config.num_embeds_ada_norm)

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            noisy = noisy.to(self._transformer.dtype)
            if guidance == 1:
                return self._predicted(noisy, time, labels)
            both = self._predicted(torch.cat([noisy, noisy]), time, torch.cat([labels, none]))
            told, untold = both.chunk(2)
            return untold + guidance * (told - untold)

        return predict

    def _predicted(self, noisy: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """`(B, C, h, w)`, without the variance that some of these nets learn beside it."""
        times = torch.as_tensor(time, device=noisy.device).expand(len(noisy))
        predicted: Tensor = self._transformer(noisy, timestep=times, class_labels=labels).sample
        return predicted[:, : noisy.shape[1]]
