"""Samplers by name: which diffusers class and settings each `SchedulerName` stands for, and which nets take it.

A net is trained for one noise process. Samplers of the same process are interchangeable and are built from the
checkpoint's own scheduler config, so that the betas, v-prediction (Salimans & Ho 2022) and the rescaling to zero
terminal SNR (Lin et al. 2023) stay as trained. Nets trained by flow matching (Lipman et al. 2022) take only samplers of
flows; consistency, EDM and other processes only the sampler that they were saved with.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any

from models.errors import InvalidInputError
from models.params import SchedulerName

_Name = SchedulerName


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler class, and what sets this sampler apart within it."""

    class_name: str
    settings: dict[str, Any] = field(default_factory=dict)


DIFFUSION: dict[SchedulerName, Sampler] = {
    _Name.DDIM: Sampler("DDIMScheduler"),
    _Name.DDPM: Sampler("DDPMScheduler"),
    _Name.PNDM: Sampler("PNDMScheduler", {"skip_prk_steps": True}),
    _Name.LMS: Sampler("LMSDiscreteScheduler"),
    _Name.EULER: Sampler("EulerDiscreteScheduler"),
    _Name.EULER_ANCESTRAL: Sampler("EulerAncestralDiscreteScheduler"),
    _Name.HEUN: Sampler("HeunDiscreteScheduler"),
    _Name.DPMPP_2M: Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    _Name.DPMPP_2M_KARRAS: Sampler(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    _Name.DPMPP_SDE: Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    _Name.UNIPC: Sampler("UniPCMultistepScheduler"),
}
"""For nets trained on discrete betas (DDPM, Ho et al. 2020)."""

FLOW: dict[SchedulerName, Sampler] = {
    _Name.EULER: Sampler("FlowMatchEulerDiscreteScheduler"),
    _Name.HEUN: Sampler("FlowMatchHeunDiscreteScheduler"),
}
"""For nets trained by flow matching."""


class SamplerBook:
    """The samplers of one loaded checkpoint; `fresh` gives a new one, with no state, for each run."""

    def __init__(self, original: Any, *, gives_sigmas: bool) -> None:
        """`original` is the scheduler that the checkpoint was saved with.

        `gives_sigmas` says that the pipeline hands the sampler its own sigmas (Flux does), which Heun's does not take.
        """
        self._class = type(original)
        self._config = dict(original.config)
        self._known = _alike(self._class.__name__, self._config)
        if gives_sigmas or self._config.get("use_dynamic_shifting"):
            self._known = {name: known for name, known in self._known.items() if known is not FLOW[_Name.HEUN]}

    @property
    def names(self) -> tuple[SchedulerName, ...]:
        """What this checkpoint takes, `default` first."""
        return (_Name.DEFAULT, *self._known)

    @property
    def max_steps(self) -> int:
        """More steps than this do not exist: one per trained timestep. Flows are continuous."""
        return 2**31 if self._is_flow else int(self._config.get("num_train_timesteps", 1000))

    def fresh(self, name: SchedulerName) -> Any:
        """A new diffusers scheduler.

        Raises:
            InvalidInputError: the checkpoint cannot be sampled so; names what it takes.
        """
        if name is _Name.DEFAULT:
            return self._class.from_config(self._config)
        if name not in self._known:
            allowed = ", ".join(known.value for known in self.names)
            raise InvalidInputError(f"The scheduler {name.value} does not fit this checkpoint; it takes: {allowed}.")
        import diffusers

        known = self._known[name]
        return getattr(diffusers, known.class_name).from_config(self._settings_for(known))

    @property
    def _is_flow(self) -> bool:
        return bool(self._known) and next(iter(self._known.values())).class_name.startswith("Flow")

    def _settings_for(self, known: Sampler) -> dict[str, Any]:
        """The checkpoint's config with the sampler's own settings laid over it.

        DDIM and DDPM clip x₀ to [-1, 1] unless told otherwise: right for pixels, wrong for latents, and a config saved
        from a sampler without that setting does not say.
        """
        return {"clip_sample": False} | self._config | known.settings


def _alike(class_name: str, config: dict[str, Any]) -> dict[SchedulerName, Sampler]:
    """The samplers of the same noise process as the saved one."""
    from diffusers.schedulers import KarrasDiffusionSchedulers

    if class_name.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction":
        return dict(FLOW)
    if "beta_schedule" not in config or class_name not in KarrasDiffusionSchedulers.__members__:
        return {}
    return {name: sampler for name, sampler in DIFFUSION.items() if _keeps(sampler, config)}


def _keeps(sampler: Sampler, config: dict[str, Any]) -> bool:
    """Whether the sampler can follow the process as trained; one that cannot would quietly make worse pictures."""
    import diffusers

    if config.get("prediction_type") == "sample" and sampler.class_name == "PNDMScheduler":
        return False
    if not config.get("rescale_betas_zero_snr"):
        return True
    return "rescale_betas_zero_snr" in inspect.signature(getattr(diffusers, sampler.class_name)).parameters
