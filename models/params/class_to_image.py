"""Class to image: a label in, pictures of that class out, by a GAN, class-conditional diffusion or DiT."""

from typing import Any, ClassVar

from pydantic import Field

from models.errors import FieldError
from models.params.base import PictureParams, problem
from models.params.diffusion import SchedulerName
from models.params.passes import pass_problems
from models.params.profile import CheckpointProfile


class ClassToImageParams(PictureParams):
    """A class of the checkpoint, and how far to stray from its mean."""

    summary: ClassVar[str] = "Pictures of one class of a class-conditional checkpoint."

    class_label: int | str = Field(
        description="An index or a name from the checkpoint's class_names.",
        examples=["cat", 3],
        union_mode="left_to_right",
    )
    truncation: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Scale of a GAN's latent (BigGAN, Brock et al. 2018): lower is more typical, less varied.",
    )
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Of a diffusion checkpoint.")
    guidance_scale: float | None = Field(
        None, ge=0, le=50, description="Of a diffusion checkpoint (Ho & Salimans 2022); 1 or less turns it off."
    )
    scheduler: SchedulerName = Field(SchedulerName.DEFAULT, description="The sampler of a diffusion checkpoint.")

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The class must be one of the checkpoint's; guidance and samplers belong to diffusion, truncation to GANs."""
        found = super().problems(profile) + self._label_problems(profile.class_names) + pass_problems(self, profile)
        if (self.num_inference_steps or 0) > profile.max_steps:
            message = f"This checkpoint takes at most {profile.max_steps} steps."
            found.append(problem("num_inference_steps", "too_many", message))
        return found

    def _label_problems(self, names: tuple[str, ...]) -> list[FieldError]:
        if isinstance(self.class_label, int):
            if not 0 <= self.class_label < len(names):
                return [problem("class_label", "class_out_of_range", f"Must lie between 0 and {len(names) - 1}.")]
        elif self.class_label not in names:
            return [problem("class_label", "class_unknown", f"This checkpoint knows: {', '.join(names)}.")]
        return []

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The label as an index; the checkpoint's steps and guidance."""
        own: dict[str, Any] = {
            "num_inference_steps": profile.default_steps,
            "guidance_scale": profile.guidance,
        }
        found = {name: value for name, value in own.items() if getattr(self, name) is None}
        if isinstance(self.class_label, str):
            found["class_label"] = profile.class_names.index(self.class_label)
        return found

    def shape(self) -> tuple[object, ...]:
        """One pass takes any mixture of labels and truncations, at one number of steps and one guidance."""
        return (self.num_images, self.num_inference_steps, self.guidance_scale, self.scheduler.value)

    def steps(self) -> int:
        """Denoising steps; of a GAN, whose profile has one, one forward pass."""
        return self.num_inference_steps or 1
