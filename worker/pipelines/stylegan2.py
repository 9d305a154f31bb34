"""Sample with a StyleGAN2: truncation towards the mean style, mixing of two seeds' styles, walks between styles."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from models.errors import CheckpointUnavailableError
from models.params import SampleParams
from models.params.latents import Path
from worker.pipelines.base import CheckpointFiles, Item, generator_for
from worker.pipelines.draws import Draw, noise, truncations
from worker.pipelines.failures import guarded_load
from worker.pipelines.one_pass import OnePass
from worker.pipelines.walks import between, seeds_of, walk_of

if TYPE_CHECKING:
    from worker.devices import Device


class StyleGan2(OnePass):
    """A `StyleGan2Generator`. A picture's latent comes first from its stream, then its noise inputs.

    Mixed in are the styles of picture 0 of the other seed, for every picture: asked for several, one sees what coarse
    traits of this seed's pictures do under the same fine ones. The noise inputs stay those of the seed itself.
    """

    family: ClassVar[str] = "stylegan2"
    tasks: ClassVar[frozenset[str]] = frozenset({"sample", "interpolate"})

    def __init__(self, net: Any, device: "Device") -> None:
        """`net` is a `StyleGan2Generator`."""
        super().__init__(net, device)
        self._net = net

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`; the profile's number of styles must be the net's."""
        from worker.nets.stylegan2 import StyleGan2Generator

        net = guarded_load(lambda: StyleGan2Generator.from_pretrained(files.folder).to(device.torch_device))
        told, held = files.profile.style_layers, net.config.num_styles
        if told not in {0, held}:
            raise CheckpointUnavailableError(f"{files.name}: the profile has {told} style layers, the net {held}.")
        return cls(net, device)

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """Styles drawn to the mean by each item's truncation; the finer ones of another seed where asked for."""
        streams = [draw.stream() for draw in draws]
        truncation = truncations(draws)
        styles = self._styles(noise(streams, self._net.config.latent_dim), truncation)
        layer = _mix_layer(draws[0].item)
        if layer is not None:
            others = [generator_for(_mix_seed(draw.item), 0) for draw in draws]
            mixed_in = self._styles(noise(others, self._net.config.latent_dim), truncation)
            styles = torch.cat([styles[:, :layer], mixed_in[:, layer:]], dim=1)
        return self._drawn(styles, self._net.noise_inputs(streams))

    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """From style to style in a straight line, as its authors walk; the first seed's noise inputs throughout.

        Between styles the straight line is the smooth one: the mapping net has unfolded the sphere of latents.
        """
        params, seeds = walk_of(item), seeds_of(item)
        latents = noise((generator_for(seed, 0) for seed in seeds), self._net.config.latent_dim)
        stops = self._styles(latents, torch.full((len(seeds),), params.truncation)).cpu()
        styles = between(stops, params.frames, Path.LINEAR)
        first = generator_for(seeds[0], 0)
        noise(
            [first], self._net.config.latent_dim
        )  # the stream's latent, so that its noise inputs are those of `sample`
        inputs = self._net.noise_inputs([first])

        def drawn(part: slice) -> Tensor:
            chosen = styles[part]
            return self._drawn(chosen, [layer.expand(len(chosen), -1, -1, -1) for layer in inputs])

        return drawn

    def _styles(self, latents: Tensor, truncation: Tensor) -> Tensor:
        """`(B, num_styles, style_dim)` of `(B, latent_dim)`; truncation is `(B,)`."""
        w = self._net.truncated(self._net.map_latents(latents.to(self._device)), truncation.to(self._device))
        styles: Tensor = w[:, None].expand(-1, self._net.config.num_styles, -1)
        return styles

    def _drawn(self, styles: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        pictures: Tensor = self._net.synthesise(styles.to(self._device), inputs)
        return pictures.clamp(-1, 1)


def _mix_layer(item: Item) -> int | None:
    return item.params.mix_layer if isinstance(item.params, SampleParams) else None


def _mix_seed(item: Item) -> int:
    assert isinstance(item.params, SampleParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params.mix_seed or 0
