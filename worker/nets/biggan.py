"""BigGAN-deep: noise and a class to a picture (Brock et al. 2018, arXiv:1809.11096).

Config and tensor names are those of the public weights (``pytorch_pretrained_biggan``, 128, 256 and 512 px), so their
folders load as they are once the tensors are safetensors; our own small one is stored in the same way. One embedding of
the class is shared by all blocks, and noise and class together set every block's gains. Batch statistics are stored at
``n_stats`` truncations from 0 to 1 (the paper's standing statistics); in between they are interpolated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.folders import FolderError, fit, read_config, read_weights, write_folder
from worker.nets.spectral import Spectral, SpectralConv, SpectralLinear

FIRST_SIDE: Final = 4
FIRST_MULTIPLE: Final = 16
"""Width at the first side, in units of ``channel_width``."""
COLOURS: Final = 3
REDUCTION: Final = 4
CUT: Final = 2.0
"""Where the noise is cut off, in standard deviations, before truncation scales it."""
DEEP_128: Final = (
    (False, 16, 16),
    (True, 16, 16),
    (False, 16, 16),
    (True, 16, 8),
    (False, 8, 8),
    (True, 8, 4),
    (False, 4, 4),
    (True, 4, 2),
    (False, 2, 2),
    (True, 2, 1),
)


@dataclass(frozen=True, slots=True)
class BigGanConfig:
    """What ``config.json`` says. A layer is (does it double the side, width in, width out), in ``channel_width``s.

    ``class_names`` is our own addition; the public folders leave it out.
    """

    output_dim: int = 128
    z_dim: int = 128
    class_embed_dim: int = 128
    channel_width: int = 128
    num_classes: int = 1000
    layers: tuple[tuple[bool, int, int], ...] = DEEP_128
    attention_layer_position: int = 8
    eps: float = 1e-4
    n_stats: int = 51
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if FIRST_SIDE << sum(bool(up) for up, _, _ in self.layers) != self.output_dim:
            raise ValueError(f"the layers do not grow {FIRST_SIDE} px to {self.output_dim} px")
        outs = (FIRST_MULTIPLE, *(width_out for _, _, width_out in self.layers))
        ins = (*(width_in for _, width_in, _ in self.layers), 1)
        if outs != ins:
            raise ValueError("each layer takes the width that the one before it gives, from 16 down to 1")
        if any(width_out not in (width_in, width_in // 2) for _, width_in, width_out in self.layers):
            raise ValueError("a layer keeps its width or halves it")
        if self.class_embed_dim != self.z_dim:
            raise ValueError("class_embed_dim and z_dim must be the same")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")
        if self.channel_width < COLOURS:
            raise ValueError(f"channel_width must be at least {COLOURS}: the first channels are the colours")
        if self.n_stats < 2:  # noqa: PLR2004 - one at each end
            raise ValueError("n_stats must be at least 2")


def truncated_noise(streams: Sequence[torch.Generator], dim: int, truncation: float | Tensor = 1.0) -> Tensor:
    """Normal noise ``(B, dim)``, cut off at two deviations and scaled; row ``i`` is drawn from stream ``i``.

    ``truncation`` is one number, or one for each row: ``(B,)``.
    """
    low = math.erf(-CUT / math.sqrt(2))
    rows = torch.stack([torch.rand(dim, generator=stream) for stream in streams])
    factor = torch.as_tensor(truncation, dtype=rows.dtype).reshape(-1).expand(len(rows))
    return torch.erfinv((low + (1e-6 - 2 * low) * rows).clamp(low, -low)) * math.sqrt(2) * factor[:, None]


class Norm(nn.Module):
    """Batch normalisation with stored statistics for each truncation; in training, with the batch's own."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, width: int, config: BigGanConfig, condition_dim: int | None) -> None:
        super().__init__()
        self.eps = config.eps
        self.register_buffer("running_means", torch.zeros(config.n_stats, width))
        self.register_buffer("running_vars", torch.ones(config.n_stats, width))
        if condition_dim is None:
            self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        else:
            self.scale = SpectralLinear(condition_dim, width, bias=False, eps=config.eps)
            self.offset = SpectralLinear(condition_dim, width, bias=False, eps=config.eps)
        self.conditional = condition_dim is not None

    def statistics(self, truncation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance at each truncation: ``(B,)`` in [0, 1] to two of ``(B, width)``."""
        place = truncation * (len(self.running_means) - 1)
        below = place.floor().long().clamp_max(len(self.running_means) - 2)
        share = (place - below)[:, None]
        means, variances = self.running_means.float(), self.running_vars.float()
        return (
            means[below].lerp(means[below + 1], share),
            variances[below].lerp(variances[below + 1], share),
        )

    def forward(self, features: Tensor, truncation: Tensor, condition: Tensor) -> Tensor:
        """``(B, width, H, W)``, ``(B,)`` and ``(B, condition_dim)`` to ``(B, width, H, W)``."""
        if self.training:
            normal = F.batch_norm(features, None, None, training=True, eps=self.eps)
        else:
            mean, variance = (value[..., None, None].to(features.dtype) for value in self.statistics(truncation))
            normal = (features - mean) * (variance + self.eps).rsqrt()
        if self.conditional:
            gain, shift = 1 + self.scale(condition), self.offset(condition)
        else:
            gain, shift = self.weight[None], self.bias[None]
        result: Tensor = normal * gain[..., None, None].to(normal.dtype) + shift[..., None, None].to(normal.dtype)
        return result


class SelfAttention(nn.Module):
    """Every place looks at every second place (Zhang et al. 2018, arXiv:1805.08318)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.snconv1x1_theta = SpectralConv(width, width // 8, 1, bias=False, eps=eps)
        self.snconv1x1_phi = SpectralConv(width, width // 8, 1, bias=False, eps=eps)
        self.snconv1x1_g = SpectralConv(width, width // 2, 1, bias=False, eps=eps)
        self.snconv1x1_o_conv = SpectralConv(width // 2, width, 1, bias=False, eps=eps)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same; H and W are even."""
        queries = self.snconv1x1_theta(features).flatten(2)
        keys = F.max_pool2d(self.snconv1x1_phi(features), 2).flatten(2)
        values = F.max_pool2d(self.snconv1x1_g(features), 2).flatten(2)
        shares = (queries.transpose(1, 2) @ keys).softmax(dim=2)
        seen = (values @ shares.transpose(1, 2)).unflatten(2, features.shape[2:])
        result: Tensor = features + self.gamma * self.snconv1x1_o_conv(seen)
        return result


class Block(nn.Module):
    """A residual block with a bottleneck; it may double the side, and drops channels when it narrows."""

    def __init__(self, width_in: int, width_out: int, config: BigGanConfig, *, grow: bool) -> None:
        super().__init__()
        middle, condition_dim, eps = width_in // REDUCTION, 2 * config.z_dim, config.eps
        self.grow, self.width_out = grow, width_out
        self.bn_0 = Norm(width_in, config, condition_dim)
        self.conv_0 = SpectralConv(width_in, middle, 1, eps=eps)
        self.bn_1 = Norm(middle, config, condition_dim)
        self.conv_1 = SpectralConv(middle, middle, 3, eps=eps)
        self.bn_2 = Norm(middle, config, condition_dim)
        self.conv_2 = SpectralConv(middle, middle, 3, eps=eps)
        self.bn_3 = Norm(middle, config, condition_dim)
        self.conv_3 = SpectralConv(middle, width_out, 1, eps=eps)

    def forward(self, features: Tensor, truncation: Tensor, condition: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H', W')``."""
        inner = self.conv_0(F.relu(self.bn_0(features, truncation, condition)))
        inner = F.relu(self.bn_1(inner, truncation, condition))
        kept = features[:, : self.width_out]
        if self.grow:
            inner, kept = F.interpolate(inner, scale_factor=2.0), F.interpolate(kept, scale_factor=2.0)
        inner = self.conv_2(F.relu(self.bn_2(self.conv_1(inner), truncation, condition)))
        result: Tensor = self.conv_3(F.relu(self.bn_3(inner, truncation, condition))) + kept
        return result


class Trunk(nn.Module):
    """Everything after the class embedding; the public weights call it ``generator``."""

    def __init__(self, config: BigGanConfig) -> None:
        super().__init__()
        width = config.channel_width
        self.first_width = FIRST_MULTIPLE * width
        self.gen_z = SpectralLinear(2 * config.z_dim, FIRST_SIDE**2 * self.first_width, eps=config.eps)
        self.layers = nn.ModuleList()
        for index, (grow, width_in, width_out) in enumerate(config.layers):
            if index == config.attention_layer_position:
                self.layers.append(SelfAttention(width * width_in, config.eps))
            self.layers.append(Block(width * width_in, width * width_out, config, grow=grow))
        self.bn = Norm(width, config, None)
        self.conv_to_rgb = SpectralConv(width, width, 3, eps=config.eps)

    def forward(self, condition: Tensor, truncation: Tensor) -> Tensor:
        """``(B, 2 * z_dim)`` and ``(B,)`` to ``(B, 3, side, side)`` in [-1, 1]."""
        # The first layer's outputs lie as (height, width, channels): the weights come from TensorFlow.
        features = self.gen_z(condition).unflatten(1, (FIRST_SIDE, FIRST_SIDE, self.first_width)).permute(0, 3, 1, 2)
        for layer in self.layers:
            features = layer(features, truncation, condition) if isinstance(layer, Block) else layer(features)
        features = self.conv_to_rgb(F.relu(self.bn(features, truncation, condition)))
        return torch.tanh(features[:, :COLOURS].float())


class BigGan(nn.Module):
    """Noise, a class and a truncation to a picture."""

    def __init__(self, config: BigGanConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.Linear(config.num_classes, config.z_dim, bias=False)
        nn.init.normal_(self.embeddings.weight)
        self.generator = Trunk(config)

    def forward(self, noise: Tensor, labels: Tensor, truncation: float | Tensor = 1.0) -> Tensor:
        """``(B, z_dim)`` and labels to ``(B, 3, side, side)`` in [-1, 1].

        ``labels`` are integers ``(B,)``, or shares of every class ``(B, num_classes)``, which blends classes. The noise
        comes from :func:`truncated_noise` with the same ``truncation``, a number or one for each picture.

        Raises:
            ValueError: a truncation outside (0, 1].
        """
        limits = torch.as_tensor(truncation, dtype=torch.float32, device=noise.device).reshape(-1).expand(len(noise))
        if bool(((limits <= 0) | (limits > 1)).any()):
            raise ValueError("truncation must be above 0 and at most 1")
        if labels.is_floating_point():
            embedded = self.embeddings(labels)
        else:
            embedded = F.embedding(labels, self.embeddings.weight.T)
        pictures: Tensor = self.generator(torch.cat([noise, embedded], dim=1), limits)
        return pictures

    @torch.no_grad()
    def measure(self, places: Sequence[int], noise: Tensor, labels: Tensor) -> None:
        """Store the batch statistics of ``noise`` (untruncated) and ``labels`` at these of the ``n_stats`` places."""
        norms = [module for module in self.modules() if isinstance(module, Norm)]
        was_training = self.training
        for place in places:
            truncation = place / (self.config.n_stats - 1)
            hooks = [norm.register_forward_pre_hook(recorder(place)) for norm in norms]
            self.train()
            self.generator.apply(frozen_vectors)
            embedded = F.embedding(labels, self.embeddings.weight.T)
            self.generator(torch.cat([noise * truncation, embedded], dim=1), noise.new_ones(len(noise)))
            for hook in hooks:
                hook.remove()
        self.train(was_training)

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        write_folder(folder, asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Build from ``config.json`` and load the weights, as float32 and ready to generate.

        Raises:
            FolderError: files that are missing, unreadable, or do not fit each other.
        """
        config = read_config(folder)
        try:
            layers = tuple((bool(up), int(width_in), int(width_out)) for up, width_in, width_out in config["layers"])
            # The public ones have up to 56 million parameters: they are not drawn at random only to be thrown away.
            with torch.device("meta"):
                model = cls(BigGanConfig(**(config | {"layers": layers})))
        except (KeyError, TypeError, ValueError) as error:
            raise FolderError(f"{folder.name} holds no BigGAN: {error}") from error
        fit(model, read_weights(folder), assign=True)
        return model.float().eval().requires_grad_(requires_grad=False)


def recorder(place: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A hook that writes the statistics of what a :class:`Norm` is given."""

    def record(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not isinstance(norm, Norm):
            raise TypeError(f"{type(norm).__name__} keeps no statistics")
        features: Tensor = inputs[0].float()
        norm.running_means[place] = features.mean(dim=(0, 2, 3))
        norm.running_vars[place] = features.var(dim=(0, 2, 3), unbiased=False)

    return record


def frozen_vectors(module: nn.Module) -> None:
    """Leave the singular vectors alone while batch statistics are used."""
    if isinstance(module, Spectral):
        module.eval()
