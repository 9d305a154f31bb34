"""Samplers by name: which diffusers class and settings each `SchedulerName` stands for, and which nets take it.

A net is trained for one noise process. Samplers of the same process are interchangeable and are built from the
checkpoint's own scheduler config, so that the betas, v-prediction (Salimans & Ho 2022) and the rescaling to zero
terminal SNR (Lin et al. 2023) stay as trained. Nets trained by flow matching (Lipman et al. 2022) take only samplers of
flows; consistency, EDM and other processes only the sampler that they were saved with.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.params import SchedulerName
from worker.pipelines.multistep import fresh_lms

_Name = SchedulerName
_ANY = 2**31
_STEEP = "squaredcos_cap_v2"
"""The cosine schedule of Nichol & Dhariwal 2021, which ends at practically no signal."""
_DIVIDES_BY_STEP = frozenset({"DPMSolverMultistepScheduler", "UniPCMultistepScheduler"})
"""Solvers that divide by the distance of neighbouring timesteps, which rounding makes zero as steps near timesteps."""


class Sampled(Protocol):
    """Params that say how to sample."""

    @property
    def scheduler(self) -> SchedulerName:
        """The sampler."""

    @property
    def num_inference_steps(self) -> int | None:
        """Its steps; resolved params have them."""


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

    def __init__(self, pipe: Any) -> None:
        """Of the scheduler that the pipeline was saved with."""
        self._class = type(pipe.scheduler)
        self._config = dict(pipe.scheduler.config)
        self._known = _alike(self._class.__name__, self._config)
        if self._is_flow and (not _lets_heun_choose(pipe) or self._config.get("use_dynamic_shifting")):
            self._known.pop(_Name.HEUN)

    @property
    def names(self) -> tuple[SchedulerName, ...]:
        """What this checkpoint takes, `default` first."""
        return (_Name.DEFAULT, *self._known)

    def problem(self, params: Sampled) -> str:
        """Why the checkpoint cannot be sampled so, naming what it takes; empty when it can."""
        if params.scheduler not in self.names:
            allowed = ", ".join(name.value for name in self.names)
            return f"The scheduler {params.scheduler.value} does not fit this checkpoint; it takes: {allowed}."
        most = self._most_steps(params.scheduler)
        if (params.num_inference_steps or 1) > most:
            return f"The scheduler {params.scheduler.value} takes at most {most} steps with this checkpoint."
        return ""

    def fresh(self, name: SchedulerName) -> Any:
        """A new diffusers scheduler for a name in `names`."""
        if name is _Name.DEFAULT:
            return self._class.from_config(self._config)
        known = self._known[name]
        if name is _Name.LMS:
            return fresh_lms(self._settings_for(known))
        return _class_of(known).from_config(self._settings_for(known))

    def _most_steps(self, name: SchedulerName) -> int:
        """Steps beyond which there is no timestep left, or two that are the same. Flows are continuous."""
        trained = self._config.get("num_train_timesteps")
        if self._is_flow or trained is None:
            return _ANY
        class_name = self._class.__name__ if name is _Name.DEFAULT else self._known[name].class_name
        if class_name in _DIVIDES_BY_STEP:
            return int(trained) * 9 // 10
        return int(trained) - int(self._config.get("steps_offset") or 0)

    @property
    def _is_flow(self) -> bool:
        return bool(self._known) and next(iter(self._known.values())).class_name.startswith("Flow")

    def _settings_for(self, known: Sampler) -> dict[str, Any]:
        """The checkpoint's config with the sampler's own settings laid over it.

        DDIM and DDPM clip x₀ to [-1, 1] unless told otherwise: right for pixels, wrong for latents, and a config saved
        from a sampler without that setting does not say.
        """
        if not self._is_flow:
            return {"clip_sample": False} | self._config | known.settings
        shift = {"shift": self._config["flow_shift"]} if "flow_shift" in self._config else {}
        return shift | self._config | known.settings


def _lets_heun_choose(pipe: Any) -> bool:
    """Most flow pipelines hand the sampler sigmas of their own, which Heun's does not take; SD3 leaves them to it."""
    return type(pipe).__name__.startswith("StableDiffusion3")


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
    if config.get("prediction_type") == "sample" and sampler.class_name == "PNDMScheduler":
        return False
    rescaled = bool(config.get("rescale_betas_zero_snr"))
    if sampler.settings.get("use_karras_sigmas") and (rescaled or config["beta_schedule"] == _STEEP):
        return False  # its ramp starts at the largest sigma, which is infinite at zero SNR, and 20,000 just above it
    if not rescaled:
        return True
    return "rescale_betas_zero_snr" in inspect.signature(_class_of(sampler)).parameters


def _class_of(sampler: Sampler) -> Any:
    import diffusers

    return getattr(diffusers, sampler.class_name)
