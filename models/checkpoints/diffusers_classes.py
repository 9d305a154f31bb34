"""What each pipeline class of diffusers can be asked for, by name: this room does not import diffusers.

The worker reads the same off the loaded class. What is not in the table draws from text at least, or does not load; a
name that tells of more than words promises nothing, and its folder needs a card.
"""

_MORE_THAN_WORDS = ("Control", "Inpaint", "Edit", "Upscale", "SuperResolution", "Layered", "Adapter", "Video", "Audio")
_TEXT = ("text_to_image",)
_PICTURES = (*_TEXT, "image_to_image", "edit", "style_transfer", "inpaint", "outpaint", "reconstruct")
_ALL = (*_PICTURES, "interpolate")
_MASKED = ("inpaint", "outpaint")

TASKS_OF_CLASS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"), _ALL),
    **dict.fromkeys(("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"), _ALL),
    **dict.fromkeys(("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"), _ALL),
    **dict.fromkeys(("FluxPipeline", "FluxImg2ImgPipeline"), _ALL),
    "LatentConsistencyModelPipeline": _PICTURES,
    "FluxKontextPipeline": (*_TEXT, "edit"),
    "StableDiffusionInstructPix2PixPipeline": ("edit",),
    "StableDiffusionXLInstructPix2PixPipeline": ("edit",),
    "StableDiffusionInpaintPipeline": _MASKED,
    "StableDiffusionXLInpaintPipeline": _MASKED,
    "StableDiffusion3InpaintPipeline": _MASKED,
    "FluxInpaintPipeline": _MASKED,
    "FluxFillPipeline": _MASKED,
    "StableDiffusionControlNetPipeline": ("control",),
    "StableDiffusionXLControlNetPipeline": ("control",),
    "StableDiffusion3ControlNetPipeline": ("control",),
    "FluxControlNetPipeline": ("control",),
    "FluxControlPipeline": ("control",),
    "StableDiffusionUpscalePipeline": ("upscale",),
    "StableDiffusionLatentUpscalePipeline": ("upscale",),
}

GUIDANCE_OF_CLASS = {
    "FluxPipeline": 3.5,
    "FluxControlNetPipeline": 3.5,
    "FluxControlPipeline": 30.0,
    "FluxFillPipeline": 30.0,
    "FluxKontextPipeline": 2.5,
    "StableDiffusion3Pipeline": 7.0,
    "StableDiffusion3ControlNetPipeline": 7.0,
    "StableDiffusionUpscalePipeline": 9.0,
}
"""What their papers and model cards sample with, where that is not what others of their kind do."""

UPSCALER_INPUT_PIXELS = 512 * 512
"""Sixteen times as many come out, and every one is denoised at once."""


def tasks_of_class(class_name: str) -> tuple[str, ...]:
    """Names of tasks; none for what must be led by more than words and is not known here."""
    if class_name in TASKS_OF_CLASS:
        return TASKS_OF_CLASS[class_name]
    return () if any(word in class_name for word in _MORE_THAN_WORDS) else _TEXT


def edits_by_strength(class_name: str) -> bool:
    """Whether it edits by image to image; the others were trained to follow instructions."""
    tasks = tasks_of_class(class_name)
    return "edit" in tasks and "image_to_image" in tasks


def upscales_by(class_name: str, pixels_per_latent: int) -> int:
    """How many times as large an upscaler's pictures are; 0 of a class that is none."""
    if tasks_of_class(class_name) != ("upscale",):
        return 0
    return 2 if "Latent" in class_name else pixels_per_latent
