"""Style transfer by the packaged networks, through the family."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import CheckpointProfile, StyleTransferParams
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import encoded, gradient
from worker.devices import Device
from worker.packaged.style_transfer import STYLE_NAMES
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Item, Pipeline

ANY = {"upload": "00000000-0000-0000-0000-000000000001"}


def opened(cpu: Device, folder: Path, names: tuple[str, ...] = STYLE_NAMES) -> Pipeline:
    profile = CheckpointProfile(style_names=names, takes_style_image=True, reads_prompt=False)
    files = CheckpointFiles("styles", folder, "style_transfer", profile, {})
    return load_family("style_transfer").setup(files, cpu)


@pytest.fixture(scope="module")
def pipeline(cpu: Device, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return opened(cpu, tmp_path_factory.mktemp("none"))


def painting(like: Any = None, **params: Any) -> Item:
    from uuid import uuid4

    pictures = {"image": gradient(48, 64)} | ({} if like is None else {"style_image": like})
    given = StyleTransferParams.model_validate({"seed": 1} | params | dict.fromkeys(pictures, ANY))
    return Item(uuid4(), "style_transfer", given, {name: Blob(encoded(p), "image/png") for name, p in pictures.items()})


def test_names_pictures_and_strengths_make_paintings_of_their_own(pipeline: Pipeline) -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::4] = (250, 120, 0)
    jobs = [
        painting(style=STYLE_NAMES[3]),
        painting(style=STYLE_NAMES[7]),
        painting(style=STYLE_NAMES[3], strength=0.4),
        painting(stripes),
        painting(255 - stripes),
        painting(stripes, strength=0.4),
    ]
    context = Recorder()
    made = run(pipeline, *jobs, context=context)
    assert context.steps == [(done, 6) for done in range(1, 7)]
    assert [picture.job_id for picture in made] == [item.job_id for item in jobs]
    assert {picture.pixels.shape for picture in made} == {(48, 64, 3)}
    assert len({picture.pixels.tobytes() for picture in made}) == 6
    far, near = (np.abs(made[at].pixels.astype(int) - gradient(48, 64)).mean() for at in (0, 2))
    assert near < far


def test_company_changes_no_byte(pipeline: Pipeline) -> None:
    jobs = [painting(style=STYLE_NAMES[0]), painting(style=STYLE_NAMES[1])]
    together = run(pipeline, *jobs)
    assert [p.pixels.tobytes() for p in together] == [run(pipeline, item)[0].pixels.tobytes() for item in jobs]


def test_a_stop_between_pictures_ends_the_batch(pipeline: Pipeline) -> None:
    jobs = [painting(style=STYLE_NAMES[0]), painting(style=STYLE_NAMES[1])]
    context = Recorder()
    context.at_step = lambda _: context.stopped_ids.update(item.job_id for item in jobs)
    with pytest.raises(StoppedError):
        run(pipeline, *jobs, context=context)
    assert context.steps == [(1, 2)]


def test_a_style_picture_that_cannot_be_read_is_told_of_its_field(pipeline: Pipeline) -> None:
    bad = painting(gradient())
    object.__setattr__(bad, "inputs", bad.inputs | {"style_image": Blob(b"no picture", "image/png")})
    with pytest.raises(InvalidInputError) as caught:
        run(pipeline, bad)
    assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/style_image"}


def test_words_are_refused(pipeline: Pipeline) -> None:
    item = painting(prompt="like van Gogh")
    with pytest.raises(InvalidInputError, match="reads no prompt") as caught:
        run(pipeline, item)
    assert caught.value.extra["field"] == "/params/prompt"


def test_a_profile_of_unknown_styles_is_refused(cpu: Device, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnavailableError, match="no style 'cubist'"):
        opened(cpu, tmp_path, (STYLE_NAMES[0], "cubist"))
