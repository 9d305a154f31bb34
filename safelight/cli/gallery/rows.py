"""What the gallery asks for: one row for each task and family, in an order in which each input is there before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CAT, ORANGE_CAT = "a cat on a blue background", "一只坐在草地上的橘猫"
PHOTOGRAPH = "temple.jpg"
CREDIT = "The photograph of the temple is by danielbuechele, CC BY 2.0, as it comes with scikit-learn."


@dataclass(frozen=True, slots=True)
class From:
    """An input: the output of an earlier row, or the photograph when no row is named."""

    row: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One request."""

    key: str
    title: str
    task: str
    params: Mapping[str, Any]
    checkpoint: str | None = None
    then: tuple[Mapping[str, Any], ...] = ()
    shows: tuple[str, ...] = field(default=())
    """Inputs that are shown before the result."""
    needs_data_set: bool = False


def picture(row: str, index: int = 0) -> dict[str, Any]:
    """The param `image`, from an earlier row."""
    return {"image": From(row, index)}


DRAWING = "text-to-image"
ROWS: tuple[Row, ...] = (
    Row(DRAWING, "Text to image", "text_to_image", {"prompt": CAT, "num_images": 4, "seed": 7}, "emoji-64"),
    Row(
        "text-to-image-zh",
        "Text to image, in Chinese",
        "text_to_image",
        {"prompt": ORANGE_CAT, "num_images": 4, "seed": 3},
        "emoji-64",
    ),
    Row(
        "best-of",
        "The best of eight, by CLIP",
        "text_to_image",
        {"prompt": "a 3d fox on grass", "best_of": 8, "num_images": 2, "seed": 5},
        "emoji-64",
    ),
    Row(
        "image-to-image",
        "Image to image",
        "image_to_image",
        {**picture(DRAWING), "prompt": "a fox on a blue background", "strength": 0.75, "seed": 2, "num_images": 2},
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "edit",
        "Edit, by what the picture shall become",
        "edit",
        {**picture(DRAWING), "prompt": "a cat in the night sky", "strength": 0.4, "seed": 4, "num_images": 2},
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "inpaint-drawn",
        "Inpaint, a mask drawn from shapes",
        "inpaint",
        {
            **picture(DRAWING),
            "prompt": "a dog on a blue background",
            "seed": 4,
            "mask_shapes": [{"shape": "ellipse", "left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.95}],
        },
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "inpaint-automatic",
        "Inpaint, the background found by a net",
        "inpaint",
        {
            **picture(DRAWING),
            "prompt": "a cat on the beach",
            "mask_automatic": "background",
            "mask_grow": 0.05,
            "seed": 4,
        },
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "outpaint",
        "Outpaint",
        "outpaint",
        {
            **picture("text-to-image-zh"),
            "prompt": "grass",
            "zoom": 0.75,
            "y": 1.0,
            "scheduler": "euler_ancestral",
            "seed": 6,
        },
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "control",
        "ControlNet, led by the edges of a picture (the last tile)",
        "control",
        {
            **picture("flat-owl"),
            "prompt": "a 3d owl on grass",
            "return_map": True,
            "seed": 2,
            "num_images": 2,
        },
        "emoji-64-canny",
        shows=("image",),
    ),
    Row(
        "style-by-prompt",
        "Style transfer, the style in words",
        "style_transfer",
        {**picture(DRAWING), "prompt": "a 3d cat on a blue background", "strength": 0.6, "seed": 1},
        "emoji-64",
        shows=("image",),
    ),
    Row(
        "upscale",
        "Upscale four times, Real-ESRGAN",
        "upscale",
        {**picture(DRAWING), "scale": 4},
        "real-esrgan",
        shows=("image",),
    ),
    Row(
        "style-by-name",
        "Style transfer, one of 26 styles",
        "style_transfer",
        {"image": From(), "style": "stained-glass"},
        "style-transfer-lite",
        shows=("image",),
    ),
    Row(
        "style-by-picture",
        "Style transfer, any picture as the style",
        "style_transfer",
        {"image": From(), "style_image": From("upscale")},
        "style-transfer-lite",
        shows=("image", "style_image"),
    ),
    Row(
        "translate-vintage",
        "CycleGAN, photograph to vintage",
        "translate",
        {"image": From()},
        "vintage",
        shows=("image",),
    ),
    Row(
        "translate-flat-3d",
        "CycleGAN trained here, flat to 3D",
        "translate",
        picture("flat-engine"),
        "emoji-flat-to-3d",
        shows=("image",),
    ),
    Row(
        "translate-3d-flat",
        "Its other half, 3D to flat",
        "translate",
        picture("3d-panda"),
        "emoji-3d-to-flat",
        shows=("image",),
    ),
    Row("sample-dcgan", "DCGAN", "sample", {"num_images": 16, "seed": 1}, "emoji-dcgan"),
    Row("sample-stylegan2", "StyleGAN2", "sample", {"num_images": 16, "seed": 1, "truncation": 0.8}, "emoji-stylegan2"),
    Row(
        "sample-stylegan2-mix",
        "StyleGAN2, coarse traits of one seed and fine ones of another",
        "sample",
        {"num_images": 8, "seed": 1, "mix_seed": 9},
        "emoji-stylegan2",
    ),
    Row("sample-vae", "VAE", "sample", {"num_images": 16, "seed": 1}, "emoji-vae"),
    Row(
        "sample-ddpm",
        "DDPM, sampled by DDIM",
        "sample",
        {"num_images": 8, "seed": 1, "scheduler": "ddim"},
        "emoji-ddpm",
    ),
    Row(
        "class-gan",
        "Conditional GAN",
        "class_to_image",
        {"class_label": "elephant", "num_images": 8, "seed": 1},
        "animals-gan",
    ),
    Row(
        "class-diffusion",
        "Class-conditional diffusion",
        "class_to_image",
        {"class_label": 0, "num_images": 8, "seed": 1},
        "emoji-classes",
    ),
    Row(
        "class-biggan",
        "BigGAN, truncated",
        "class_to_image",
        {"class_label": "strawberry", "num_images": 8, "seed": 1, "truncation": 0.7},
        "emoji-biggan",
    ),
    Row("class-dit", "DiT", "class_to_image", {"class_label": 0, "num_images": 8, "seed": 1}, "emoji-dit"),
    Row(
        "reconstruct", "Through the autoencoder and back", "reconstruct", picture(DRAWING), "emoji-64", shows=("image",)
    ),
    Row(
        "walk-prompts",
        "A walk from prompt to prompt",
        "interpolate",
        {"prompts": ["a cat on a blue background", "a fox on a yellow background"], "seeds": [7], "frames": 16},
        "emoji-64",
    ),
    Row("walk-seeds", "A walk from seed to seed", "interpolate", {"seeds": [1, 2, 3], "frames": 24}, "emoji-stylegan2"),
    Row(
        "expand-model",
        "Prompts by a language model",
        "expand_prompt",
        {"prompt": "a cat", "num_prompts": 2, "seed": 1},
        "smollm2",
    ),
    Row(
        "expand-grammar",
        "Prompts by a grammar",
        "expand_prompt",
        {"prompt": "a {red|blue|green} fox, __style__", "num_prompts": 3, "seed": 1},
        "prompt-grammar",
    ),
    Row(
        "caption",
        "Caption",
        "caption",
        {**picture("text-to-image-zh"), "num_captions": 2},
        "emoji-64-clip",
        shows=("image",),
    ),
    Row(
        "score",
        "Score",
        "score",
        {**picture(DRAWING), "descriptions": [CAT, "a dog on grass", ORANGE_CAT]},
        "emoji-64-clip",
        shows=("image",),
    ),
    Row(
        "chain",
        "One request: expand, the best of four, enlarged four times",
        "expand_prompt",
        {"prompt": "a {cartoon|3d} panda on a {blue|green} background", "seed": 2},
        "prompt-grammar",
        then=(
            {"task": "text_to_image", "checkpoint": "emoji-64", "params": {"best_of": 4, "seed": 2}},
            {"task": "upscale", "checkpoint": "real-esrgan", "params": {"scale": 4}},
        ),
    ),
    Row(
        "preprocess",
        "A data set cleaned, cut to size and split",
        "preprocess",
        {"data_set": From("data-set"), "width": 32, "splits": {"train": 0.8, "test": 0.2}, "seed": 1},
        needs_data_set=True,
    ),
    Row(
        "train",
        "A VAE trained on it for a minute",
        "train",
        {
            "data_set": From("preprocess"),
            "method": "vae",
            "name": "gallery-vae",
            "image_size": 32,
            "max_steps": 3000,
            "max_minutes": 1.0,
            "seed": 1,
        },
        needs_data_set=True,
    ),
)
"""Rows whose checkpoint is not registered are left out, and the page says so."""

SOURCES = tuple(
    Row(key, "", "text_to_image", {"prompt": prompt, "seed": 3}, "emoji-64")
    for key, prompt in (
        ("flat-owl", "a flat owl on a yellow background"),
        ("flat-engine", "a flat fire engine on a blue background"),
        ("3d-panda", "a 3d panda on a yellow background"),
    )
)
"""Pictures that other rows start from, without a place of their own."""

DATA_SET_PROMPTS = ("an apple", "a lemon", "a pear", "a banana", "a strawberry", "a tomato")
"""What the data set of the last rows is drawn from."""
