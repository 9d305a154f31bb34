"""What each task hands a diffusers class beside the words, and what it does with the pictures that come back."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from models.errors import InvalidInputError
from models.params import ControlParams, DiffusionParams, EditParams
from models.params.edits import EDIT_STRENGTH, IMAGE_GUIDANCE, ControlMap, PictureToPictureParams
from worker.media.edges import canny
from worker.media.pseudo_depth import pseudo_depth
from worker.pipelines.base import Item, Picture
from worker.pipelines.diffusers.calls import Row
from worker.pipelines.diffusers.fitting import fit_picture, to_tensor

if TYPE_CHECKING:
    from uuid import UUID

    from worker.pipelines.base import Pixels
    from worker.pipelines.diffusers.sisters import Sister
    from worker.pipelines.diffusers.watching import Between


class Start:
    """Text to image: from words alone. The other tasks build on it; one object serves one batch."""

    def __init__(self, items: Sequence[Item], sister: "Sister") -> None:
        """Inputs are read here, before the first step.

        Raises:
            InvalidInputError: one cannot be used; names the item and its field.
        """
        self._items = items
        self._sister = sister

    def steps(self) -> int:
        """How many of the steps are made."""
        return max(1, int(self._params.num_inference_steps or 1))

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:  # noqa: ARG002
        """For the call of these rows, one entry a row where it is about pictures."""
        return {}

    def between(self, rows: Sequence[Row]) -> "Between | None":  # noqa: ARG002
        """What happens to the latents of this call between its steps."""
        return None

    def finish(self, row: Row, pixels: "Pixels") -> "Pixels":  # noqa: ARG002
        """From what the class made to what the client gets."""
        return pixels

    def beside(self) -> Iterable[Picture]:
        """What clients get beside what is denoised."""
        return ()

    @property
    def _params(self) -> DiffusionParams:
        """What all items share."""
        return Row(self._items[0], 0).params


class FromPicture(Start):
    """Image to image: noise is laid over the picture, and only the rest of the way is denoised (Meng et al. 2021)."""

    def __init__(self, items: Sequence[Item], sister: "Sister") -> None:
        super().__init__(items, sister)
        self._pictures: dict[UUID, Pixels] = {item.job_id: self._prepared(item) for item in items}

    def steps(self) -> int:
        """The share that is denoised."""
        return max(1, int(super().steps() * self._strength))

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Picture and strength."""
        return {"image": to_tensor([self._picture(row) for row in rows]), "strength": self._strength}

    @property
    def _strength(self) -> float:
        return getattr(self._params, "strength", 1.0)

    def _picture(self, row: Row) -> "Pixels":
        return self._pictures[row.item.job_id]

    def _prepared(self, item: Item) -> "Pixels":
        """The picture at the size that is worked at."""
        params = item.params
        assert isinstance(params, PictureToPictureParams)  # noqa: S101  # the claim matched task and checkpoint
        return fit_picture(item.picture("image"), params.width or 0, params.height or 0, params.fit)


class Edit(FromPicture):
    """By the class: led by an instruction, the picture beside the noise in every step (Brooks et al. 2023); or anew."""

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:
        """How closely to keep to the picture, under the name that the class has for it."""
        if self._anew:
            return super().keywords(rows)
        pictures = to_tensor([self._picture(row) for row in rows])
        return {"image": pictures, "image_guidance_scale": self._asked.image_guidance_scale or IMAGE_GUIDANCE}

    @property
    def _strength(self) -> float:
        return (self._asked.strength or EDIT_STRENGTH) if self._anew else 1.0

    @property
    def _anew(self) -> bool:
        return "strength" in self._sister.style.arguments

    @property
    def _asked(self) -> EditParams:
        params = self._params
        assert isinstance(params, EditParams)  # noqa: S101  # the same
        return params


class FromMap(FromPicture):
    """Control: a map of the picture leads the net through a second one (Zhang et al. 2023)."""

    def keywords(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Under either of the two names that diffusers has for it."""
        params = self._params
        assert isinstance(params, ControlParams)  # noqa: S101  # the same
        maps = to_tensor([self._picture(row) for row in rows])
        name = "control_image" if "control_image" in self._sister.style.arguments else "image"
        return {name: maps, "controlnet_conditioning_scale": params.control_scale}

    def beside(self) -> Iterable[Picture]:
        """The maps of those who want to see them, behind their pictures."""
        for item in self._items:
            if item.params.outputs() != item.params.rows():
                yield Picture(item.job_id, item.params.rows(), self._pictures[item.job_id].copy(), item.seed)

    def _prepared(self, item: Item) -> "Pixels":
        """Made at the size that is worked at, so that its lines stay one pixel thin."""
        picture, params = super()._prepared(item), item.params
        assert isinstance(params, ControlParams)  # noqa: S101  # the same
        if params.control_scale != 1 and "controlnet_conditioning_scale" not in self._sister.style.arguments:
            text = "This checkpoint's own net sees the map and has no scale for it; leave it out."
            raise InvalidInputError(text, job_id=str(item.job_id), field="/params/control_scale")
        if params.control is ControlMap.CANNY:
            return canny(picture, params.low_threshold, params.high_threshold)
        return pseudo_depth(picture) if params.control is ControlMap.DEPTH else picture
