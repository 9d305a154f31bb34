"""Two towers, one space: any CLIP (Radford et al. 2021) or SigLIP (Zhai et al. 2023) folder of transformers.

Pictures and texts become unit vectors whose cosine says how well they fit. What is made of the cosines is
`worker.pipelines.clip`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import CheckpointUnavailableError
from worker.nets.folders import FolderError, read_config
from worker.pipelines.draws import bytes_of

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""By `model_type` of `config.json`."""
MAX_ROWS = 32
"""Pictures or texts of one pass: a bound for memory."""


@dataclass(frozen=True)
class Towers:
    """Both towers, the tokenizer and the picture's preparation, on their device in float32."""

    net: Any
    tokenizer: Any
    preparation: Any
    device: "torch.device"

    @classmethod
    def open(cls, folder: Path, device: "Device") -> Self:
        """Load a folder.

        Raises:
            CheckpointUnavailableError: it is of another kind, or lacks weights.
        """
        import transformers

        transformers.utils.logging.disable_progress_bar()
        class_name = CLASSES.get(kind_of(folder))
        if class_name is None:
            raise CheckpointUnavailableError(f"{folder.name} is a {kind_of(folder)!r}; this family runs {_known()}.")
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        net, told = getattr(transformers, class_name).from_pretrained(
            folder, **local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        if missing := sorted(told["missing_keys"]):
            text = f"{folder.name} has no weights for {missing[0]} and {len(missing) - 1} more."
            raise CheckpointUnavailableError(text)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)  # nosec B615  # a verified folder
        preparation = transformers.AutoImageProcessor.from_pretrained(  # nosec B615  # a verified folder
            folder, **local, backend="pil"
        )
        return cls(net.eval().to(device.torch_device), tokenizer, preparation, device.torch_device)

    def see(self, pictures: "Sequence[Pixels]") -> Tensor:
        """`(H, W, 3)` uint8 pictures of any sizes to unit vectors `(N, D)` on the CPU."""
        found = []
        for start in range(0, len(pictures), MAX_ROWS):
            chosen = list(pictures[start : start + MAX_ROWS])
            # Said, since a picture three pixels wide could be read either way.
            given = self.preparation(chosen, return_tensors="pt", input_data_format="channels_last")
            with torch.inference_mode():
                answer = self.net.get_image_features(pixel_values=given["pixel_values"].to(self.device))
            found.append(_unit(answer.pooler_output))
        return torch.cat(found)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors `(N, D)` on the CPU; what is longer than the tower reads is cut."""
        found = []
        for start in range(0, len(texts), MAX_ROWS):
            given = self._tokens(list(texts[start : start + MAX_ROWS]))
            with torch.inference_mode():
                answer = self.net.get_text_features(**{name: value.to(self.device) for name, value in given.items()})
            found.append(_unit(answer.pooler_output))
        return torch.cat(found)

    def cut(self, text: str) -> bool:
        """Whether a text is longer than the tower reads."""
        return len(self.tokenizer(text, truncation=False, verbose=False).input_ids) > self.max_tokens

    @property
    def max_tokens(self) -> int:
        """Of one text, with its marks."""
        return int(min(self.tokenizer.model_max_length, self.net.config.text_config.max_position_embeddings))

    @property
    def scale(self) -> float:
        """What cosines are multiplied with before they become shares: the learned temperature's inverse."""
        return float(self.net.logit_scale.detach().exp())

    @property
    def bias(self) -> float | None:
        """SigLIP's, with which each text has a likelihood of its own; None where shares are all there is."""
        bias = getattr(self.net, "logit_bias", None)
        return None if bias is None else float(bias.detach())

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(self.net)

    def _tokens(self, texts: list[str]) -> dict[str, Tensor]:
        # SigLIP was trained on texts filled up to its full length, and pools at the last place.
        padding = "max_length" if self.net.config.model_type == "siglip" else True
        given = self.tokenizer(texts, padding=padding, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        names = ("input_ids",) if padding == "max_length" else ("input_ids", "attention_mask")
        return {name: given[name] for name in names}


def kind_of(folder: Path) -> str:
    """`model_type` of the folder's `config.json`.

    Raises:
        CheckpointUnavailableError: it cannot be read.
    """
    try:
        return str(read_config(folder).get("model_type", ""))[:100]
    except FolderError as error:
        raise CheckpointUnavailableError(str(error)) from error


def _known() -> str:
    return " and ".join(CLASSES)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1).cpu()
