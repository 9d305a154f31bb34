"""The diffusers classes that share one checkpoint's nets: which tasks it does, and the class that does each.

A folder is loaded as one class. Its sisters for other tasks are made from it by diffusers' own `from_pipe`, over the
same nets: not a byte of weights is held twice.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import CheckpointUnavailableError
from worker.pipelines.diffusers.calls import CallStyle

WALKED_BY_WORDS = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline")
"""Classes whose embeddings and first noise can be handed over; see `walking`."""
_LED_BY_PICTURES = frozenset({"image", "mask_image", "control_image", "video"})
_UNET_CHANNELS_OF_INPAINTING = (4, 9)
"""Diffusers' inpainting of UNets knows latents of four channels only, alone or beside mask and masked picture."""


@dataclass(frozen=True)
class Sister:
    """One diffusers class over the checkpoint's nets."""

    pipe: Any
    style: CallStyle

    @classmethod
    def of(cls, pipe: Any) -> "Sister":
        """With its signature read."""
        return cls(pipe, CallStyle.of(pipe))


class Sisters:
    """Made when first asked for, kept as long as the checkpoint."""

    def __init__(self, pipe: Any, beside: Mapping[str, Sister] | None = None) -> None:
        """`pipe` as it was loaded; `beside` are classes, by task, of its nets and others that do not belong to it."""
        self._made = dict(beside or {})
        self.main = Sister.of(pipe)
        self.tasks = tasks_of(pipe) | self._made.keys()

    def for_task(self, task: str) -> Sister:
        """The class that does a task.

        Raises:
            CheckpointUnavailableError: no class of these nets does.
        """
        if task not in self.tasks:
            does = ", ".join(sorted(self.tasks))
            raise CheckpointUnavailableError(f"A {type(self.main.pipe).__name__} does not do {task}; it does: {does}.")
        if task not in self._made:
            self._made[task] = self._make(task)
        return self._made[task]

    def _make(self, task: str) -> Sister:
        from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

        pipe = self.main.pipe
        if "mask_image" in self.main.style.arguments:
            return self.main
        auto = None
        again = {"image_to_image", "style_transfer", "edit"} if "image_to_image" in self.tasks else set()
        if task in again or (task in {"inpaint", "outpaint"} and blends(pipe)):
            auto = AutoPipelineForImage2Image
        elif task in {"inpaint", "outpaint"}:
            auto = AutoPipelineForInpainting
        if auto is None:
            return self.main
        return Sister.of(over_nets(auto, pipe))


def over_nets(auto: Any, pipe: Any, **parts: Any) -> Any:
    """What one of diffusers' auto classes finds for the nets of a loaded pipeline, with `parts` beside them."""
    sister = auto.from_pipe(pipe, add_watermarker=False, **parts)
    sister.set_progress_bar_config(disable=True)
    return sister


def blends(pipe: Any) -> bool:
    """Whether what lies outside of a mask must be laid in between the steps by us, since no class does it."""
    unet = getattr(pipe, "unet", None)
    if unet is None:
        return False
    return unet.config.in_channels not in _UNET_CHANNELS_OF_INPAINTING or not _has_sister(pipe, "INPAINT")


def tasks_of(pipe: Any) -> frozenset[str]:
    """What a loaded pipeline can be asked for; empty when it needs what no task of ours has."""
    name, arguments = type(pipe).__name__, frozenset(inspect.signature(type(pipe).__call__).parameters)
    kinds = (
        ("prompt" not in arguments, ()),
        ("Kontext" in name, ("text_to_image", "edit")),
        ("image_guidance_scale" in arguments, ("edit",)),
        ("Control" in name, () if {"mask_image", "strength"} & arguments else ("control",)),
        (name.endswith("UpscalePipeline"), ("upscale",)),
        ("mask_image" in arguments, ("inpaint", "outpaint") if "strength" in arguments else ()),
        (bool(_LED_BY_PICTURES & arguments) and not _draws_from_text(pipe), ()),
    )
    found = next((frozenset(tasks) for fits, tasks in kinds if fits), None)
    return _tasks_of_text_class(pipe) if found is None else found


def _tasks_of_text_class(pipe: Any) -> frozenset[str]:
    tasks = {"text_to_image"}
    if _has_sister(pipe, "IMAGE2IMAGE"):
        tasks |= {"image_to_image", "edit", "style_transfer"}
    if _has_sister(pipe, "INPAINT") or ("image_to_image" in tasks and blends(pipe)):
        tasks |= {"inpaint", "outpaint"}
    if type(getattr(pipe, "vae", None)).__name__ == "AutoencoderKL":
        tasks |= {"reconstruct"}
        if type(pipe).__name__ in WALKED_BY_WORDS:
            tasks |= {"interpolate"}
    return frozenset(tasks)


def _draws_from_text(pipe: Any) -> bool:
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    return isinstance(pipe, tuple(AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()))


def _has_sister(pipe: Any, kind: str) -> bool:
    """Whether diffusers' table of that kind has a class for the same nets that starts from a picture at a strength."""
    from diffusers.pipelines import auto_pipeline as auto

    keys = [key for key, known in auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if known is type(pipe)]
    sister = getattr(auto, f"AUTO_{kind}_PIPELINES_MAPPING").get(keys[0]) if keys else None
    return sister is not None and "strength" in inspect.signature(sister.__call__).parameters
