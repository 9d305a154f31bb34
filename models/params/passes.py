"""What is meant for nets of one pass, and what for nets that denoise: neither has a use for the other's."""

from collections.abc import Iterator

from models.errors import FieldError
from models.params.base import TaskParams, problem
from models.params.diffusion import SchedulerName
from models.params.profile import CheckpointProfile


def pass_problems(params: TaskParams, profile: CheckpointProfile) -> list[FieldError]:
    """A sampler or guidance for a net that has none, truncation for one without such a latent: said, not ignored."""
    return list(_not_used(params, profile))


def _not_used(params: TaskParams, profile: CheckpointProfile) -> Iterator[FieldError]:
    if profile.one_pass and getattr(params, "scheduler", SchedulerName.DEFAULT) is not SchedulerName.DEFAULT:
        message = "This checkpoint makes a picture in one pass and has no sampler; leave it out."
        yield problem("scheduler", "not_used", message)
    if not profile.one_pass and getattr(params, "truncation", 1.0) != 1.0:
        message = "This checkpoint denoises step by step and has nothing to truncate; leave it out."
        yield problem("truncation", "not_used", message)
    # 1 or less turns guidance off, which is how a net without any draws.
    if not profile.guides and (getattr(params, "guidance_scale", None) or 0) > 1:
        yield problem("guidance_scale", "not_used", _AT_ONCE if profile.one_pass else _TOWARDS_NOTHING)


_AT_ONCE = (
    "This checkpoint makes a picture in one pass and has no guidance; leave it out, or name one that denoises towards "
    "words or a class (diffusers, class_diffusion, dit)."
)
_TOWARDS_NOTHING = "This checkpoint denoises towards no words and no class, so nothing can guide it; leave it out."
