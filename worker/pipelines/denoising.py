"""Diffusion without words: the loop that DDPM, class-conditional diffusion and DiT share.

Diffusers' own pipelines of this kind have no callback between steps, so the loop is ours: progress, stops, previews,
any sampler that fits, and a stream for each picture. Given the same noise it makes what theirs make, bit for bit.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from models.errors import InvalidInputError
from models.params import SchedulerName
from worker.pipelines.base import Context, Determinism, Item, Output, Pipeline, generator_for
from worker.pipelines.draws import Draw, bytes_of, draws_of, noise, wanted
from worker.pipelines.estimates import EstimateKeeper
from worker.pipelines.failures import guarded
from worker.pipelines.pixels import to_pixels
from worker.pipelines.schedulers import Sampled, SamplerBook
from worker.pipelines.walks import PORTION_FRAMES, between, seeds_of, walk_all, walk_of

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

MOST_ROWS = 64
"""In one pass of the net, before guidance doubles them."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""What the net makes of noisy latents `(B, C, H, W)` at a timestep, guided."""
Between = Callable[[int, EstimateKeeper], None]
"""Called after each step of the request with how many are done."""


@dataclass(frozen=True)
class _Walked:
    """How the frames of a walk are sampled: by DDIM where it fits (Song et al. 2020, section 5.3).

    Under a sampler that draws at every step, the noise to begin with decides next to nothing, and a walk stands still.
    """

    num_inference_steps: int
    scheduler: SchedulerName


class Denoising(Pipeline):
    """A denoiser that starts from noise of one shape. The net computes in the device's dtype, samplers in float32."""

    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE

    def __init__(self, modules: Sequence[nn.Module], scheduler: Any, device: "Device", shape: Sequence[int]) -> None:
        """`scheduler` as it was saved; `shape` is `(C, H, W)` of what is denoised."""
        self._modules = modules
        self._samplers = SamplerBook(SimpleNamespace(scheduler=scheduler))
        self._device = device.torch_device
        self._shape = tuple(shape)
        self._most_rows = MOST_ROWS

    @abstractmethod
    def predictor(self, items: Sequence[Item]) -> Predict:
        """The net for rows of these items, one a row."""

    def decode(self, latents: Tensor) -> Tensor:
        """`(B, C, H, W)` as denoised, to pictures in [-1, 1]: the same where pixels are denoised."""
        return latents

    def check(self, item: Item) -> None:
        """Refuse what cannot be drawn.

        Raises:
            InvalidInputError: names the field.
        """
        field, params = "scheduler", cast("Any", item.params)
        if item.task == "interpolate":
            field, params = "num_inference_steps", self._walked(item)
        if text := self._samplers.problem(params):
            raise InvalidInputError(text, job_id=str(item.job_id), field=f"/params/{field}")

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """All pictures of all items step by step; walks one after the other."""
        context.raise_if_all_stopped()
        for item in items:
            self.check(item)
        if items[0].task == "interpolate":
            yield from walk_all(items, context, partial(self._begin, context), min(PORTION_FRAMES, self._most_rows))
            return
        draws = draws_of(items)
        parts = [draws[start : start + self._most_rows] for start in range(0, len(draws), self._most_rows)]
        params: Any = items[0].params
        for number, part in enumerate(parts):
            watch = partial(self._between, context, part, number, len(parts))
            pixels = guarded(partial(self._drawn, part, params, watch))
            yield from wanted(part, pixels, context)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(*self._modules)

    def slim(self) -> str:
        """Half as many pictures at once."""
        if self._most_rows == 1:
            return ""
        self._most_rows //= 2
        return f"at most {self._most_rows} at once"

    def _drawn(self, draws: Sequence[Draw], params: Any, watch: Between) -> "Pixels":
        """`(B, H, W, 3)` uint8, one for each draw."""
        streams = [draw.stream() for draw in draws]
        begin = noise(streams, *self._shape)
        predict = self.predictor([draw.item for draw in draws])
        return self._denoised(begin, streams, predict, params, watch)

    def _begin(self, context: Context, item: Item) -> "Callable[[slice], Pixels]":
        """What makes the frames of a slice of the item's walk from noise to noise.

        What a sampler draws between steps is the same for every frame, so that only the walk moves the picture.
        """
        params, seeds, how = walk_of(item), seeds_of(item), self._walked(item)
        stops = noise((generator_for(seed, 0) for seed in seeds), *self._shape)
        walked = between(stops, params.frames, params.path)

        def made(part: slice) -> "Pixels":
            begin = walked[part]
            streams = [generator_for(seeds[0], 0) for _ in begin]
            noise(streams, *self._shape)  # the first of each stream is its picture's noise
            predict = self.predictor([item] * len(begin))
            return self._denoised(begin, streams, predict, how, lambda *_: context.raise_if_all_stopped())

        return lambda part: guarded(partial(made, part))

    def _walked(self, item: Item) -> _Walked:
        scheduler = SchedulerName.DDIM if SchedulerName.DDIM in self._samplers.names else SchedulerName.DEFAULT
        return _Walked(walk_of(item).num_inference_steps or 1, scheduler)

    def _denoised(
        self,
        begin: Tensor,
        streams: list[torch.Generator],
        predict: Predict,
        how: Sampled,
        watch: Between,
    ) -> "Pixels":
        """`(B, H, W, 3)` uint8 of noise `(B, C, H, W)`."""
        sampler, steps = self._samplers.fresh(how.scheduler), how.num_inference_steps or 1
        keeper = EstimateKeeper(sampler)
        try:
            with torch.inference_mode():
                latents = denoise(
                    begin.to(self._device), sampler, steps, predict, streams, partial(_told, watch, keeper)
                )
                return to_pixels(self.decode(latents) / 2 + 0.5)
        finally:
            keeper.close()

    def _between(self, context: Context, draws: Sequence[Draw], part: int, parts: int, done: int, keeper: Any) -> None:
        """Progress over all parts, stops, and a preview of each item's first picture."""
        params: Any = draws[0].item.params
        steps = params.num_inference_steps
        context.step(part * steps + done, parts * steps)
        context.raise_if_all_stopped()
        if not context.wants_preview() or (estimate := keeper.estimate()) is None:
            return
        places = [
            place for place, draw in enumerate(draws) if draw.index == 0 and not context.stopped(draw.item.job_id)
        ]
        if places:
            rough = to_pixels((self.decode(estimate[places]) / 2 + 0.5).nan_to_num())
            for place, picture in zip(places, rough, strict=True):
                context.preview(draws[place].item.job_id, picture)


