"""Best of n: all are made, each is scored against its prompt, the best are kept in their order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError
from tests.pipelines import tiny
from tests.pipelines.conftest import Load, item, run
from tests.pipelines.diffusers.led import Shelf, WithLibrary


class RandomClip:
    """A real CLIP of random weights over pictures of 32 pixels, by cosine."""

    def __init__(self) -> None:
        from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

        words = CLIPTextConfig.from_dict(tiny.clip_encoder().config.to_dict() | {"projection_dim": 16})
        sight = CLIPVisionConfig(
            hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32,
            patch_size=8, projection_dim=16,
        )  # fmt: skip
        torch.manual_seed(3)
        config = CLIPConfig(text_config=words.to_dict(), vision_config=sight.to_dict(), projection_dim=16)
        self._net = CLIPModel(config).eval()
        self.asked: list[tuple[int, str]] = []

    def scores(self, pictures: Sequence[Any], text: str) -> list[float]:
        self.asked.append((len(pictures), text))
        values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        letters = torch.tensor([[64, *(ord(letter) % 60 for letter in text[:12]), 65]])
        with torch.inference_mode():
            return self._net(input_ids=letters, pixel_values=values).logits_per_image[:, 0].tolist()


@pytest.fixture
def scorer() -> RandomClip:
    return RandomClip()


@pytest.fixture
def context(scorer: RandomClip) -> WithLibrary:
    return WithLibrary(library=Shelf(pipelines={None: scorer, "by-name": scorer, "gan": object()}))


def test_the_best_are_kept_in_order_of_their_score(load: Load, context: WithLibrary, scorer: RandomClip) -> None:
    pipeline = load("sd1")
    every = run(pipeline, item("a dog", num_images=6, seed=5))
    scores = scorer.scores([shown.pixels for shown in every], "a dog")
    order = sorted(range(6), key=lambda place: -scores[place])
    assert order != sorted(order)  # else keeping the first ones would do
    best = run(pipeline, item("a dog", num_images=2, best_of=6, seed=5), context=context)
    assert [shown.index for shown in best] == [0, 1]
    for shown, place in zip(best, order, strict=False):
        assert np.array_equal(shown.pixels, every[place].pixels)
        assert shown.facts == {"score": pytest.approx(scores[place], abs=1e-4), "made": 6, "drawn": place}


def test_each_item_of_a_batch_chooses_by_its_own_prompt(load: Load, context: WithLibrary, scorer: RandomClip) -> None:
    jobs = [item("a cat", best_of=3), item("a dog", best_of=3, seed=2, scorer="by-name"), item("the sea", num_images=3)]
    made = run(load("sd1"), *jobs, context=context)
    assert [shown.job_id for shown in made] == [jobs[0].job_id, jobs[1].job_id, *[jobs[2].job_id] * 3]
    assert scorer.asked == [(3, "a cat"), (3, "a dog")]
    assert [bool(shown.facts) for shown in made] == [True, True, False, False, False]


def test_no_choice_is_made_of_a_part(load: Load, context: WithLibrary) -> None:
    """When memory makes two calls of the batch, the choice waits for both."""
    pipeline: Any = load("sd1")
    whole = run(pipeline, item(best_of=4), context=context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline._ladder, "max_rows", lambda _pixels: 3)
        parted = run(pipeline, item(best_of=4), context=context)
    assert [shown.facts["drawn"] for shown in parted] == [shown.facts["drawn"] for shown in whole]


def test_a_stopped_item_is_not_scored(load: Load, context: WithLibrary, scorer: RandomClip) -> None:
    jobs = [item("a cat", best_of=3), item("a dog", best_of=3)]
    context.at_step = lambda _: context.stopped_ids.add(jobs[0].job_id)
    made = run(load("sd1"), *jobs, context=context)
    assert [shown.job_id for shown in made] == [jobs[1].job_id]
    assert scorer.asked == [(3, "a dog")]


def test_without_a_scorer_no_step_is_made(load: Load, context: WithLibrary) -> None:
    with pytest.raises(CheckpointUnavailableError):
        run(load("sd1"), item(best_of=2, scorer="missing"), context=context)
    one = item(best_of=2, scorer="gan")
    with pytest.raises(InvalidInputError, match="does not score pictures against words") as caught:
        run(load("sd1"), one, context=context)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/scorer"}
    assert context.steps == []
