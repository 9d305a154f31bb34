"""How each diffusers class wants to be called: its signature read once, then items turned into keyword arguments."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator

from models.errors import InvalidInputError
from models.params import DiffusionParams
from worker.pipelines.base import Item, generator_for

_DRAW_APART = frozenset({"StableDiffusion3ControlNetPipeline"})
"""It samples the latents of its map without a generator."""


@dataclass(frozen=True)
class Row:
    """One picture to make: the row of a batch."""

    item: Item
    index: int

    @property
    def params(self) -> DiffusionParams:
        """The item's params, as what they are."""
        assert isinstance(self.item.params, DiffusionParams)  # noqa: S101  # the claim matched task and checkpoint
        return self.item.params

    def generator(self) -> Generator:
        """Its own, at its beginning."""
        return generator_for(self.item.seed, self.index)


def rows_of(items: Iterable[Item]) -> list[Row]:
    """Every picture of every item, item by item."""
    return [Row(item, index) for item in items for index in range(item.params.rows())]


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
    always_negative: bool
    """Whether the class is made to guide against a blank where no negative prompt is given (Qwen-Image)."""
    max_sequence_length: int | None
    draws_apart: bool
    """Whether the class draws from torch's own stream, too; then each row has a call, and that stream, to itself."""

    @classmethod
    def of(cls, pipe: Any) -> "CallStyle":
        """Read it off a loaded pipeline."""
        parameters = inspect.signature(type(pipe).__call__).parameters
        denoiser = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        distilled = bool(getattr(getattr(denoiser, "config", None), "guidance_embeds", False))
        true_guidance = "true_cfg_scale" in parameters and not distilled
        always = true_guidance and parameters["true_cfg_scale"].default > 1
        length = parameters.get("max_sequence_length")
        return cls(
            arguments=frozenset(parameters),
            guidance_argument="true_cfg_scale" if true_guidance else "guidance_scale",
            always_negative=always,
            negatives_apart=(true_guidance and not always) or bool(pipe.config.get("force_zeros_for_empty_prompt")),
            distilled=distilled,
            max_sequence_length=length.default if length else None,
            draws_apart=type(pipe).__name__ in _DRAW_APART,
        )

    def split(self, rows: Sequence[Row], max_rows: int) -> list[list[Row]]:
        """The calls that a batch needs: one, as long as `max_rows` fit the memory and no negative prompt is special."""
        max_rows = 1 if self.draws_apart else max_rows
        groups = [list(rows)]
        if self.negatives_apart and guided(rows[0].params):
            groups = [[row for row in rows if bool(row.params.negative_prompt) is has_one] for has_one in (False, True)]
        return [group[start : start + max_rows] for group in groups for start in range(0, len(group), max_rows)]

    def check(self, rows: Iterable[Row]) -> None:
        """Refuse what this class would ignore.

        Raises:
            InvalidInputError: a negative prompt for a net that cannot use one.
        """
        if "negative_prompt" in self.arguments and not self.distilled:
            return
        for row in rows:
            if row.params.negative_prompt:
                text = "This checkpoint's guidance is distilled into it: it takes no negative prompt."
                raise InvalidInputError(text, job_id=str(row.item.job_id), field="/params/negative_prompt")

    def keywords(self, rows: Sequence[Row], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The call for the rows of one `split`, without callbacks. `given` is what the task adds, a picture a row."""
        first = rows[0].params
        prompts, count = ([row.params for row in rows], 1) if given else _prompts(rows)
        keywords: dict[str, Any] = {
            "prompt": [params.prompt for params in prompts],
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.num_inference_steps,
            "num_images_per_prompt": count,
            "generator": [row.generator() for row in rows],
            "clean_caption": False,  # would depend on whether ftfy and BeautifulSoup happen to be installed
            "max_area": first.pixels(),  # Kontext would else bring everything to the sizes that it was trained at
            "_auto_resize": False,
            "output_type": "pt",
            "return_dict": False,
            self.guidance_argument: first.guidance_scale,
        }
        if guided(first) and (self.always_negative or any(params.negative_prompt for params in prompts)):
            blank = " " if self.always_negative else ""
            keywords["negative_prompt"] = [params.negative_prompt or blank for params in prompts]
        keywords |= given or {}
        return {name: value for name, value in keywords.items() if name in self.arguments}


def guided(params: DiffusionParams) -> bool:
    """Whether classifier-free guidance is on (Ho & Salimans 2022)."""
    return (params.guidance_scale or 0) > 1


def _prompts(rows: Sequence[Row]) -> tuple[list[DiffusionParams], int]:
    """The prompts to encode, and the images of each: a prompt is encoded once when all its pictures are here."""
    items = list({row.item.job_id: row.item for row in rows}.values())
    counts = {item.params.rows() for item in items}
    if len(counts) == 1 and rows_of(items) == list(rows):
        return [Row(item, 0).params for item in items], counts.pop()
    return [row.params for row in rows], 1
