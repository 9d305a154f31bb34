"""What happens between two denoising steps: progress, stops, previews; and stopped pictures are not decoded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from worker.pipelines.base import Context
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.estimates import EstimateKeeper

if TYPE_CHECKING:
    from worker.pipelines.diffusers.previews import LatentPreviewer


class Between(Protocol):
    """What a task does to the latents of one call, step after step."""

    def begins(self, sampler: Any) -> None:
        """With this fresh sampler."""

    def __call__(self, left: int, latents: Tensor) -> Tensor:
        """After a step: what the next one is given, or the decoder when no evaluation is left."""

    def ends(self) -> None:
        """Let go of the sampler and of tensors."""


class Watch:
    """One diffusers call as seen from its step callback."""

    def __init__(
        self,
        rows: Sequence[Row],
        context: Context,
        previewer: "LatentPreviewer",
        *,
        steps: int,
        size: tuple[int, int],
        call_number: int = 0,
        calls: int = 1,
        between: Between | None = None,
    ) -> None:
        """Of `steps` steps towards pictures of a (width, height). Progress is told over all calls of the batch."""
        self._context = context
        self._previewer = previewer
        self._size = size
        self._steps = steps
        self._reported = 0
        self._done_before = call_number * steps
        self._total = calls * steps
        self._between = between
        self.kept: Sequence[Row] = rows
        """What each row of the batch is; at the end, those that are still wanted."""
        self._keeper: EstimateKeeper | None = None

    def begins(self, sampler: Any) -> None:
        """The call, with a fresh sampler."""
        self._keeper = EstimateKeeper(sampler)
        if self._between is not None:
            self._between.begins(sampler)

    def ends(self) -> None:
        """The call, whatever came of it."""
        if self._keeper is not None:
            self._keeper.close()
        if self._between is not None:
            self._between.ends()

    def keywords(self, arguments: frozenset[str]) -> dict[str, Any]:
        """The callback under the name that the class has for it; older classes know only `callback`."""
        if "callback_on_step_end" in arguments:
            return {"callback_on_step_end": self._on_step_end}
        if "callback" in arguments:
            return {"callback": self._on_old_callback, "callback_steps": 1}
        return {}

    def _on_step_end(self, pipe: Any, step: int, _timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The protocol of diffusers: returns the tensors to go on with."""
        evaluations = getattr(pipe, "num_timesteps", self._steps)
        latents = tensors.get("latents")
        changed = {}
        if latents is not None and self._between is not None:
            latents = self._between(evaluations - step - 1, latents)
            changed = {"latents": latents}
        self._between_steps((step + 1) * self._steps // evaluations, latents)
        if step + 1 < evaluations or latents is None:
            return changed
        return changed | self._without_stopped(latents)

    def _on_old_callback(self, step: int, _timestep: Any, latents: Tensor) -> None:
        self._between_steps(step + 1, latents)

    def _between_steps(self, done: int, latents: Tensor | None) -> None:
        """Second-order samplers call more than once for a step of the request: only whole steps are reported."""
        if done > self._reported:
            self._reported = done
            self._context.step(self._done_before + done, self._total)
        self._context.raise_if_all_stopped()
        if latents is not None and self._context.wants_preview():
            self._show(latents)

    def _show(self, latents: Tensor) -> None:
        """The first picture of every item that is still wanted."""
        places = [place for place, row in enumerate(self.kept) if row.index == 0 and not self._stopped(row)]
        if not places:
            return
        estimate = self._keeper.estimate() if self._keeper else None
        pixels = self._previewer(latents, places, self._size, estimate)
        if pixels is not None:
            for place, picture in zip(places, pixels, strict=True):
                self._context.preview(self.kept[place].item.job_id, picture)

    def _without_stopped(self, latents: Tensor) -> dict[str, Tensor]:
        """After the last step: let go of the rows that nobody wants, so that only the rest is decoded."""
        wanted = [place for place, row in enumerate(self.kept) if not self._stopped(row)]
        if not wanted or len(wanted) == len(self.kept) or len(latents) != len(self.kept):
            return {}
        self.kept = [self.kept[place] for place in wanted]
        return {"latents": latents[wanted]}

    def _stopped(self, row: Row) -> bool:
        return self._context.stopped(row.item.job_id)
