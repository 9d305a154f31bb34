"""Class to image with a conditional GAN: noise and labels in, a batch of pictures out in one forward pass."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import ClassToImageParams
from worker.pipelines.base import CheckpointFiles, Context, Determinism, Item, Output, Picture, Pipeline, generator_for
from worker.pipelines.failures import guarded, guarded_load
from worker.pipelines.pixels import to_pixels

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.nets.conditional_gan import ConditionalGenerator
    from worker.pipelines.base import Pixels


class ConditionalGan(Pipeline):
    """A `ConditionalGenerator` on one device, in float32: it is small, and its pictures stay the same everywhere."""

    family: ClassVar[str] = "conditional_gan"
    tasks: ClassVar[frozenset[str]] = frozenset({"class_to_image"})
    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE

    def __init__(self, generator: "ConditionalGenerator", device: "Device") -> None:
        """`generator` is loaded, in eval mode, on the device."""
        self._generator = generator
        self._device = device.torch_device

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`; the profile's classes must be the net's."""
        from worker.nets.conditional_gan import ConditionalGenerator

        generator = guarded_load(lambda: ConditionalGenerator.from_pretrained(files.folder).to(device.torch_device))
        names = files.profile.class_names
        if names and names != generator.config.class_names:
            text = f"{files.name}: the profile's {len(names)} class names are not those of its config.json."
            raise CheckpointUnavailableError(text)
        return cls(generator, device)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One forward pass for all items, whatever their labels."""
        context.raise_if_all_stopped()
        labels = [self._label(item) for item in items]
        rows = [
            (item, label, index)
            for item, label in zip(items, labels, strict=True)
            for index in range(item.params.rows())
        ]
        pixels = guarded(lambda: self._forward(rows))
        context.step(1, 1)
        for (item, _, index), picture in zip(rows, pixels, strict=True):
            if not context.stopped(item.job_id):
                yield Picture(item.job_id, index, picture, item.seed)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        tensors = (*self._generator.parameters(), *self._generator.buffers())
        return sum(tensor.nbytes for tensor in tensors)

    def _forward(self, rows: "Sequence[tuple[Item, int, int]]") -> "Pixels":
        """`(B, H, W, 3)` uint8 for (item, label, index) rows."""
        latents = torch.stack([self._latent(item, index) for item, _, index in rows])
        labels = torch.tensor([label for _, label, _ in rows], dtype=torch.long)
        with torch.inference_mode():
            pictures = self._generator(latents.to(self._device), labels.to(self._device))
            return to_pixels(pictures / 2 + 0.5)

    def _latent(self, item: Item, index: int) -> Tensor:
        """`(latent_dim,)` from the picture's own generator, scaled by the truncation."""
        params = _params(item)
        noise = torch.randn(self._generator.config.latent_dim, generator=generator_for(params.seed or 0, index))
        return noise * params.truncation

    def _label(self, item: Item) -> int:
        """The label as an index that the net has."""
        label, names = _params(item).class_label, self._generator.config.class_names
        if isinstance(label, str):
            label = names.index(label) if label in names else -1
        if not 0 <= label < len(names):
            text = f"This checkpoint has no class {_params(item).class_label!r}."
            raise InvalidInputError(text, job_id=str(item.job_id), field="/params/class_label")
        return label


def _params(item: Item) -> ClassToImageParams:
    assert isinstance(item.params, ClassToImageParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params
