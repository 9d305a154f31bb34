"""The perceptual hash, the groups it makes, and the hash that is a picture's identity."""

import hashlib
import io
import random
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from models.errors import CheckpointUnavailableError
from worker.quality import duplicates
from worker.quality.duplicates import near_duplicates
from worker.quality.perceptual_hash import are_near_duplicates, hamming_distance, perceptual_hash
from worker.quality.pixels_hash import pixels_hash

Picture = NDArray[np.uint8]
words = st.integers(0, 2**64 - 1)


def blobs(seed: int, side: int = 128) -> Picture:
    """Smooth patches of colour, as a photograph has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def test_a_picture_that_was_scaled_saved_and_brightened_is_a_near_duplicate() -> None:
    picture = Image.fromarray(blobs(1))
    stream = io.BytesIO()
    ImageEnhance.Brightness(picture.resize((200, 90))).enhance(1.1).save(stream, "JPEG", quality=60)
    again = np.asarray(Image.open(stream).convert("RGB"))
    assert are_near_duplicates(perceptual_hash(blobs(1)), perceptual_hash(again))


def test_other_pictures_are_far_apart() -> None:
    hashes = [perceptual_hash(blobs(seed)) for seed in range(20)]
    apart = [hamming_distance(a, b) for number, a in enumerate(hashes) for b in hashes[:number]]
    assert min(apart) > 8
    assert 28 < np.mean(apart) < 36


def test_the_hash_is_the_cosine_transform_against_its_median() -> None:
    """Given the definition written out with a matrix, then the bits are the same."""
    picture = blobs(3)
    grey = np.asarray(Image.fromarray(picture).convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    rows, columns = np.mgrid[:8, :32]
    cosines = np.cos(np.pi * rows * (2 * columns + 1) / 64)
    low = cosines @ grey @ cosines.T
    bits = (low > np.median(low)).ravel()
    assert perceptual_hash(picture) == int("".join(str(int(bit)) for bit in bits), 2)


@given(words, st.sets(st.integers(0, 63)))
def test_the_distance_counts_bits(word: int, flipped: set[int]) -> None:
    other = word
    for bit in flipped:
        other ^= 1 << bit
    assert hamming_distance(word, other) == hamming_distance(other, word) == len(flipped)
    assert are_near_duplicates(word, other) == (len(flipped) <= 8)


def by_hand(hashes: list[int], within_bits: int) -> list[tuple[int, ...]]:
    """Each with each, and joining until nothing changes."""
    groups = [{number} for number in range(len(hashes))]
    for one in range(len(hashes)):
        for other in range(one):
            if hamming_distance(hashes[one], hashes[other]) <= within_bits:
                first, second = (next(g for g in groups if number in g) for number in (one, other))
                if first is not second:
                    first |= second
                    groups.remove(second)
    return sorted(tuple(sorted(group)) for group in groups if len(group) > 1)


@given(st.lists(words, max_size=6), st.integers(0, 63), st.randoms(use_true_random=False))
def test_the_groups_are_those_of_comparing_each_with_each(centres: list[int], within: int, rng: random.Random) -> None:
    """Given hashes strewn around some centres, so that chains and near misses occur."""
    hashes = list(centres)
    for centre in centres * 3:
        word = centre
        for bit in rng.sample(range(64), rng.randrange(within + 2)):
            word ^= 1 << bit
        hashes.append(word)
    rng.shuffle(hashes)
    assert near_duplicates(hashes, within) == by_hand(hashes, within)


@pytest.mark.parametrize("within", [1, 2, 7, 8, 20, 63])
def test_bits_that_differ_all_over_are_found(within: int) -> None:
    """Given two hashes as far apart as allowed, with the differing bits spread as evenly as they can be."""
    word = sum(1 << (bit * 64 // within) for bit in range(within))
    assert near_duplicates([0, word, (1 << 64) - 1], within)[0][:2] == (0, 1)


def test_a_crowded_bucket_is_compared_across_its_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given hashes that all share one band, cut after every third, and pairs folded at once, then none is lost."""
    monkeypatch.setattr(duplicates, "_BLOCK_ROWS", 3)
    monkeypatch.setattr(duplicates, "_PAIRS_HELD", 1)
    rng = random.Random(11)
    half = [rng.getrandbits(31) << 32 for _ in range(150)]
    hashes = half + [word | 1 << 63 for word in half]
    assert near_duplicates(hashes, 1) == [(number, number + 150) for number in range(150)]


def test_a_chain_is_one_group_and_a_crowded_bucket_is_cut_up() -> None:
    """Given 3,000 numbers that share seven bands of nine, then neighbours chain together and the rest stays apart."""
    counting = list(range(3000))
    far = [(1 << 63) - 1, ((1 << 63) - 1) ^ 0x1FF]
    assert near_duplicates([*counting, *far], 8) == [tuple(counting)]


def test_equal_hashes_are_a_group_however_many() -> None:
    assert near_duplicates([7] * 50_000 + [2**64 - 1], 0) == [tuple(range(50_000))]
    assert near_duplicates([], 8) == near_duplicates([1], 8) == []


@pytest.mark.parametrize("within", [-1, 64])
def test_a_distance_that_tells_nothing_is_refused(within: int) -> None:
    with pytest.raises(ValueError, match="cannot be told apart"):
        near_duplicates([1, 2], within)


def test_the_identity_is_the_hash_of_the_size_and_the_pixels() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    known = hashlib.sha256(b"\0\0\0\2\0\0\0\3" + bytes(range(18))).hexdigest()
    assert pixels_hash(picture) == known
    assert pixels_hash(memoryview(bytes(range(18))).cast("B", (2, 3, 3))) == known
    assert pixels_hash(np.asfortranarray(picture)) == known


def test_the_identity_outlives_the_file_but_no_changed_pixel(pattern: Picture) -> None:
    """Given a picture in two lossless formats, then both have its identity; turned or touched, it is another."""
    for form in ("PNG", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(pattern).save(stream, form, lossless=True)
        assert pixels_hash(np.asarray(Image.open(stream).convert("RGB"))) == pixels_hash(pattern)
    touched = pattern.copy()
    touched[0, 0, 0] ^= 1
    others = [touched, pattern.transpose(1, 0, 2), pattern.reshape(64, 48, 3), pattern[::-1]]
    assert len({pixels_hash(picture) for picture in (pattern, *others)}) == 5


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))])
def test_what_is_no_picture_has_no_identity(wrong: Picture) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        pixels_hash(wrong)


def test_without_its_package_the_perceptual_hash_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(CheckpointUnavailableError, match="imagehash"):
        perceptual_hash(blobs(1))
