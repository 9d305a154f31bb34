"""A VAE with a Gaussian prior: sample it, send pictures through it, walk through its latents."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from models.params import ReconstructParams
from models.params.data_sets import Resize
from worker.media.colours import greyscale
from worker.media.transforms import resize
from worker.pipelines.base import CheckpointFiles, Context, Facts, Item, Output, Picture, generator_for
from worker.pipelines.draws import Draw, noise, truncations
from worker.pipelines.failures import guarded_load
from worker.pipelines.fidelity import fidelity
from worker.pipelines.one_pass import OnePass
from worker.pipelines.pixels import from_pixels
from worker.pipelines.walks import between, seeds_of, walk_of

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels


class Vae(OnePass):
    """A `GaussianVae`. It sees pictures of one size: others are cut to a square in the middle and resized to it."""

    family: ClassVar[str] = "vae"
    tasks: ClassVar[frozenset[str]] = frozenset({"sample", "reconstruct", "interpolate"})

    def __init__(self, net: Any, device: "Device") -> None:
        """`net` is a `GaussianVae`."""
        super().__init__(net, device)
        self._net = net

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load `config.json` and `model.safetensors`."""
        from worker.nets.vae import GaussianVae

        return cls(guarded_load(lambda: GaussianVae.from_pretrained(files.folder).to(device.torch_device)), device)

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One pass for all; reconstructed pictures come with what was lost."""
        if items[0].task == "reconstruct":
            return self._reconstruct(items, context)
        return super().run(items, context)

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """From draws of the prior, scaled by each item's truncation."""
        return self._decoded(noise((draw.stream() for draw in draws), self._width) * truncations(draws)[:, None])

    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """From latent to latent: of seeds, or of pictures."""
        params = walk_of(item)
        if params.images:
            seen = [self._seen(item.picture(f"images/{at}")) for at in range(len(params.images))]
            stops = self._posterior(seen)[0]
        else:
            stops = noise((generator_for(seed, 0) for seed in seeds_of(item)), self._width) * params.truncation
        latents = between(stops, params.frames, params.path)
        return lambda part: self._decoded(latents[part])

    def _reconstruct(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """What comes out is compared with the picture as the net saw it: what its size lost is not the net's doing."""
        context.raise_if_all_stopped()
        for start in range(0, len(items), self._most_rows):
            part = items[start : start + self._most_rows]
            context.raise_if_all_stopped()
            seen = [self._seen(item.picture("image")) for item in part]
            made = self.shown(partial(self._through, part, seen))
            context.step(start + len(part), len(items))
            for item, before, after in zip(part, seen, made, strict=True):
                if not context.stopped(item.job_id):
                    yield Picture(item.job_id, 0, after, item.seed)
                    yield Facts(item.job_id, fidelity(before, after))

    def _through(self, items: Sequence[Item], seen: "Sequence[Pixels]") -> Tensor:
        """The mean of each picture's posterior, or a draw from it, decoded."""
        mean, log_variance = self._posterior(seen)
        drawn = torch.tensor([[isinstance(item.params, ReconstructParams) and item.params.sample] for item in items])
        spread = noise((generator_for(item.seed, 0) for item in items), self._width) * (0.5 * log_variance).exp()
        return self._decoded(mean + drawn * spread)

    def _posterior(self, seen: "Sequence[Pixels]") -> tuple[Tensor, Tensor]:
        """`(B, latent_dim)` means and log-variances, on the CPU."""
        pictures = 2 * from_pixels(seen) - 1
        if self._net.config.channels == 1:
            pictures = pictures.mean(dim=1, keepdim=True)
        mean, log_variance = self._net.encode(pictures.to(self._device))
        return mean.cpu(), log_variance.cpu()

    def _seen(self, pixels: "Pixels") -> "Pixels":
        """As the net sees it."""
        side = self._net.config.image_size
        fitted = resize(pixels, side, side, Resize.COVER)
        return fitted if self._net.config.channels > 1 else greyscale(fitted)

    def _decoded(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self._net.decode(latents.to(self._device))
        return pictures

    @property
    def _width(self) -> int:
        return int(self._net.config.latent_dim)
