"""What the net believes the finished latents to be, mid-way: far better to look at than the noisy ones."""

from functools import wraps
from typing import Any

from torch import Tensor


class EstimateKeeper:
    """Watches one fresh sampler and keeps what its last step was given and gave.

    Most samplers compute x₀ anyway (equation 12 of DDIM, Song et al. 2020) and hand it out or keep it; for flows it is
    x - sigma × v (Lipman et al. 2022). Nothing is computed until `estimate` is called.
    """

    def __init__(self, sampler: Any) -> None:
        """Wraps `sampler.step` until `close`."""
        self._sampler = sampler
        self._last: tuple[Tensor, Tensor, Any] | None = None
        step = sampler.step

        @wraps(step)  # pipelines read the signature to learn whether a sampler takes generators
        def watched(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **settings: Any) -> Any:
            result = step(model_output, timestep, sample, *args, **settings)
            self._last = (model_output, sample, result)
            return result

        sampler.step = watched

    def estimate(self) -> Tensor | None:
        """Latents of the finished picture as now foreseen, laid out as the sampler's; None if it cannot be told."""
        if self._last is None:
            return None
        model_output, sample, result = self._last
        if isinstance(result, tuple) and len(result) > 1 and isinstance(result[1], Tensor):
            return result[1]
        if _keeps_clean_outputs(self._sampler):
            kept = self._sampler.model_outputs[-1]
            return kept if isinstance(kept, Tensor) else None
        if type(self._sampler).__name__ == "FlowMatchEulerDiscreteScheduler":
            sigma = self._sampler.sigmas[self._sampler.step_index - 1]
            foreseen: Tensor = sample - sigma.to(sample.dtype) * model_output
            return foreseen
        return None

    def close(self) -> None:
        """Let go of the tensors, and of the circle that the wrapped step makes."""
        self._last = None
        del self._sampler.step


def _keeps_clean_outputs(sampler: Any) -> bool:
    """DPM-Solver++ and UniPC convert every output to x₀ and keep the last few."""
    config = sampler.config
    converts = "++" in str(config.get("algorithm_type", "")) or bool(config.get("predict_x0"))
    return converts and bool(getattr(sampler, "model_outputs", None))
