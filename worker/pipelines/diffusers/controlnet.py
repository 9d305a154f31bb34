"""A ControlNet by itself, as it lies on the Hub: run over the nets of another checkpoint (Zhang et al. 2023).

The base is loaded beside it and lends its nets for one batch; diffusers' class for both is made anew for each, so that
nothing here keeps a base in memory that the worker wants to let go. What the class then does is `painting`'s.
"""

import json
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import ControlParams
from worker.pipelines.base import CheckpointFiles, Context, Item, Output, Pipeline
from worker.pipelines.diffusers.denoiser import Denoiser
from worker.pipelines.diffusers.family import Diffusers
from worker.pipelines.diffusers.loading import check_whole, variant_of
from worker.pipelines.diffusers.painting import paint
from worker.pipelines.diffusers.sisters import Sister, Sisters, over_nets
from worker.pipelines.failures import guarded_load

if TYPE_CHECKING:
    from torch import nn

    from worker.devices import Device

CONFIG = "config.json"
BASES: dict[str, tuple[str, ...]] = {
    "ControlNetModel": ("StableDiffusionPipeline", "StableDiffusionXLPipeline"),
    "SD3ControlNetModel": ("StableDiffusion3Pipeline",),
    "FluxControlNetModel": ("FluxPipeline",),
}
"""Each class of ControlNets, and the classes of the pipelines that it runs over."""
_COLOURS = 3
_ALIKE = {
    "unet": ("in_channels", "addition_embed_type", "projection_class_embeddings_input_dim"),
    "transformer": (
        "in_channels", "patch_size", "joint_attention_dim", "pooled_projection_dim", "num_attention_heads",
        "attention_head_dim",
    ),
}  # fmt: skip
"""Settings that a ControlNet shares with the net that it leads, by the name of that net; None is for what it lacks."""


class ControlNet(Pipeline):
    """One ControlNet on one device, without a base."""

    family: ClassVar[str] = "controlnet"
    tasks: ClassVar[frozenset[str]] = frozenset({"control"})

    def __init__(self, net: "nn.Module") -> None:
        """`net` is a loaded ControlNet of diffusers, on its device."""
        self._net: Any = net
        self._base: weakref.ref[Diffusers] | None = None
        """Over which it ran last: what is slimmed when memory runs out."""

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the net.

        Raises:
            CheckpointUnavailableError: it is no ControlNet, or one that asks for more than a map.
        """
        return cls(guarded_load(lambda: _open(files.folder, device)))

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """As a whole folder of both does it.

        Raises:
            CheckpointUnavailableError: the base is gone; names its field.
            InvalidInputError: the base is of another kind; names its field.
        """
        yield from paint(self._over(items[0], context), items, context)

    @property
    def memory_bytes(self) -> int:
        """Its own; the base counts for itself."""
        return sum(tensor.nbytes for tensor in (*self._net.parameters(), *self._net.buffers()))

    def slim(self) -> str:
        """The base takes far more than this net does, so it is the base that goes down its ladder."""
        base = self._base() if self._base else None
        return base.slim() if base else ""

    def _over(self, item: Item, context: Context) -> Denoiser:
        """The base as it denoises with this net beside its own. All items of a batch have the same base."""
        from diffusers import AutoPipelineForText2Image

        params = item.params
        assert isinstance(params, ControlParams)  # noqa: S101  # the claim matched task and checkpoint
        named = {"job_id": str(item.job_id), "field": "/params/base"}
        if params.base is None:
            raise InvalidInputError("This ControlNet runs over another checkpoint: name it.", **named)
        try:
            base = context.library.pipeline("text_to_image", params.base, params.base_revision)
        except CheckpointUnavailableError as error:
            text = f"This ControlNet is to run over {params.base!r}: {error.detail}"
            raise CheckpointUnavailableError(text, **(error.extra | named)) from error
        problem = misfit(self._net, base.denoiser.pipe) if isinstance(base, Diffusers) else "it is of another family"
        if not isinstance(base, Diffusers) or problem:
            text = f"This ControlNet does not run over {params.base!r}: {problem}. Name what it was trained for."
            raise InvalidInputError(text, **named)
        self._base = weakref.ref(base)
        pipe = base.denoiser.pipe
        led = Sister.of(over_nets(AutoPipelineForText2Image, pipe, controlnet=self._net))
        return replace(base.denoiser, sisters=Sisters(pipe, {"control": led}))


def misfit(net: Any, pipe: Any) -> str:
    """Why a ControlNet cannot lead the nets of a loaded pipeline; empty when it can, as far as their shapes say."""
    kinds = BASES[type(net).__name__]
    if type(pipe).__name__ not in kinds:
        return f"it is a {type(pipe).__name__}, where a {' or a '.join(kinds)} is needed"
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    theirs, ours = getattr(pipe, part).config, net.config
    differing = [name for name in _ALIKE[part] if ours.get(name) is not None and ours[name] != theirs.get(name)]
    if part == "unet":
        reads_words = any("attn2" in name for name in net.attn_processors)
        if reads_words and ours.cross_attention_dim != theirs.cross_attention_dim:
            differing.append("cross_attention_dim")
        if _residuals(net) != _skips(theirs):
            differing.append("block_out_channels or layers_per_block")
        if 2 ** (len(ours.conditioning_embedding_out_channels) - 1) != pipe.vae_scale_factor:
            differing.append("conditioning_embedding_out_channels")
    return f"their nets differ in {' and '.join(differing)}" if differing else ""


def _residuals(net: Any) -> list[int]:
    """Channels of what a ControlNet adds to a UNet: to each skip connection, and to its middle."""
    return [layer.out_channels for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block)]


def _skips(unet: Any) -> list[int]:
    """Channels of a UNet's skip connections, and of its middle: each layer has one, and each halving."""
    widths = unet.block_out_channels
    layers = unet.layers_per_block
    counts = [layers] * len(widths) if isinstance(layers, int) else layers
    skips = [widths[0]]
    for level, (width, count) in enumerate(zip(widths, counts, strict=True)):
        skips += [width] * (count + (level + 1 < len(widths)))
    return [*skips, widths[-1]]


def _open(folder: Path, device: "Device") -> "nn.Module":
    """From this machine only, safetensors only, every weight there."""
    import diffusers
    from diffusers.utils import logging

    logging.disable_progress_bar()
    name = _class_name(folder)
    net: Any = getattr(diffusers, name).from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=device.dtype,
        variant=variant_of(folder, "*.safetensors"),
    )
    check_whole(folder.name, net)
    if net.config.get("num_mode") or net.config.get("extra_conditioning_channels"):
        raise CheckpointUnavailableError(f"{folder.name} wants more than a map: a mode, or a mask. There is none here.")
    if net.config.get("conditioning_channels", _COLOURS) != _COLOURS:
        raise CheckpointUnavailableError(f"{folder.name} does not take maps of three channels.")
    layout = torch.channels_last if device.kind == "cuda" else torch.preserve_format  # as the base's UNet has it
    opened: nn.Module = net.eval().to(device.torch_device, memory_format=layout)
    return opened


def _class_name(folder: Path) -> str:
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in BASES:
        raise CheckpointUnavailableError(f"{folder.name}/{CONFIG} names none of {', '.join(BASES)}.")
    return str(name)
