"""What the text encoders can read."""

import pytest

from models.errors import InvalidInputError
from tests.pipelines.conftest import Load, Recorder, item, run
from tests.pipelines.tiny import CLIP_WINDOW

ENDS = 2
FITS, TOO_LONG = "z " * (CLIP_WINDOW - ENDS), "z " * (CLIP_WINDOW - ENDS + 1)


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3_without_t5"])
def test_a_prompt_that_fills_the_window_is_taken_and_one_token_more_is_not(load: Load, family: str) -> None:
    pipeline = load(family)
    run(pipeline, item(FITS))
    fine, long = item("a cat"), item(TOO_LONG)
    context = Recorder()
    with pytest.raises(InvalidInputError, match=f"prompt is {CLIP_WINDOW + 1} tokens long.*at most {CLIP_WINDOW}") as e:
        run(pipeline, fine, long, context=context)
    assert e.value.extra == {
        "job_id": str(long.job_id),
        "field": "/params/prompt",
        "tokens": CLIP_WINDOW + 1,
        "max_tokens": CLIP_WINDOW,
    }
    assert context.steps == []


def test_a_negative_prompt_is_counted_too(load: Load) -> None:
    with pytest.raises(InvalidInputError, match="negative_prompt is") as caught:
        run(load("sd1"), item(negative_prompt=TOO_LONG))
    assert caught.value.extra["field"] == "/params/negative_prompt"


@pytest.mark.parametrize(("family", "window"), [("sd3", 256), ("flux", 512)])
def test_the_long_encoder_reads_what_the_short_one_cannot(load: Load, family: str, window: int) -> None:
    pipeline = load(family)
    run(pipeline, item(TOO_LONG))
    run(pipeline, item("cat " * (window - 1)))
    with pytest.raises(InvalidInputError, match=f"{window + 1} tokens long.*at most {window}"):
        run(pipeline, item("cat " * window))


@pytest.mark.parametrize("family", ["sd1", "flux"])
@pytest.mark.parametrize("prompt", ["éß漢字 🐈", "<|endoftext|>", "(((cat:1.5)))", "a\n\tcat", "</s>", "\u200b", "-"])
def test_any_text_is_read(load: Load, family: str, prompt: str) -> None:
    assert run(load(family), item(prompt))
