"""Train the tokenizer: byte-level BPE in CLIP's format, for English and Chinese captions.

English merges are learnt (Sennrich et al. 2015, arXiv:1508.07909). Chinese has no spaces, so learnt merges would
swallow whole phrases; instead each character of the captions gets its own token by construction, at the end of a word
or inside. Any other text falls back to bytes, so every string round-trips.
"""

import json
from pathlib import Path
from typing import Final

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import CLIPTokenizer

from worker.training.captions import corpus

ENGLISH_VOCABULARY: Final = 1400
MAX_TOKENS: Final = 32
END: Final = "</w>"
WORDS: Final = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
FIRST_CJK: Final = "\u2e80"


def byte_letters() -> dict[int, str]:
    """The printable letter of each byte in GPT-2's byte-level alphabet."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + index) for index, byte in enumerate(others)}


def english_merges() -> list[tuple[str, str]]:
    """Merges learnt on the English captions, most frequent first."""
    learner = Tokenizer(BPE(end_of_word_suffix=END))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = BpeTrainer(
        vocab_size=ENGLISH_VOCABULARY,
        initial_alphabet=sorted(byte_letters().values()),
        end_of_word_suffix=END,
        show_progress=False,
    )
    learner.train_from_iterator(corpus("en"), trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def chinese_merges() -> list[tuple[str, str]]:
    """For each Chinese character of the captions: merges of its bytes, inside and at the end of a word."""
    letters = byte_letters()
    characters = sorted({character for text in corpus("zh") for character in text if character >= FIRST_CJK})
    pairs: dict[tuple[str, str], None] = {}
    for character in characters:
        first, *middle, last = (letters[byte] for byte in character.encode())
        for letter in middle:
            pairs[first, letter] = None
            first += letter
        pairs[first, last] = None
        pairs[first, last + END] = None
    return list(pairs)


def build(folder: Path) -> CLIPTokenizer:
    """Train, write ``vocab.json`` and ``merges.txt`` and the tokenizer's own files into ``folder``, and return it."""
    alphabet = [byte_letters()[byte] for byte in sorted(byte_letters())]
    merges = list(dict.fromkeys([*english_merges(), *chinese_merges()]))
    pieces = [*alphabet, *(letter + END for letter in alphabet), *(left + right for left, right in merges)]
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges, model_max_length=MAX_TOKENS
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids ``(B, max_tokens)``, padded as the pipeline pads them."""
    padded = tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
    return torch.tensor(padded.input_ids)
