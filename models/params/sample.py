"""Sample: pictures of whatever the checkpoint learned, from noise alone: DCGAN, VAE, StyleGAN2, DDPM."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from models.errors import FieldError
from models.params.base import MAX_SEED, PictureParams, problem
from models.params.diffusion import SchedulerName
from models.params.faults import fault
from models.params.passes import pass_problems
from models.params.profile import CheckpointProfile


class SampleParams(PictureParams):
    """How far to stray from the mean, and whose coarse and fine traits to mix."""

    summary: ClassVar[str] = "Pictures from noise alone, as an unconditional checkpoint learned to make them."

    truncation: float = Field(
        1.0, gt=0, le=1, description="Pulls towards the mean (Karras et al. 2019's psi): lower is more typical."
    )
    mix_seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Style mixing: another seed, whose fine traits replace those of `seed`."
    )
    mix_layer: int | None = Field(None, ge=1, le=32, description="The first layer that the other seed decides.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Of a diffusion checkpoint.")
    scheduler: SchedulerName = Field(SchedulerName.DEFAULT, description="The sampler of a diffusion checkpoint.")

    @model_validator(mode="after")
    def _mixes_whole(self) -> Self:
        if self.mix_layer is not None and self.mix_seed is None:
            raise fault("mix_layer", "mix_layer goes with mix_seed")
        return self

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """Steps, what belongs to other nets, and mixing where the checkpoint has styles to mix."""
        found = super().problems(profile) + pass_problems(self, profile)
        if (self.num_inference_steps or 0) > profile.max_steps:
            message = f"This checkpoint takes at most {profile.max_steps} steps."
            found.append(problem("num_inference_steps", "too_many", message))
        if self.mix_seed is not None and not profile.style_layers:
            found.append(problem("mix_seed", "not_used", "This checkpoint has no styles to mix; leave it out."))
        elif (self.mix_layer or 0) >= (profile.style_layers or 33):
            message = f"Must lie between 1 and {profile.style_layers - 1} for this checkpoint."
            found.append(problem("mix_layer", "layer_out_of_range", message))
        return found

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The checkpoint's steps; half of its layers for a mix."""
        found: dict[str, Any] = {}
        if self.num_inference_steps is None:
            found["num_inference_steps"] = profile.default_steps
        if self.mix_seed is not None and self.mix_layer is None:
            found["mix_layer"] = max(1, profile.style_layers // 2)
        return found

    def shape(self) -> tuple[object, ...]:
        """One pass takes any mixture of truncations; samplers and layers must agree."""
        return (self.num_images, self.num_inference_steps, self.scheduler.value, self.mix_layer)

    def steps(self) -> int:
        """Denoising steps; of a GAN or VAE, whose profile has one, one forward pass."""
        return self.num_inference_steps or 1
