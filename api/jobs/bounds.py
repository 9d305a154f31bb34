"""What this server takes of one job, beyond what its checkpoint allows: images, work, priority."""

import math
from collections.abc import Iterable

from models.errors import FieldError, ValidationFailedError
from models.params import TaskParams
from models.params.words import has_blocked_word
from models.settings import Settings

PIXELS_PER_MEGAPIXEL = 1_000_000


def check_limits(settings: Settings, params: TaskParams, priority: int, max_priority: int) -> None:
    """Look at everything, so that one answer names every field that is too much. `params` are resolved.

    Raises:
        ValidationFailedError: one entry for each.
    """
    found = [*_images(settings, params), *_work(settings, params)]
    if priority > max_priority:
        message = f"This key may ask for at most {max_priority}; an admin can raise that for its client."
        found.append(FieldError("/priority", "priority_not_allowed", message))
    if found:
        raise ValidationFailedError(found)


def check_words(params: TaskParams, blocked: Iterable[str]) -> None:
    """Refuse prompts with words that are not allowed. Neither they nor the prompt are repeated.

    Raises:
        ValidationFailedError: one entry for each text that has one.
    """
    words = tuple(blocked)
    if not words:
        return
    message = "This has a word that is not allowed here."
    found = [
        FieldError(f"/params/{name}", "prompt_not_allowed", message)
        for name, text in params.texts().items()
        if has_blocked_word(text, words)
    ]
    if found:
        raise ValidationFailedError(found)


def _images(settings: Settings, params: TaskParams) -> list[FieldError]:
    most = settings.max_job_images
    field = "best_of" if getattr(params, "best_of", None) else "num_images"
    if params.rows() <= most:
        return []
    return [FieldError(f"/params/{field}", "too_many", f"This server takes at most {most} images a job.")]


def _work(settings: Settings, params: TaskParams) -> list[FieldError]:
    """Width × height × steps × images: each alone may be allowed where all of them together are not."""
    factors = params.work()
    megapixel_steps = math.prod(factors.values()) / PIXELS_PER_MEGAPIXEL
    most = settings.max_job_megapixel_steps
    if megapixel_steps <= most:
        return []
    asked = " × ".join(str(value) for value in factors.values())
    message = f"{asked} is {megapixel_steps:,.0f} million pixel-steps; this server takes at most {most:,.0f} a job."
    return [FieldError(f"/params/{name}", "too_much_work", message) for name in factors]
