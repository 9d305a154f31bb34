"""How each diffusers class wants to be called: its signature read once, then items turned into keyword arguments."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidInputError
from models.params import TextToImageParams
from worker.pipelines.base import Item, generator_for


def params_of(item: Item) -> TextToImageParams:
    """The item's params, as what they are."""
    assert isinstance(item.params, TextToImageParams)  # noqa: S101  # the claim matched task and checkpoint
    return item.params


@dataclass(frozen=True)
class CallStyle:
    """What one pipeline class takes, and what its guidance is called."""

    arguments: frozenset[str]
    guidance_argument: str
    negatives_apart: bool
    """Whether an absent negative prompt means something else than an empty one (SDXL's zeroed embedding, Flux' true
    guidance); items with and without then go in calls of their own, so that no picture depends on its neighbours."""
    distilled: bool
    """Whether guidance is an input of the net, which then has no use for a negative prompt."""
    gives_sigmas: bool
    max_sequence_length: int | None

    @classmethod
    def of(cls, pipe: Any) -> "CallStyle":
        """Read it off a loaded pipeline."""
        parameters = inspect.signature(type(pipe).__call__).parameters
        denoiser = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        distilled = bool(getattr(getattr(denoiser, "config", None), "guidance_embeds", False))
        true_guidance = "true_cfg_scale" in parameters
        length = parameters.get("max_sequence_length")
        return cls(
            arguments=frozenset(parameters),
            guidance_argument="true_cfg_scale" if true_guidance and not distilled else "guidance_scale",
            negatives_apart=true_guidance or bool(pipe.config.get("force_zeros_for_empty_prompt")),
            distilled=distilled,
            gives_sigmas=true_guidance,
            max_sequence_length=length.default if length else None,
        )

    def split(self, items: Sequence[Item]) -> list[list[Item]]:
        """The calls that a batch needs: one, or two where an absent negative prompt is a thing of its own."""
        if not self.negatives_apart or not guided(params_of(items[0])):
            return [list(items)]
        without = [item for item in items if not params_of(item).negative_prompt]
        with_one = [item for item in items if params_of(item).negative_prompt]
        return [group for group in (without, with_one) if group]

    def check(self, items: Sequence[Item]) -> None:
        """Refuse what this class would ignore.

        Raises:
            InvalidInputError: a negative prompt for a net that cannot use one.
        """
        takes_negatives = "negative_prompt" in self.arguments and not self.distilled
        for item in items:
            if params_of(item).negative_prompt and not takes_negatives:
                text = "This checkpoint's guidance is distilled into it: it takes no negative prompt."
                raise InvalidInputError(text, job_id=str(item.job_id), field="/params/negative_prompt")

    def keywords(self, items: Sequence[Item]) -> dict[str, Any]:
        """The call for items of one `split`, without callbacks. Pictures come item by item, index by index."""
        first = params_of(items[0])
        count = first.num_images
        keywords: dict[str, Any] = {
            "prompt": [params_of(item).prompt for item in items],
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.num_inference_steps,
            "num_images_per_prompt": count,
            "generator": [generator_for(params_of(item).seed or 0, index) for item in items for index in range(count)],
            "output_type": "pt",
            "return_dict": False,
        }
        if self.guidance_argument in self.arguments:
            keywords[self.guidance_argument] = first.guidance_scale
        negatives = [params_of(item).negative_prompt for item in items]
        if guided(first) and any(negatives):
            keywords["negative_prompt"] = negatives
        return {name: value for name, value in keywords.items() if name in self.arguments}


def guided(params: TextToImageParams) -> bool:
    """Whether classifier-free guidance is on (Ho & Salimans 2022)."""
    return (params.guidance_scale or 0) > 1
