"""What happens between two denoising steps: progress, stops, previews; and stopped pictures are not decoded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from worker.pipelines.base import Context, Item
from worker.pipelines.calls import params_of

if TYPE_CHECKING:
    from worker.pipelines.previews import LatentPreviewer


class Watch:
    """One diffusers call as seen from its step callback."""

    def __init__(
        self, items: Sequence[Item], context: Context, previewer: "LatentPreviewer", *, done_before: int, total: int
    ) -> None:
        """`done_before` of `total` steps were done in earlier calls of the same batch."""
        self._context = context
        self._previewer = previewer
        self._first = params_of(items[0])
        self._steps = self._first.num_inference_steps or 1
        self._reported = 0
        self._done_before = done_before
        self._total = total
        self.kept: list[tuple[Item, int]] = [(item, index) for item in items for index in range(self._first.num_images)]
        """What each row of the batch is: an item and the index of its picture."""

    def keywords(self, arguments: frozenset[str]) -> dict[str, Any]:
        """The callback under the name that the class has for it; older classes know only `callback`."""
        if "callback_on_step_end" in arguments:
            return {"callback_on_step_end": self._on_step_end}
        if "callback" in arguments:
            return {"callback": self._on_old_callback, "callback_steps": 1}
        return {}

    def _on_step_end(self, pipe: Any, step: int, _timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The protocol of diffusers: returns the tensors to go on with."""
        evaluations = pipe.num_timesteps
        latents = tensors.get("latents")
        self._between_steps((step + 1) * self._steps // evaluations, latents)
        if step + 1 < evaluations or latents is None:
            return {}
        return self._without_stopped(latents)

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
        rows = [row for row, (item, index) in enumerate(self.kept) if index == 0 and not self._stopped(item)]
        pixels = self._previewer(latents, rows, self._first)
        if pixels is not None:
            for row, picture in zip(rows, pixels, strict=True):
                self._context.preview(self.kept[row][0].job_id, picture)

    def _without_stopped(self, latents: Tensor) -> dict[str, Tensor]:
        """After the last step: let go of the rows that nobody wants, so that only the rest is decoded."""
        wanted = [row for row, (item, _) in enumerate(self.kept) if not self._stopped(item)]
        if not wanted or len(wanted) == len(self.kept) or len(latents) != len(self.kept):
            return {}
        self.kept = [self.kept[row] for row in wanted]
        return {"latents": latents[wanted]}

    def _stopped(self, item: Item) -> bool:
        return self._context.stopped(item.job_id)
