"""The card of a checkpoint folder, `safelight.json`: what an operator would otherwise have to type.

A plain diffusers folder needs none: its task, size and steps are read from `model_index.json` and its parts. Nor does
a single net, of transformers or a ControlNet, whose `config.json` names a kind that we run: `models.checkpoints.plain`.
"""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.checkpoints.diffusers_classes import (
    GUIDANCE_OF_CLASS,
    UPSCALER_INPUT_PIXELS,
    edits_by_strength,
    tasks_of_class,
    upscales_by,
)
from models.checkpoints.manifest import scan_folder
from models.checkpoints.plain import of_class, of_config, pixels_per_latent, read_json
from models.checkpoints.registry import ADAPTER_FAMILY, Registration
from models.checkpoints.rows import Source
from models.errors import FieldError, ValidationFailedError
from models.params import CheckpointProfile
from models.params.base import field_errors
from models.states import Pool

CARD_NAME = "safelight.json"
DIFFUSERS_INDEX = "model_index.json"
NET_CONFIG = "config.json"
_SAMPLE_SIZES = ("unet", "transformer")
_UNSAID_LATENT_SIZES = {"unet": 64, "transformer": 128}
"""Flux' transformer, for one, does not say what it was trained at: 1024 pixels."""
_TRANSFORMER_GUIDANCE = 5.0
_DEFAULT_PATCH_PIXELS = 8
"""Pixels per latent of an autoencoder that does not say."""
MAX_CLASS_NAME = 100


class PackageCard(BaseModel):
    """Weights that lie inside an installed distribution, and not beside the card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: str = Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = Field(max_length=50, pattern=r"^[0-9][A-Za-z0-9.+!]*$")
    files: tuple[str, ...] = Field(min_length=1, description="Shell patterns over its files.")


class Card(BaseModel):
    """The content of `safelight.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    family: str = Field(description="A family of worker.pipelines, e.g. `diffusers` or `conditional_gan`.")
    tasks: tuple[str, ...] = Field(description="Names of tasks; none for adapters, which are laid over others.")
    pool: Pool = Pool.GPU
    profile: CheckpointProfile = CheckpointProfile()
    licence: str = ""
    description: str = ""
    package: PackageCard | None = Field(None, description="Only in cards that ship with the product.")
    builtin: bool = Field(False, description="No weights at all; only in cards that ship with the product.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if not self.tasks and self.family != ADAPTER_FAMILY:
            raise ValueError("only adapters do no task by themselves")
        if not set(self.profile.default_for) <= set(self.tasks):
            raise ValueError("default_for names a task that it does not do")
        if self.package is not None and self.builtin:
            raise ValueError("a card has weights in a package, or none: not both")
        return self


def read_folder(
    folder: Path, *, name: str | None = None, pool: Pool | None = None, hard_links: bool = False
) -> Registration:
    """Hash a local folder and read what it says of itself.

    Raises:
        ValidationFailedError: refused files, a card that does not fit, or neither card nor diffusers index.
    """
    manifest = scan_folder(folder, hard_links=hard_links)
    card = read_card(folder, name)
    if card.package is not None or card.builtin:
        text = "Only cards that ship with Safelight name a package, or nothing at all, as their weights."
        raise ValidationFailedError([FieldError("/package", "not_shipped", text)])
    return Registration(
        name=name or card.name,
        family=card.family,
        tasks=card.tasks,
        pool=pool or card.pool,
        source=Source.LOCAL,
        location=str(folder.resolve()),
        manifest=manifest,
        profile=card.profile,
        licence=card.licence,
        description=card.description,
    )


def read_card(folder: Path, name: str | None = None) -> Card:
    """What a folder says of itself, or its diffusers index does.

    Raises:
        ValidationFailedError: it does not fit, or there is neither.
    """
    try:
        if (folder / CARD_NAME).is_file():
            return Card.model_validate(read_json(folder / CARD_NAME))
        if (folder / DIFFUSERS_INDEX).is_file():
            return Card.model_validate(_from_diffusers(folder, name))
        if (folder / NET_CONFIG).is_file():
            return Card.model_validate({"name": name or folder.resolve().name} | of_config(folder))
    except ValidationError as error:
        raise ValidationFailedError(field_errors(error, prefix=f"/{CARD_NAME}")) from error
    except ValueError as error:
        raise ValidationFailedError([FieldError("/location", "bad_json", f"{folder}: {error}")]) from error
    text = f"{folder} has neither {CARD_NAME} nor {DIFFUSERS_INDEX} nor {NET_CONFIG}."
    raise ValidationFailedError([FieldError("/location", "no_card", text)])


def _from_diffusers(folder: Path, name: str | None) -> dict[str, Any]:
    index = read_json(folder / DIFFUSERS_INDEX)
    class_name = str(index.get("_class_name", ""))[:MAX_CLASS_NAME]
    if found := of_class(class_name, folder, index):
        return {"name": name or folder.resolve().name} | found
    if not (tasks := tasks_of_class(class_name)):
        text = f"{folder} holds a {class_name}, which takes more than words; a card ({CARD_NAME}) must name its tasks."
        raise ValidationFailedError([FieldError("/location", "no_card", text)])
    side = _native_side(folder)
    profile: dict[str, Any] = {"default_width": side, "default_height": side, "max_size": max(2048, side)}
    if (folder / "transformer").is_dir():
        # Diffusion transformers see patches of 2 × 2 latents, so sides come in twice the latent's pixels.
        profile |= {"size_multiple": 16, "default_guidance": _TRANSFORMER_GUIDANCE}
    if class_name in GUIDANCE_OF_CLASS:
        profile["default_guidance"] = GUIDANCE_OF_CLASS[class_name]
    if scale := upscales_by(class_name, pixels_per_latent(folder, _DEFAULT_PATCH_PIXELS)):
        profile |= {"scales": [scale], "max_input_pixels": UPSCALER_INPUT_PIXELS}
    return {
        "name": name or folder.resolve().name,
        "family": "diffusers",
        "tasks": tasks,
        "profile": profile
        | {"needs_prompt": "text_to_image" in tasks, "edits_by_strength": edits_by_strength(class_name)},
        "description": class_name,
    }


def _native_side(folder: Path) -> int:
    """Pixels of the size that the checkpoint was trained at: latent size × what one latent covers."""
    latent = 0
    for part in _SAMPLE_SIZES:
        config = folder / part / "config.json"
        if config.is_file():
            size = read_json(config).get("sample_size")
            latent = (size if isinstance(size, int) else 0) or _UNSAID_LATENT_SIZES[part]
    return (latent or _UNSAID_LATENT_SIZES["unet"]) * pixels_per_latent(folder, _DEFAULT_PATCH_PIXELS)
