"""Captions by folders of transformers, with tiny random weights: what they say is noise, how they run is not."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import CheckpointUnavailableError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder
from tests.pipelines.diffusers.led import picture
from tests.pipelines.drawn import STARTERS, facts, seen
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline

WORDS = {"vocab_size": 2744, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 64, "encoder_hidden_size": 32,
         "bos_token_id": 2741, "sep_token_id": 2742, "eos_token_id": 2742, "pad_token_id": 2742}  # fmt: skip
SIGHT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "image_size": 32, "patch_size": 8}  # fmt: skip
BART = {"vocab_size": 2744, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128,
        "bos_token_id": 2741, "eos_token_id": 2742, "pad_token_id": 2742, "decoder_start_token_id": 2742,
        "forced_eos_token_id": 2742}  # fmt: skip
DAVIT = {"embed_dim": (16, 16, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (2, 2, 2, 2), "num_groups": (2, 2, 2, 2),
         "window_size": 4, "projection_dim": 32, "max_position_embeddings": 10}  # fmt: skip


def blip(root: Path) -> None:
    import transformers

    config = transformers.BlipConfig(text_config=WORDS, vision_config=SIGHT)
    transformers.BlipForConditionalGeneration(config).save_pretrained(root)
    pil = importlib.import_module("transformers.models.blip.image_processing_pil_blip").BlipImageProcessorPil
    pil(size={"height": 32, "width": 32}).save_pretrained(root)


def florence2(root: Path) -> None:
    import transformers

    config = transformers.Florence2Config(
        text_config={"model_type": "bart", **BART}, vision_config=DAVIT, image_token_id=2743
    )
    transformers.Florence2ForConditionalGeneration(config).save_pretrained(root)
    sides = {"height": 64, "width": 64}
    preparation = transformers.CLIPImageProcessorPil(size=sides, do_center_crop=False)
    preparation.save_pretrained(root)
    told = json.loads((root / "preprocessor_config.json").read_text())
    (root / "preprocessor_config.json").write_text(json.dumps(told | {"image_seq_length": 5}))


MAKERS = {"blip": blip, "florence2": florence2}


def folder(root: Path, kind: str) -> Path:
    torch.manual_seed(0)
    MAKERS[kind](root)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTERS / "emoji-64-clip" / name, root)
    if kind == "florence2":
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(root, extra_special_tokens={"image_token": "<image>"})
        tokenizer.save_pretrained(root)
    return root


def opened(root: Path, device: Device) -> Pipeline:
    files = CheckpointFiles("plain", root, "captioner", CheckpointProfile(), {})
    return load_family("captioner").setup(files, device)


@pytest.fixture(scope="module", params=sorted(MAKERS))
def captioner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return opened(folder(tmp_path_factory.mktemp(request.param), request.param), cpu)


def test_captions_are_written_and_the_same_again(captioner: Pipeline) -> None:
    context = Recorder()
    jobs = [
        seen("caption", picture(1, 48, 40), num_captions=2, max_tokens=6),
        seen("caption", picture(2, 64, 64), num_captions=1, max_tokens=6),
    ]
    first, second = facts(captioner, *jobs, context=context)
    assert (first["method"], len(second["texts"])) == ("captioner plain", 1)
    assert 1 <= len(first["texts"]) == len(set(first["texts"])) <= 2
    assert facts(captioner, jobs[1]) == [second]
    assert all(0 < done <= total == 12 for done, total in context.steps)
    assert [done for done, _ in context.steps] == sorted(done for done, _ in context.steps)


def test_what_is_shown_and_what_is_said_matters(captioner: Pipeline) -> None:
    net: Any = captioner
    texts = [
        facts(net, seen("caption", shown, prompt=prompt, num_captions=3, max_tokens=8))[0]["texts"]
        for shown, prompt in ((picture(1), ""), (picture(1), "a cat"))
    ]
    assert texts[0] != texts[1]


def test_it_stops_between_tokens(captioner: Pipeline) -> None:
    job = seen("caption", picture(), max_tokens=10)
    context = Recorder()
    context.at_step = lambda done: context.stopped_ids.update({job.job_id} if done == 2 else set())
    with pytest.raises(StoppedError):
        facts(captioner, job, context=context)
    assert len(context.steps) == 2


def test_what_is_no_such_folder_is_told(tmp_path: Path, cpu: Device) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "git"}')
    with pytest.raises(CheckpointUnavailableError, match="'git'; this family runs blip and florence2"):
        opened(tmp_path, cpu)
