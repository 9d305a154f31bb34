"""The tasks that denoise towards a prompt: from words, a picture, a mask or a map.

Jobs become the rows of as few diffusers calls as can be, and what comes back becomes their pictures.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from models.params import Fit, ImageToImageParams, StyleTransferParams
from models.params.pictures import MOST_STYLE
from worker.pipelines.base import Context, Item, Picture
from worker.pipelines.diffusers.adapters import laid_on
from worker.pipelines.diffusers.calls import Row, rows_of
from worker.pipelines.diffusers.choosing import Chooser
from worker.pipelines.diffusers.fitting import nearest_size
from worker.pipelines.diffusers.inpainting import Inpaint, Outpaint
from worker.pipelines.diffusers.starts import Edit, FromMap, FromPicture, Start
from worker.pipelines.diffusers.watching import Watch

if TYPE_CHECKING:
    from worker.pipelines.diffusers.denoiser import Denoiser

STARTS: dict[str, type[Start]] = {
    "text_to_image": Start,
    "image_to_image": FromPicture,
    "edit": Edit,
    "inpaint": Inpaint,
    "outpaint": Outpaint,
    "control": FromMap,
}


def paint(denoiser: "Denoiser", items: Sequence[Item], context: Context) -> Iterator[Picture]:
    """One diffusers call; more where memory or a class's view of negative prompts asks for it."""
    first = Row(items[0], 0).params
    sister = denoiser.sisters.for_task(items[0].task)
    rows = rows_of(items)
    sister.style.check(rows)
    denoiser.check(items, first)
    start = STARTS[items[0].task](items, sister)
    chooser = Chooser(items, context)
    size = (first.width or 0, first.height or 0)
    yield from start.beside()
    with laid_on(denoiser.pipe, first.loras, items[0], context):
        calls = sister.style.split(rows, denoiser.ladder.max_rows(first.pixels()))
        for number, call in enumerate(calls):
            context.raise_if_all_stopped()
            watch = Watch(
                call,
                context,
                denoiser.previewer,
                steps=start.steps(),
                size=size,
                call_number=number,
                calls=len(calls),
                between=start.between(call),
            )
            keywords = sister.style.keywords(call, start.keywords(call))
            pixels = denoiser.call(sister, keywords, watch, size, first.scheduler)
            for row, picture in zip(watch.kept, pixels, strict=True):
                yield from chooser.take(row, start.finish(row, picture))


def restyle(denoiser: "Denoiser", items: Sequence[Item], context: Context) -> Iterator[Picture]:
    """Style transfer by words: image to image at the shape of each picture, those of one size together."""
    painted = sorted((_as_image_to_image(item, denoiser) for item in items), key=_size_of)
    for _, group in groupby(painted, key=_size_of):
        yield from paint(denoiser, list(group), context)


def _as_image_to_image(item: Item, denoiser: "Denoiser") -> Item:
    params, profile = item.params, denoiser.profile
    assert isinstance(params, StyleTransferParams)  # noqa: S101  # the claim matched task and checkpoint
    picture = item.picture("image")
    width, height = nearest_size(profile, picture.shape[1], picture.shape[0])
    steps = params.num_inference_steps or profile.default_steps
    least = min(1.0, (1 + 1e-6) / steps)
    asked = ImageToImageParams(
        prompt=params.prompt or "",
        image=params.image,
        fit=Fit.COVER,
        width=width,
        height=height,
        num_inference_steps=steps,
        guidance_scale=profile.default_guidance if params.guidance_scale is None else params.guidance_scale,
        strength=max(MOST_STYLE * params.strength, least),
        seed=params.seed,
        output_format=params.output_format,
    )
    return Item(item.job_id, "image_to_image", asked, item.inputs)


def _size_of(item: Item) -> tuple[int, int]:
    params = Row(item, 0).params
    return params.width or 0, params.height or 0
