"""Class to image with a BigGAN: our small one, or any folder in the layout of the public weights."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from worker.pipelines.base import CheckpointFiles, Item, generator_for
from worker.pipelines.draws import Draw, check_names, label_of, truncations
from worker.pipelines.failures import guarded_load
from worker.pipelines.one_pass import OnePass
from worker.pipelines.walks import between, seeds_of, walk_of

if TYPE_CHECKING:
    from worker.devices import Device


class BigGan(OnePass):
    """A `worker.nets.biggan.BigGan`. Truncation scales the noise, and chooses the batch statistics that belong to it.

    Public folders name no classes: the profile does, or they go by number.
    """

    family: ClassVar[str] = "biggan"
    tasks: ClassVar[frozenset[str]] = frozenset({"class_to_image", "interpolate"})

    def __init__(self, net: Any, names: Sequence[str], device: "Device") -> None:
        """`net` is loaded, on the device; `names` are those of its classes, by number."""
        super().__init__(net, device)
        self._net, self._names = net, tuple(names)

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`; the profile's classes must be the net's, where it names them."""
        from worker.nets import biggan

        net = guarded_load(lambda: biggan.BigGan.from_pretrained(files.folder).to(device.torch_device))
        count = net.config.num_classes
        names = net.config.class_names or files.profile.class_names or tuple(map(str, range(count)))
        check_names(files, names)
        return cls(net, names[:count], device)

    def check(self, item: Item) -> None:
        """The class."""
        label_of(item, self._names)

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """One pass for all draws, whatever their labels and truncations."""
        labels = [label_of(draw.item, self._names) for draw in draws]
        return self._decoded(self._noise([draw.stream() for draw in draws]), labels, truncations(draws))

    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """From noise to noise, within one class."""
        params, label = walk_of(item), label_of(item, self._names)
        stops = self._noise([generator_for(seed, 0) for seed in seeds_of(item)])
        latents = between(stops, params.frames, params.path)

        def decoded(part: slice) -> Tensor:
            count = len(latents[part])
            return self._decoded(latents[part], [label] * count, torch.full((count,), params.truncation))

        return decoded

    def _noise(self, streams: Sequence[torch.Generator]) -> Tensor:
        """`(B, z_dim)`, cut off at two deviations."""
        from worker.nets.biggan import truncated_noise

        return truncated_noise(streams, self._net.config.z_dim)

    def _decoded(self, latents: Tensor, labels: Sequence[int], truncation: Tensor) -> Tensor:
        """Of latents that the truncation, `(B,)`, has not scaled yet."""
        given = (latents * truncation[:, None]).to(self._device)
        classes = torch.tensor(labels, device=self._device)
        pictures: Tensor = self._net(given, classes, truncation.to(self._device))
        return pictures
