"""Class to image: a label in, pictures of that class out (conditional GANs now, other families later)."""

from typing import Any, ClassVar

from pydantic import Field

from models.errors import FieldError
from models.params.base import TaskParams, problem
from models.params.profile import CheckpointProfile


class ClassToImageParams(TaskParams):
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
        description="Scale of the latent (BigGAN, Brock et al. 2018): lower is more typical, less varied.",
    )

    def problems(self, profile: CheckpointProfile) -> list[FieldError]:
        """The class must be one of the checkpoint's."""
        names = profile.class_names
        if isinstance(self.class_label, int):
            if not 0 <= self.class_label < len(names):
                return [problem("class_label", "class_out_of_range", f"Must lie between 0 and {len(names) - 1}.")]
        elif self.class_label not in names:
            return [problem("class_label", "class_unknown", f"This checkpoint knows: {', '.join(names)}.")]
        return []

    def defaults(self, profile: CheckpointProfile) -> dict[str, Any]:
        """The label as an index."""
        if isinstance(self.class_label, str):
            return {"class_label": profile.class_names.index(self.class_label)}
        return {}

    def shape(self) -> tuple[object, ...]:
        """One forward pass takes any mixture of labels and truncations."""
        return (self.num_images,)

    def steps(self) -> int:
        """One forward pass."""
        return 1
