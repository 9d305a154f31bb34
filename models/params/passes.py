"""What is meant for nets of one pass, and what for nets that denoise: neither has a use for the other's."""

from models.errors import FieldError
from models.params.base import TaskParams, problem
from models.params.diffusion import SchedulerName
from models.params.profile import CheckpointProfile


def pass_problems(params: TaskParams, profile: CheckpointProfile) -> list[FieldError]:
    """A sampler for a net that has none, or truncation for one that has no such latent: said, not ignored."""
    scheduler = getattr(params, "scheduler", SchedulerName.DEFAULT)
    if profile.one_pass and scheduler is not SchedulerName.DEFAULT:
        message = "This checkpoint makes a picture in one pass and has no sampler; leave it out."
        return [problem("scheduler", "not_used", message)]
    if not profile.one_pass and getattr(params, "truncation", 1.0) != 1.0:
        message = "This checkpoint denoises step by step and has nothing to truncate; leave it out."
        return [problem("truncation", "not_used", message)]
    return []
