"""How a trained CLIP is written: a plain transformers folder, and ``captions.json`` for saying what a picture shows.

``captions.json`` holds the vocabulary (every noun, style and background, with texts that name it alone) and a
calibration; :mod:`worker.nets.vocabulary` reads it.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from worker.nets.vocabulary import VOCABULARY_FILE
from worker.training.backgrounds import BACKGROUNDS
from worker.training.captions import article
from worker.training.export import tidy_config
from worker.training.nouns import nouns
from worker.training.sprites import STYLES

SIDE: Final = 64
NEWTON_STEPS: Final = 25
CHINESE_STYLE_NAMES: Final = {"flat": "扁平", "cartoon": "卡通", "3d": "立体"}
ENGLISH_PLACES: Final = {"grass": "on the grass", "sea": "by the sea", "sand": "on the beach"}
CHINESE_PLACES: Final = {"grass": "草地上的", "sea": "海边的", "sand": "沙滩上的", "night sky": "夜空中的"}


def image_processor() -> CLIPImageProcessorPil:
    """Any picture to ``(3, 64, 64)`` in [-1, 1]: the short side to 64 px, the middle of the long one."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def noun_entries() -> list[dict[str, Any]]:
    """Each noun: its name, the texts that name it alone, and what stands before it in a sentence."""
    return [
        {
            "name": {"en": noun.english, "zh": noun.chinese},
            "article": article(noun.english).strip(),
            "texts": {
                "en": [f"{article(noun.english)}{noun.english}", f"a picture of {article(noun.english)}{noun.english}"],
                "zh": [noun.chinese, f"一张{noun.chinese}的图片"],
            },
        }
        for noun in nouns()
    ]


def style_entries() -> list[dict[str, Any]]:
    """Each style: its name, the texts that name it alone, and what stands before it in a sentence."""
    return [
        {
            "name": {"en": style, "zh": CHINESE_STYLE_NAMES[style]},
            "article": article(style).strip(),
            "texts": {
                "en": [style, f"a {style} picture"],
                "zh": [CHINESE_STYLE_NAMES[style], f"{CHINESE_STYLE_NAMES[style]}风格"],
            },
        }
        for style in STYLES
    ]


def background_entries() -> list[dict[str, Any]]:
    """Each background: its name, the texts that name it alone, and the words that place a thing on it."""
    entries = []
    for background in BACKGROUNDS:
        name, chinese = background.english, background.chinese
        if background.rgb is None:
            place = ENGLISH_PLACES.get(name, f"in the {name}")
            english, zh, before = (
                [name, place],
                [chinese, CHINESE_PLACES[name].removesuffix("的")],
                CHINESE_PLACES[name],
            )
        else:
            ground = f"{article(name)}{name} background"
            place = f"on {ground}"
            english, zh, before = [ground, place], [f"{chinese}背景", f"在{chinese}背景上"], f"{chinese}背景上的"
        entries.append(
            {
                "name": {"en": name, "zh": chinese},
                "place": {"en": place, "zh": before},
                "texts": {"en": english, "zh": zh},
            }
        )
    return entries


def vocabulary(calibration: tuple[float, float]) -> dict[str, Any]:
    """The content of ``captions.json``."""
    scale, bias = calibration
    return {
        "languages": ["en", "zh"],
        "calibration": {"scale": round(scale, 4), "bias": round(bias, 4)},
        "nouns": noun_entries(),
        "styles": style_entries(),
        "backgrounds": background_entries(),
    }


def calibrated(cosines: Tensor, right: Tensor) -> tuple[float, float]:
    """Scale and bias of a logistic regression of ``right`` on ``cosines``, ``(N,)`` each, both answers weighing alike.

    Newton's method on the log-likelihood; a whisper of a penalty keeps it finite when the two never overlap.
    """
    features = torch.stack([cosines.double(), torch.ones_like(cosines, dtype=torch.float64)], dim=1)
    target = right.double()
    weights = torch.where(right, 0.5 / target.sum(), 0.5 / (1 - target).sum())
    parameters, ridge = torch.zeros(2, dtype=torch.float64), 1e-6 * torch.eye(2, dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        likely = torch.sigmoid(features @ parameters)
        slope = features.T @ (weights * (likely - target)) + ridge @ parameters
        bend = (features * (weights * likely * (1 - likely))[:, None]).T @ features + ridge
        parameters = parameters - torch.linalg.solve(bend, slope)
    return parameters[0].item(), parameters[1].item()


def write(folder: Path, clip: CLIPModel, tokenizer: CLIPTokenizer, calibration: tuple[float, float]) -> None:
    """Write the model as float16 safetensors, its tokenizer, its image processor and its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    clip.half().save_pretrained(folder, safe_serialization=True)
    clip.float()
    tokenizer.save_pretrained(folder)
    image_processor().save_pretrained(folder)
    text = json.dumps(vocabulary(calibration), ensure_ascii=False, indent=1)
    (folder / VOCABULARY_FILE).write_text(text + "\n", encoding="utf-8")
    tidy_config(folder / "config.json")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files for their owner alone
