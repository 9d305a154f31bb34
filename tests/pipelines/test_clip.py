"""Pictures against words, in English and Chinese, by the CLIP that ships here and by folders of transformers."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile, Metric
from tests.pipelines.conftest import Recorder
from tests.pipelines.diffusers.led import picture
from tests.pipelines.drawn import STARTERS, draw, facts, seen, starter
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline
from worker.pipelines.clip import Clip
from worker.pipelines.scoring import TextImageScorer

CAT, DOG, APPLE = "一只坐在草地上的橘猫", "a cartoon dog on a blue background", "a flat apple on a white background"
ROBOT = "a 3d robot on a black background"


@pytest.fixture(scope="module")
def clip(cpu: Device) -> Clip:
    found = starter("emoji-64-clip", cpu)
    assert isinstance(found, Clip)
    return found


@pytest.fixture(scope="module")
def drawn(cpu: Device) -> list[Any]:
    """An orange cat on grass, a dog on blue, an apple on white, a robot on black."""
    return draw(starter("emoji-64", cpu), CAT, DOG, APPLE, ROBOT)


@pytest.mark.parametrize(
    "texts",
    [
        (CAT, DOG, APPLE, ROBOT),
        ("an orange cat sitting on grass", "蓝色背景上的卡通狗", "白色背景上的苹果", "黑色背景上的立体机器人"),
        ("猫", "狗", "苹果", "机器人"),
    ],
    ids=["as-drawn", "in-the-other-language", "names-alone"],
)
def test_each_text_fits_its_own_picture_best(clip: Clip, drawn: list[Any], texts: tuple[str, ...]) -> None:
    assert isinstance(clip, TextImageScorer)
    best = [int(np.argmax(clip.scores(drawn, text))) for text in texts]
    assert best == [0, 1, 2, 3]


def test_the_best_description_has_the_largest_share(clip: Clip, drawn: list[Any]) -> None:
    jobs = [seen("score", shown, descriptions=[CAT, DOG, APPLE, "something else"]) for shown in drawn[:3]]
    for place, said in enumerate(facts(clip, *jobs)):
        fits = said["scores"]["text_image"]
        shares = [fit["share"] for fit in fits]
        assert int(np.argmax(shares)) == int(np.argmax([fit["cosine"] for fit in fits])) == place
        assert sum(shares) == pytest.approx(1, abs=1e-3)
        assert fits[place]["likelihood"] > 0.8
        assert max(fits[other]["likelihood"] for other in {0, 1, 2} - {place}) < 0.2


def test_all_figures_that_the_inputs_allow_come_together(clip: Clip, drawn: list[Any]) -> None:
    whole, alone = facts(
        clip, seen("score", drawn[0], drawn[0], descriptions=[CAT]), seen("score", drawn[1], metrics=["sharpness"])
    )
    assert set(whole["scores"]) == {metric.value for metric in Metric}
    assert set(alone["scores"]) == {"sharpness"}
    assert whole["notes"] == alone["notes"] == []


def test_what_is_too_long_to_be_read_is_said_to_be_cut(clip: Clip, drawn: list[Any]) -> None:
    (said,) = facts(clip, seen("score", drawn[0], descriptions=["a cat", "a very long cat " * 20]))
    assert said["notes"] == ["descriptions/1 was cut: this checkpoint reads 32 tokens."]


def test_a_batch_says_what_its_items_say_alone(clip: Clip, drawn: list[Any]) -> None:
    jobs = [seen("score", shown, descriptions=[text]) for shown, text in zip(drawn, (CAT, DOG, APPLE), strict=False)]
    together = [said["scores"]["text_image"][0]["cosine"] for said in facts(clip, *jobs)]
    alone = [facts(clip, job)[0]["scores"]["text_image"][0]["cosine"] for job in jobs]
    assert together == pytest.approx(alone, abs=2e-4)


@pytest.mark.parametrize(
    ("language", "names", "grounds"),
    [
        ("en", ("cat", "dog", "apple", "robot"), ("on the grass", "on a blue", "on a white", "on a black")),
        ("zh", ("猫", "狗", "苹果", "机器人"), ("草地上", "蓝色背景", "白色背景", "黑色背景")),
    ],
)
def test_captions_name_what_is_shown_and_where(
    clip: Clip, drawn: list[Any], language: str, names: tuple[str, ...], grounds: tuple[str, ...]
) -> None:
    jobs = [seen("caption", shown, language=language, num_captions=3) for shown in drawn]
    for said, name, ground in zip(facts(clip, *jobs), names, grounds, strict=True):
        assert said["method"] == "vocabulary of emoji-64-clip"
        assert len(set(said["texts"])) == 3
        assert any(name in text for text in said["texts"][:2])
        assert ground in said["texts"][0]
        scores = [entry["score"] for entry in said["scores"]]
        assert scores == sorted(scores, reverse=True)


def test_a_caption_begins_as_it_is_told(clip: Clip, drawn: list[Any]) -> None:
    told, lost = (seen("caption", drawn[1], prompt=begin, num_captions=4) for begin in ("A 3D d", "the end of"))
    (said,) = facts(clip, told)
    assert said["texts"][0] == "a 3d dog on a blue background"
    assert all(text.startswith("a 3d d") for text in said["texts"])
    with pytest.raises(InvalidInputError, match="begins like that") as caught:
        facts(clip, lost)
    assert caught.value.extra == {"job_id": str(lost.job_id), "field": "/params/prompt"}


def test_stopped_items_say_nothing_and_a_batch_of_them_ends(clip: Clip, drawn: list[Any]) -> None:
    jobs = [seen("score", shown, descriptions=["a cat"]) for shown in drawn[:2]]
    context = Recorder(stopped_ids={jobs[0].job_id})
    assert len(facts(clip, *jobs, context=context)) == 1
    assert context.steps[-1] == (2, 2)
    with pytest.raises(StoppedError):
        facts(clip, *jobs, context=Recorder(stopped_ids={job.job_id for job in jobs}))


def folder(root: Path, kind: str) -> Path:
    """A folder of random weights of that kind, as transformers saves it, with our tokenizer."""
    import transformers

    words = {"vocab_size": 2743, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2,
             "num_attention_heads": 4, "max_position_embeddings": 16}  # fmt: skip
    sight = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4,
             "image_size": 32, "patch_size": 8}  # fmt: skip
    torch.manual_seed(0)
    if kind == "siglip":
        net: Any = transformers.SiglipModel(transformers.SiglipConfig(text_config=words, vision_config=sight))
        pil = importlib.import_module("transformers.models.siglip.image_processing_pil_siglip").SiglipImageProcessorPil
        preparation = pil(size={"height": 32, "width": 32})
    else:
        ends = {"bos_token_id": 2741, "eos_token_id": 2742, "pad_token_id": 2742}
        config = transformers.CLIPConfig(text_config=words | ends, vision_config=sight, projection_dim=16)
        net = transformers.CLIPModel(config)
        preparation = transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    net.save_pretrained(root)
    preparation.save_pretrained(root)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTERS / "emoji-64-clip" / name, root)
    return root


def opened(root: Path, device: Device) -> Pipeline:
    return load_family("clip").setup(CheckpointFiles("plain", root, "clip", CheckpointProfile(), {}), device)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_any_folder_of_transformers_scores_but_captions_need_a_vocabulary(
    tmp_path: Path, kind: str, cpu: Device
) -> None:
    plain = opened(folder(tmp_path, kind), cpu)
    shown = picture(width=48, height=40)
    first, again = (facts(plain, seen("score", shown, descriptions=["a cat", "猫"]))[0]["scores"] for _ in range(2))
    assert first == again
    assert {"cosine", "share"} <= set(first["text_image"][0])
    # SigLIP's texts each have a likelihood of their own (Zhai et al. 2023); CLIP's have shares only.
    assert all(("likelihood" in fit) == (kind == "siglip") for fit in first["text_image"])
    job = seen("caption", shown)
    with pytest.raises(InvalidInputError, match=r"captions\.json") as caught:
        facts(plain, job)
    assert caught.value.extra == {"job_id": str(job.job_id), "field": "/checkpoint"}


def test_what_is_no_such_folder_is_told(tmp_path: Path, cpu: Device) -> None:
    with pytest.raises(CheckpointUnavailableError, match=r"config\.json cannot be read"):
        opened(tmp_path, cpu)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointUnavailableError, match="'bert'; this family runs clip and siglip"):
        opened(tmp_path, cpu)


def test_missing_weights_are_not_made_up(tmp_path: Path, cpu: Device) -> None:
    from safetensors.torch import load_file, save_file

    plain = folder(tmp_path, "clip")
    tensors = load_file(plain / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, plain / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointUnavailableError, match=r"no weights for visual_projection\.weight"):
        opened(plain, cpu)
