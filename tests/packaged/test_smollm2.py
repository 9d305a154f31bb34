"""The language model: it writes on, each text from its own seed, and its weights are unpacked once."""

import shutil
from pathlib import Path

import pytest
import torch

from worker.packaged import smollm2
from worker.packaged.sampling import discourage, nucleus_sample
from worker.packaged.smollm2 import SmolLM2
from worker.packaged.writing import PROMPT_WRITER, Manner, Sampling

SHORT = Sampling(max_new_tokens=12, temperature=0.8)


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    """Kept between runs and shared by test processes: unpacking takes half a minute."""
    return Path(pytestconfig.cache.mkdir("packaged"))


@pytest.fixture(scope="module")
def model(cache: Path) -> SmolLM2:
    return SmolLM2(cache)


@pytest.mark.slow
def test_it_is_unpacked_once_and_leaves_nothing_half_done(model: SmolLM2, cache: Path) -> None:
    assert model is not None
    (folder,) = cache.iterdir()
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= written.keys()
    SmolLM2(cache)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written


@pytest.mark.slow
def test_a_damaged_copy_is_unpacked_again(
    model: SmolLM2, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a cache whose weights a full disk cut off; unpacking is copying here, to be quick."""
    (folder,) = cache.iterdir()
    monkeypatch.setattr(
        smollm2, "_convert", lambda _source, target: shutil.copytree(folder, target, dirs_exist_ok=True)
    )
    shutil.copytree(folder, tmp_path / folder.name)
    weights = tmp_path / folder.name / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    again = SmolLM2(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert again.generate(["a cat"], [1], SHORT) == model.generate(["a cat"], [1], SHORT)


@pytest.mark.slow
def test_it_goes_on_from_the_words_it_is_given(model: SmolLM2) -> None:
    sampling = Sampling(max_new_tokens=30, temperature=0.7, top_p=0.9)
    starts = ["a lighthouse"] * 3
    texts = model.generate(starts, [1, 2, 3], sampling, manner=PROMPT_WRITER, starts=starts)
    assert all(text.startswith(("a lighthouse ", "a lighthouse,")) for text in texts)
    assert len(set(texts)) == 3
    assert min(len(text.split()) for text in texts) > 4
    assert not any("<|" in text for text in texts)


@pytest.mark.slow
def test_each_text_follows_its_own_seed(model: SmolLM2) -> None:
    prompts = ["Name a colour.", "Describe the sea.", "Name a colour."]
    texts = model.generate(prompts, [1, 2, 3], SHORT)
    assert model.generate(prompts, [1, 2, 3], SHORT) == texts
    others = model.generate(prompts, [1, 9, 3], SHORT)
    assert (others[0], others[2]) == (texts[0], texts[2])
    assert others[1] != texts[1]
    assert texts[0] != texts[2]


@pytest.mark.slow
def test_the_manner_matters_and_length_is_kept(model: SmolLM2) -> None:
    ticks: list[tuple[int, int]] = []
    (plain,) = model.generate(["a cat"], [5], SHORT, on_step=lambda done, total: ticks.append((done, total)))
    (told,) = model.generate(["a cat"], [5], SHORT, manner=Manner("You only ever answer in capital letters."))
    assert plain != told
    assert ticks == [(step, 12) for step in range(1, len(ticks) + 1)]
    assert 1 <= len(ticks) <= 12
    assert model.generate([], [], SHORT) == []


@pytest.mark.slow
def test_a_step_may_stop_it(model: SmolLM2) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError(done, total)

    with pytest.raises(InterruptedError):
        model.generate(["a cat"], [5], SHORT, on_step=stop)


def test_the_nucleus_is_the_fewest_that_reach_its_share() -> None:
    # given: probabilities 0.5, 0.3, 0.15, 0.05 in no order
    scores = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log().repeat(300, 1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(300)]
    for top_p, expected in ((0.4, {1}), (0.5, {1}), (0.6, {1, 3}), (0.9, {0, 1, 3}), (1.0, {0, 1, 2, 3})):
        drawn = nucleus_sample(scores, generators, temperature=1.0, top_p=top_p)
        assert set(drawn.tolist()) == expected


def test_heat_spreads_and_cold_gathers() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0]]).repeat(300, 1)

    def share(temperature: float) -> float:
        generators = [torch.Generator().manual_seed(seed) for seed in range(300)]
        drawn = nucleus_sample(scores, generators, temperature=temperature, top_p=1.0)
        return float((drawn == 2).float().mean())

    assert share(0.2) > share(1.0) > share(5.0)


def test_what_was_said_is_less_likely_and_nothing_else_changes() -> None:
    scores, seen = torch.tensor([[2.0, -2.0, 2.0]]), torch.tensor([[True, True, False]])
    assert discourage(scores, seen, 2.0).tolist() == [[1.0, -4.0, 2.0]]
    assert torch.equal(discourage(scores, seen, 1.0), scores)
