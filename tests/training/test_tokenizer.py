"""The tokenizer: round trips, whole characters, and short captions."""

import pytest
from transformers import CLIPTokenizer

from worker.training.captions import corpus
from worker.training.tokenizer import MAX_TOKENS, build, tokens_of


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    build(folder)
    return CLIPTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "text",
    [
        "a cat on a blue background",
        "一只坐在草地上的橘猫",
        "蓝色背景上的猫",
        "夜空中的卡通火箭",
        "a 猫 and a dog",
        "龘靐",
        "naïve straße",
    ],
)
def test_text_round_trips(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id


def test_a_chinese_character_of_the_captions_is_one_token(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer("蓝色背景上的猫").input_ids) == 7 + 2


def test_every_caption_fits(tokenizer: CLIPTokenizer) -> None:
    texts = [*corpus("en"), *corpus("zh")]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= MAX_TOKENS


def test_token_batches_are_padded_as_the_pipeline_pads_them(tokenizer: CLIPTokenizer) -> None:
    tokens = tokens_of(tokenizer, ["", "a cat"])
    assert tokens.shape == (2, MAX_TOKENS)
    assert tokens[0].tolist() == [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * (MAX_TOKENS - 1)
