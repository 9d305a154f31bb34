"""Grade a CLIP on pictures of held-out combinations, and write its folder with the calibration measured on the others.

Each axis is told by the texts that name it alone, as the product's captions are: the word whose texts lie nearest to
the picture. Retrieval finds a picture among a hundred from its whole caption, and a caption among a hundred from its
picture.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from worker.media.sheets import contact_sheet
from worker.nets.vocabulary import Vocabulary, Word
from worker.training.batches import Composites, to_pictures, to_tensor
from worker.training.claims import AXES, LANGUAGES, describe, fits, named, near_miss, shown_in
from worker.training.clip import ClipSettings, build, picture_features, text_features
from worker.training.clip_folder import calibrated, write
from worker.training.composites import Combination, as_bytes, combinations, compose
from worker.training.evaluate import prompts_for, wilson
from worker.training.loop import STATE_FILE, rng_of
from worker.training.sprites import Sprites

COUNT: Final = 800
LINE_UP: Final = 100
TEXT_BATCH: Final = 256
SEED: Final = 17
SAMPLES: Final = 16


def load_average(run: Path, tokenizer: CLIPTokenizer) -> CLIPModel:
    """The averaged CLIP of a training run."""
    clip, prefix = build(ClipSettings(), tokenizer), "average.clip."
    tensors = load_file(run / STATE_FILE)
    clip.load_state_dict({key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
    return clip.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def features_of(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Unit vectors of many texts, ``(T, width)``."""
    starts = range(0, len(texts), TEXT_BATCH)
    return torch.cat([text_features(clip, tokenizer, texts[start : start + TEXT_BATCH]) for start in starts])


def word_features(clip: CLIPModel, tokenizer: CLIPTokenizer, words: tuple[Word, ...], language: str) -> Tensor:
    """One unit vector for each word: the mean of its texts', ``(W, width)``."""
    texts = [word.texts[language] for word in words]
    features = features_of(clip, tokenizer, [text for group in texts for text in group])
    groups = features.split([len(group) for group in texts])  # type: ignore[no-untyped-call]
    return F.normalize(torch.stack([group.mean(dim=0) for group in groups]), dim=1)


def share(hits: Tensor) -> dict[str, float | int]:
    """A share with its 95 % Wilson interval and its count."""
    low, high = wilson(int(hits.sum()), len(hits))
    return {
        "share": round(hits.float().mean().item(), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "count": len(hits),
    }


@torch.no_grad()
def told(clip: CLIPModel, tokenizer: CLIPTokenizer, vocabulary: Vocabulary, seen: Tensor, language: str) -> Tensor:
    """The noun, style and background whose texts lie nearest to each picture's features: ``(B, 3)``."""
    words = (word_features(clip, tokenizer, getattr(vocabulary, f"{axis}s"), language) for axis in AXES)
    return torch.stack([(seen @ features.T).argmax(dim=1) for features in words], dim=1)


def naming(
    clip: CLIPModel, tokenizer: CLIPTokenizer, vocabulary: Vocabulary, seen: Tensor, shown: Tensor
) -> dict[str, dict[str, dict[str, float | int]]]:
    """How often each axis, and all at once, is named rightly, by language."""
    report = {}
    for language in LANGUAGES:
        right = told(clip, tokenizer, vocabulary, seen, language) == shown
        hits = dict(zip(AXES, right.T, strict=True)) | {"all three": right.all(dim=1)}
        report[language] = {axis: share(values) for axis, values in hits.items()}
    return report


def retrieval(
    clip: CLIPModel, tokenizer: CLIPTokenizer, seen: Tensor, items: list[Combination]
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Finding picture from caption and caption from picture in line-ups of a hundred different combinations."""
    report = {}
    for language in LANGUAGES:
        read = features_of(clip, tokenizer, prompts_for(items, language, SEED))
        pictures, captions = [], []
        for start in range(0, len(items) - LINE_UP + 1, LINE_UP):
            scores = seen[start : start + LINE_UP] @ read[start : start + LINE_UP].T
            captions.append(scores.argmax(dim=1) == torch.arange(LINE_UP))
            pictures.append(scores.argmax(dim=0) == torch.arange(LINE_UP))
        report[language] = {
            "picture from caption": share(torch.cat(pictures)),
            "caption from picture": share(torch.cat(captions)),
        }
    return report


@torch.no_grad()
def calibration(clip: CLIPModel, tokenizer: CLIPTokenizer, sprites: Sprites) -> tuple[float, float]:
    """Scale and bias on training combinations: true captions against near misses and captions of other pictures."""
    images, items = Composites(sprites, combinations(held_out=False), COUNT, SEED).draw(0)
    rng, _ = rng_of(SEED, 1)
    seen = picture_features(clip, images)
    strangers = items[1:] + items[:1]
    claims = [describe(item, rng) for item in (*items, *(near_miss(item, rng) for item in items), *strangers)]
    read = features_of(clip, tokenizer, [claim.text for claim in claims])
    cosines = (seen.repeat(3, 1) * read).sum(dim=1)
    right = fits(shown_in(items).repeat(3, 1), named(claims)).diagonal()
    return calibrated(cosines, right)


def evaluate(folder: Path, sprites: Sprites, out: Path) -> None:
    """Grade a folder; writes ``metrics.json`` and a sheet of pictures with what it says of them into ``out``."""
    clip = CLIPModel.from_pretrained(folder).eval()  # our folder  # nosec B615
    tokenizer = CLIPTokenizer.from_pretrained(folder)  # our folder  # nosec B615
    every = combinations(held_out=True)
    rng, _ = rng_of(SEED, 2)
    items = [every[index] for index in rng.permutation(len(every))[:COUNT]]
    images = to_tensor(np.stack([compose(sprites, item, rng) for item in items]))
    with torch.no_grad():
        starts = range(0, len(items), LINE_UP)
        seen = torch.cat([picture_features(clip, images[start : start + LINE_UP]) for start in starts])
    vocabulary = Vocabulary.from_folder(folder)
    report = {
        "naming": naming(clip, tokenizer, vocabulary, seen, shown_in(items)),
        f"retrieval among {LINE_UP}": retrieval(clip, tokenizer, seen, items),
    }
    out.mkdir(parents=True, exist_ok=True)
    words = told(clip, tokenizer, vocabulary, seen, "en").tolist()
    sentences = [vocabulary.sentence(noun, style, ground, "en") for noun, style, ground in words]
    pictures = [as_bytes(picture) for picture in to_pictures(images[:SAMPLES])]
    contacts = contact_sheet(pictures, sentences[:SAMPLES], columns=4, cell_pixels=320)
    Image.fromarray(contacts).save(out / "samples.png", optimize=True)
    (out / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def main() -> None:
    """Write the folder of a run when one is given, then grade the folder."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_clip", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, default=None, help="run of worker.training.clip, written to the folder")
    parser.add_argument("--tokenizer", type=Path, default=None, help="tokenizer folder that the run was trained with")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the folder")
    parser.add_argument("--out", type=Path, required=True, help="where the metrics go")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sprites = Sprites(arguments.data_dir)
    if arguments.run_dir:
        tokenizer = CLIPTokenizer.from_pretrained(arguments.tokenizer)  # our folder  # nosec B615
        clip = load_average(arguments.run_dir, tokenizer)
        write(arguments.checkpoint, clip, tokenizer, calibration(clip, tokenizer, sprites))
    evaluate(arguments.checkpoint, sprites, arguments.out)


if __name__ == "__main__":
    main()
