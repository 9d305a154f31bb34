"""Class to image with a conditional GAN: noise and labels in, a batch of pictures out in one forward pass."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from worker.pipelines.base import CheckpointFiles, Item, generator_for
from worker.pipelines.draws import Draw, check_names, label_of, noise, truncations
from worker.pipelines.failures import guarded_load
from worker.pipelines.one_pass import OnePass
from worker.pipelines.walks import between, seeds_of, walk_of

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.nets.conditional_gan import ConditionalGenerator


class ConditionalGan(OnePass):
    """A `ConditionalGenerator`. Truncation scales its noise."""

    family: ClassVar[str] = "conditional_gan"
    tasks: ClassVar[frozenset[str]] = frozenset({"class_to_image", "interpolate"})

    def __init__(self, generator: "ConditionalGenerator", device: "Device") -> None:
        """`generator` is loaded, in eval mode, on the device."""
        super().__init__(generator, device)
        self._generator = generator

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`; the profile's classes must be the net's."""
        from worker.nets.conditional_gan import ConditionalGenerator

        generator = guarded_load(lambda: ConditionalGenerator.from_pretrained(files.folder).to(device.torch_device))
        check_names(files, generator.config.class_names)
        return cls(generator, device)

    def check(self, item: Item) -> None:
        """The class."""
        label_of(item, self._generator.config.class_names)

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """One pass for all draws, whatever their labels and truncations."""
        latents = noise((draw.stream() for draw in draws), self._generator.config.latent_dim)
        return self._decoded(latents * truncations(draws)[:, None], [self._label(draw.item) for draw in draws])

    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """From noise to noise, within one class."""
        params, width, label = walk_of(item), self._generator.config.latent_dim, self._label(item)
        stops = noise((generator_for(seed, 0) for seed in seeds_of(item)), width) * params.truncation
        latents = between(stops, params.frames, params.path)
        return lambda part: self._decoded(latents[part], [label] * len(latents[part]))

    def _label(self, item: Item) -> int:
        return label_of(item, self._generator.config.class_names)

    def _decoded(self, latents: Tensor, labels: Sequence[int]) -> Tensor:
        pictures: Tensor = self._generator(latents.to(self._device), torch.tensor(labels, device=self._device))
        return pictures
