"""The registry refuses what could carry code, and a new revision replaces an old one without touching its jobs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from models.bootstrap import STARTERS
from models.checkpoints import Checkpoint, FileManifest, Source, find_for_task, list_checkpoints, register
from models.checkpoints.card import CARD_NAME, read_card, read_folder
from models.errors import ValidationFailedError
from models.params import CheckpointProfile
from models.session import Sessions
from models.states import Pool
from tests.seeding import Seeder
from tests.weights import weights, weights_of

CARD = {"name": "made-here", "family": "diffusers", "tasks": ["text_to_image"], "pool": "cpu"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(weights())
    (tmp_path / "safelight.json").write_text(json.dumps(CARD))
    return tmp_path


def test_a_folder_is_registered_with_the_hash_of_every_file(folder: Path, sessions: Sessions) -> None:
    wanted = read_folder(folder)
    assert set(wanted.manifest.files) == {"safelight.json", "unet/model.safetensors"}
    with sessions.begin() as session:
        row = register(session, wanted)
        assert (row.name, row.pool, row.revision) == ("made-here", Pool.CPU, wanted.manifest.revision)
        assert register(session, wanted).id == row.id


def test_changed_files_are_a_new_revision_and_the_old_one_stays_for_its_jobs(folder: Path, sessions: Sessions) -> None:
    with sessions.begin() as session:
        old = register(session, read_folder(folder)).id
    (folder / "unet" / "model.safetensors").write_bytes(weights_of(b"other weights"))
    with sessions.begin() as session:
        new = register(session, read_folder(folder)).id
    with sessions() as session:
        assert new != old
        assert [row.id for row in list_checkpoints(session)] == [new]
        assert not session.get_one(Checkpoint, old).enabled


@pytest.mark.parametrize("name", ["a.bin", "b.ckpt", "c.pt", "d.pth", "e.pkl", "f.py", "g.onnx", "h.exe", "noext"])
def test_files_that_can_carry_code_are_refused_by_name(folder: Path, name: str) -> None:
    (folder / "unet" / name).write_bytes(b"")
    with pytest.raises(ValidationFailedError, match=f"unet/{name}"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["unet/model.bin", "pipeline.py", "weights.pkl"])
def test_a_manifest_that_was_only_told_is_held_to_the_same_rules(sessions: Sessions, folder: Path, name: str) -> None:
    """Given files in a bucket or on the Hub, which nobody here can look at, then their names are checked as well."""
    wanted = read_folder(folder)
    entry = {"sha256": "0" * 64, "size_bytes": 1}
    for files in ({**wanted.manifest.files, name: entry}, {"model_index.json": entry}):
        told = replace(wanted, source=Source.S3, location="somewhere", manifest=FileManifest(files))
        with sessions.begin() as session, pytest.raises(ValidationFailedError, match=f"{name}|no .safetensors"):
            register(session, told)


def test_symbolic_links_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.json"
    outside.write_text("{}")
    (folder / "link.json").symlink_to(outside)
    with pytest.raises(ValidationFailedError, match="symbolic link"):
        read_folder(folder)


def test_a_folder_without_weights_or_card_says_what_is_missing(tmp_path: Path, folder: Path) -> None:
    (folder / "safelight.json").unlink()
    with pytest.raises(ValidationFailedError, match="model_index"):
        read_folder(folder)
    (folder / "unet" / "model.safetensors").unlink()
    with pytest.raises(ValidationFailedError, match="safetensors"):
        read_folder(folder)


@pytest.mark.parametrize("card", ['{"name": "../up"}', "[]", "{", '{"name":"x","family":"f","tasks":[]}'])
def test_a_card_that_does_not_fit_is_a_validation_error(folder: Path, card: str) -> None:
    (folder / "safelight.json").write_text(card)
    with pytest.raises(ValidationFailedError):
        read_folder(folder)


def test_a_plain_diffusers_folder_needs_no_card(folder: Path) -> None:
    (folder / "safelight.json").unlink()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "unet" / "config.json").write_text('{"sample_size": 96}')
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [1, 1, 1, 1]}')
    wanted = read_folder(folder, name="sd21", pool=Pool.GPU)
    pictures = ("image_to_image", "edit", "style_transfer", "inpaint", "outpaint", "reconstruct", "interpolate")
    assert (wanted.name, wanted.family, wanted.tasks) == ("sd21", "diffusers", ("text_to_image", *pictures))
    assert wanted.profile.needs_prompt
    assert wanted.profile.edits_by_strength
    assert wanted.profile.default_width == 768


@pytest.mark.parametrize(
    ("class_name", "tasks", "scales"),
    [
        ("StableDiffusionInstructPix2PixPipeline", ("edit",), ()),
        ("StableDiffusionInpaintPipeline", ("inpaint", "outpaint"), ()),
        ("StableDiffusionXLControlNetPipeline", ("control",), ()),
        ("StableDiffusionUpscalePipeline", ("upscale",), (4,)),
        ("StableDiffusionLatentUpscalePipeline", ("upscale",), (2,)),
        ("PixArtSigmaPipeline", ("text_to_image",), ()),
    ],
)
def test_the_class_of_a_diffusers_folder_says_its_tasks(
    folder: Path, class_name: str, tasks: tuple[str, ...], scales: tuple[int, ...]
) -> None:
    (folder / "safelight.json").unlink()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [1, 1, 1]}')
    wanted = read_folder(folder, name="plain")
    assert (wanted.tasks, wanted.profile.scales) == (tasks, scales)
    assert not wanted.profile.edits_by_strength


def test_a_diffusion_transformer_says_its_own_sizes(folder: Path) -> None:
    (folder / "safelight.json").unlink()
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_text('{"in_channels": 64}')
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [1, 1, 1, 1]}')
    (folder / "unet" / "config.json").unlink(missing_ok=True)
    profile = read_folder(folder, name="flux").profile
    assert (profile.default_width, profile.size_multiple, profile.default_guidance) == (1024, 16, 3.5)


def test_who_reads_words_is_found_first(seed: Seeder, sessions: Sessions) -> None:
    """Best-of-n asks for any that scores, and means one that knows what the prompt says."""
    seed.checkpoint("figures", tasks=("score",), profile=CheckpointProfile(reads_prompt=False))
    seed.checkpoint("clip", tasks=("score",))
    with sessions() as session:
        assert find_for_task(session, "score", None).name == "clip"
        assert [row.name for row in list_checkpoints(session, "score")] == ["figures", "clip"]


def test_the_default_of_a_task_goes_before_older_ones(seed: Seeder, sessions: Sessions) -> None:
    """Whatever was registered again since, as what is built in is with each version."""
    tasks = ("translate", "upscale")
    seed.checkpoint("first", tasks=tasks)
    seed.checkpoint("chosen", tasks=tasks, profile=CheckpointProfile(default_for=("translate",)))
    with sessions.begin() as session:  # from before there were defaults
        older = session.scalars(select(Checkpoint).where(Checkpoint.name == "first")).one()
        older.profile_json = {name: value for name, value in older.profile_json.items() if name != "default_for"}
    with sessions() as session:
        assert find_for_task(session, "translate", None).name == "chosen"
        assert [row.name for row in list_checkpoints(session, "translate")] == ["chosen", "first"]
        assert find_for_task(session, "upscale", None).name == "first"
        assert [row.name for row in list_checkpoints(session)] == ["first", "chosen"]


def test_a_profile_of_a_newer_version_is_read_as_far_as_it_is_known(seed: Seeder, sessions: Sessions) -> None:
    """During a deployment old processes read what new ones have registered."""
    card = seed.checkpoint("newer")
    with sessions.begin() as session:
        row = session.get_one(Checkpoint, card.id)
        row.profile_json = row.profile_json | {"of_tomorrow": True}
    with sessions() as session:
        assert session.get_one(Checkpoint, card.id).profile == card.profile


def test_nobody_is_the_default_for_what_they_do_not_do(folder: Path) -> None:
    (folder / "safelight.json").write_text(json.dumps(CARD | {"profile": {"default_for": ["upscale"]}}))
    with pytest.raises(ValidationFailedError, match="default_for names a task that it does not do"):
        read_folder(folder)


@pytest.mark.parametrize(("task", "name"), [("translate", "vintage"), ("expand_prompt", "prompt-grammar")])
def test_the_shipped_default_is_the_one_that_takes_anything(
    seed: Seeder, sessions: Sessions, task: str, name: str
) -> None:
    for card in [read_card(path.parent) for path in sorted(STARTERS.glob(f"*/{CARD_NAME}"))]:
        if task in card.tasks:
            seed.checkpoint(card.name, tasks=card.tasks, profile=card.profile)
    with sessions() as session:
        assert find_for_task(session, task, None).name == name


def test_finding_says_what_there_is(seed: Seeder, sessions: Sessions) -> None:
    with sessions() as session, pytest.raises(ValidationFailedError, match="checkpoints add"):
        find_for_task(session, "text_to_image", None)
    seed.checkpoint("first")
    seed.checkpoint("gan", tasks=("class_to_image",))
    with sessions() as session:
        assert find_for_task(session, "text_to_image", None).name == "first"
        with pytest.raises(ValidationFailedError, match="first"):
            find_for_task(session, "text_to_image", "secnd")
        with pytest.raises(ValidationFailedError, match="does not do"):
            find_for_task(session, "text_to_image", "gan")
