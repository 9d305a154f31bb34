"""What can be trained, as a table: how each method's task is made, how its result is written, and what may use that."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import Method, TrainParams
from models.states import Pool
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles
from worker.pipelines.failures import guarded
from worker.pipelines.trainer.material import Material

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from worker.training.loop import Task

DIFFUSION_STEPS, DIFFUSION_GUIDANCE = 25, 2.0
PREVIEWED: Final = 12
SMALLEST_SIDE: Final = 4
"""Of the VAE's features, in pixels."""


@dataclass(frozen=True)
class Recipe:
    """One method. `make` takes a base where the method adapts one, and the device; `write` fills the new folder."""

    family: str
    make: Callable[[TrainParams, Material, CheckpointFiles | None, "torch.device"], Any]
    write: Callable[[Any, Path], None]
    preview: Callable[[Any], "Image.Image"] = lambda task: task.sheet()
    """What is shown on the way: it must not take long, since nothing else happens meanwhile."""
    warmup_steps: int = 200
    denoises: bool = False
    pool: Pool = Pool.CPU

    def tasks(self) -> list[str]:
        """What the family does; none for an adapter, which does nothing alone."""
        return [] if self.family == "lora" else sorted(load_family(self.family).tasks)

    def profile(self, material: Material) -> dict[str, Any]:
        """Bounds and defaults of the new checkpoint."""
        if self.family == "lora":
            return {}
        width, height = material.facts["size"]
        steps = DIFFUSION_STEPS if self.denoises else 1
        profile: dict[str, Any] = {
            "default_width": width, "default_height": height, "min_size": min(width, height),
            "max_size": max(width, height), "default_steps": steps, "max_steps": 8 * steps if self.denoises else 1,
            "max_images": 64, "reads_prompt": False,
        }  # fmt: skip
        if self.denoises:
            profile["default_guidance"] = DIFFUSION_GUIDANCE
        return profile | ({"class_names": list(material.class_names)} if material.class_names else {})


def make_task(params: TrainParams, material: Material, base: CheckpointFiles | None, device: "torch.device") -> "Task":
    """The training of these pictures on a device, not begun.

    Raises:
        InvalidInputError: the base takes no adapter.
        CheckpointUnavailableError: a library is missing; names the extra.
    """
    recipe = RECIPES[params.method]
    if base is None:
        task: Task = recipe.make(params, material, None, device)
        return task
    try:
        adapted: Task = recipe.make(params, material, base, device)
    except ImportError as error:
        text = f"LoRAs need the package {error.name}: pip install 'safelight[models]'."
        raise CheckpointUnavailableError(text) from error
    except ValueError as error:
        raise InvalidInputError(f"{params.base!r} takes no LoRA: {error}", field="/params/base") from error
    return adapted


def _with(settings: Any, params: TrainParams, **rates: Any) -> Any:
    """A method's settings with what the params say in place of its own."""
    changes: dict[str, Any] = {"seed": params.seed or 0}
    if params.batch_size is not None:
        changes["batch"] = params.batch_size
    return replace(settings, **changes, **(rates if params.learning_rate is not None else {}))


def _dcgan(params: TrainParams, material: Material, _base: CheckpointFiles | None, device: "torch.device") -> Any:
    from worker.training.dcgan import DcganSettings, DcganTask

    rate = params.learning_rate
    settings = _with(DcganSettings(), params, generator_rate=rate, discriminator_rate=rate)
    return DcganTask(settings, material.pictures, device)


def _conditional_gan(
    params: TrainParams, material: Material, _base: CheckpointFiles | None, device: "torch.device"
) -> Any:
    from worker.training.conditional_gan import GanSettings, GanTask

    rate = params.learning_rate or 0.0
    # Pictures fill their frame: what comes in from outside is grey and not the black of the silhouettes.
    settings = _with(GanSettings(fill=0.0), params, generator_rate=rate, discriminator_rate=2 * rate)
    assert material.labels is not None  # noqa: S101  # `read_material` saw to it
    return GanTask(settings, material.pictures, material.labels, material.class_names, device)


def _vae(params: TrainParams, material: Material, _base: CheckpointFiles | None, device: "torch.device") -> Any:
    from worker.training.gaussian_vae import GaussianVaeSettings, GaussianVaeTask
    from worker.training.muon import Rates

    settings = GaussianVaeSettings()
    halvings = (material.pictures.shape[-1] // SMALLEST_SIDE).bit_length() - 1
    settings = replace(
        settings,
        encoder_widths=settings.encoder_widths[:halvings],
        decoder_widths=settings.decoder_widths[: halvings + 1],
        kl_warmup_steps=max(1, min(settings.kl_warmup_steps, params.max_steps // 3)),
    )
    rate = params.learning_rate or 0.0
    return GaussianVaeTask(_with(settings, params, rates=Rates(muon=2 * rate, adamw=rate)), material.pictures, device)


def _class_diffusion(
    params: TrainParams, material: Material, _base: CheckpointFiles | None, device: "torch.device"
) -> Any:
    from worker.training.diffusion import DiffusionSettings, DiffusionTask
    from worker.training.muon import Rates

    rate = params.learning_rate or 0.0
    settings = _with(DiffusionSettings(), params, rates=Rates(muon=2 * rate, adamw=rate))
    return DiffusionTask(settings, material.pictures, material.labels, material.class_names, device)


def _lora(params: TrainParams, material: Material, base: CheckpointFiles | None, device: "torch.device") -> Any:
    from worker.training.lora import LoraSettings, LoraTask

    assert base is not None  # noqa: S101  # the schema saw to it
    settings = _with(LoraSettings(rank=params.rank), params, rate=params.learning_rate)
    return LoraTask(settings, base.folder, material.pictures, material.captions, device)


def _few_classes(task: Any) -> "Image.Image":
    """One picture each of the first classes: a whole sheet takes a denoiser long."""
    import torch

    from worker.training.batches import to_pictures
    from worker.training.sheets import sheet

    labels = torch.arange(PREVIEWED) % len(task.class_names)
    return sheet(to_pictures(task.draw(labels, seed=0)), PREVIEWED, zoom=3)


def _write_calibrated(task: Any, folder: Path) -> None:
    guarded(task.calibrated).save_pretrained(folder)


RECIPES: dict[Method, Recipe] = {
    Method.DCGAN: Recipe("dcgan", _dcgan, _write_calibrated, warmup_steps=50),
    Method.CONDITIONAL_GAN: Recipe("conditional_gan", _conditional_gan, _write_calibrated, warmup_steps=50),
    Method.VAE: Recipe("vae", _vae, lambda task, folder: task.average.save_pretrained(folder)),
    Method.CLASS_DIFFUSION: Recipe(
        "class_diffusion",
        _class_diffusion,
        lambda task, folder: task.finished().save_pretrained(folder),
        _few_classes,
        denoises=True,
    ),
    Method.LORA: Recipe("lora", _lora, lambda task, folder: task.save(folder), warmup_steps=20, pool=Pool.GPU),
}
"""Every method of the schema."""
