"""Training as a job on a device that is not the CPU: a step, a preview, samples and a checkpoint by every method."""

from functools import partial

import numpy as np
import pytest
from safetensors.torch import load

from tests.elsewhere import ELSEWHERE, Elsewhere
from tests.pipelines.test_trainer import DATA, Room, item, run
from worker.pipelines.base import Facts
from worker.pipelines.trainer import family
from worker.training import diffusion


@pytest.mark.parametrize(
    ("method", "previews"),
    [("dcgan", 0), ("conditional_gan", 0), ("vae", 0), ("class_diffusion", 1)],  # where they are no whole sheet
)
def test_whatever_is_trained_is_trained_on_the_device(
    method: str, previews: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "SHEET_SECONDS", 0.0)
    monkeypatch.setattr(diffusion, "DiffusionSettings", partial(diffusion.DiffusionSettings, sheet_steps=2))
    room = Room()
    room.previews_wanted = bool(previews)
    trainer = family.Trainer(1 << 20, ELSEWHERE)
    with Elsewhere(monkeypatch) as elsewhere:
        outputs, files = run(trainer, item(DATA, method=method, batch_size=2, max_steps=1), room)
    assert elsewhere.autocasts == {ELSEWHERE.type}
    assert isinstance(outputs[-1], Facts)
    assert [preview[1].dtype for preview in room.previews] == [np.uint8] * previews
    (weights,) = [body for name, body in files.items() if name.endswith(".safetensors")]
    assert all(value.isfinite().all() for value in load(weights).values())