def denoise(
    begin: Tensor,
    sampler: Any,
    steps: int,
    predict: Predict,
    streams: list[torch.Generator],
    told: Callable[[int], None],
) -> Tensor:
    """`(B, C, H, W)` standard normal to what the net foresees behind it, in float32 (Ho et al. 2020, algorithm 2).

    `told` hears of each whole step of the request; samplers of second order ask the net more often than that.
    """
    sampler.set_timesteps(steps, device=begin.device)
    extra = {"generator": streams} if "generator" in inspect.signature(sampler.step).parameters else {}
    latents: Tensor = begin * sampler.init_noise_sigma
    reported = 0
    for number, time in enumerate(sampler.timesteps):
        output = predict(sampler.scale_model_input(latents, time), time).float()
        if output.shape[1] != latents.shape[1] and not _learns_variance(sampler):
            output = output[:, : latents.shape[1]]
        latents = sampler.step(output, time, latents, **extra, return_dict=False)[0]
        done = (number + 1) * steps // len(sampler.timesteps)
        if done > reported:
            reported = done
            told(done)
    return latents


def _told(watch: Between, keeper: EstimateKeeper, done: int) -> None:
    watch(done, keeper)


def _learns_variance(sampler: Any) -> bool:
    """Whether it reads the second half of the net's channels (Nichol & Dhariwal 2021); others step by the first."""
    learned = str(sampler.config.get("variance_type", "")).startswith("learned")
    return learned and type(sampler).__name__ == "DDPMScheduler"
