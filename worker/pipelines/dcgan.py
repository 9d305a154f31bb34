"""Sample with a DCGAN, and walk from seed to seed through its noise."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor

from worker.pipelines.base import CheckpointFiles, Item, generator_for
from worker.pipelines.draws import Draw, noise, truncations
from worker.pipelines.failures import guarded_load
from worker.pipelines.one_pass import OnePass
from worker.pipelines.walks import between, seeds_of, walk_of

if TYPE_CHECKING:
    from worker.devices import Device


class Dcgan(OnePass):
    """A `DcganGenerator`. Truncation scales its noise: a normal of less variance is nearer to what is typical."""

    family: ClassVar[str] = "dcgan"
    tasks: ClassVar[frozenset[str]] = frozenset({"sample", "interpolate"})

    def __init__(self, net: Any, device: "Device") -> None:
        """`net` is a `DcganGenerator`."""
        super().__init__(net, device)
        self._net = net

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`."""
        from worker.nets.dcgan import DcganGenerator

        return cls(guarded_load(lambda: DcganGenerator.from_pretrained(files.folder).to(device.torch_device)), device)

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """From noise scaled by each item's truncation."""
        latents = noise((draw.stream() for draw in draws), self._net.config.latent_dim)
        return self._decoded(latents * truncations(draws)[:, None])

    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """From noise to noise."""
        params, width = walk_of(item), self._net.config.latent_dim
        stops = noise((generator_for(seed, 0) for seed in seeds_of(item)), width) * params.truncation
        latents = between(stops, params.frames, params.path)
        return lambda part: self._decoded(latents[part])

    def _decoded(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self._net(latents.to(self._device))
        return pictures
