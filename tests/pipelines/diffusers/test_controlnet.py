"""A ControlNet by itself over another checkpoint: the bytes of a folder that holds both; bases that do not fit."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError
from models.params import CheckpointProfile
from tests.pipelines.conftest import SIZE, Folders, Load, open_checkpoint, run
from tests.pipelines.diffusers.led import Shelf, WithLibrary, led, picture
from tests.pipelines.diffusers.test_adapters import Saved, saved
from worker.devices import Device
from worker.media.edges import canny
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Item, Pipeline, generator_for
from worker.pipelines.diffusers.fitting import to_tensor
from worker.pipelines.diffusers.loading import modules_of

# diffusers' own ControlNet of Flux uses it
pytestmark = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")
__all__ = ["saved"]
WHOLE = ["controlnet", "controlnet_xl", "controlnet_sd3", "controlnet_flux"]
"""Folders of a base and its ControlNet together, which `test_led_by_pictures` holds against diffusers itself."""
BARE = CheckpointProfile(default_width=SIZE, default_height=SIZE, takes_base=True, base="base", default_steps=3)
Parts = Callable[[str], tuple[Pipeline, Pipeline]]


@pytest.fixture(scope="session")
def parts(load: Load, cpu: Device, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The ControlNet of such a folder and its base, each saved and loaded by itself."""
    made: dict[str, tuple[Pipeline, Pipeline]] = {}

    def split(name: str) -> tuple[Pipeline, Pipeline]:
        if name not in made:
            from diffusers import AutoPipelineForText2Image

            both: Any = load(name)
            folder = tmp_path_factory.mktemp(name)
            AutoPipelineForText2Image.from_pipe(both._pipe, controlnet=None).save_pretrained(folder / "base")
            both._pipe.controlnet.save_pretrained(folder / "bare")
            made[name] = open_bare(folder / "bare", cpu), open_checkpoint("base", folder / "base", cpu)
        return made[name]

    return split


def open_bare(folder: Path, device: Device) -> Pipeline:
    return load_family("controlnet").setup(CheckpointFiles("bare", folder, "controlnet", BARE, {}), device)


def job(seed: int = 1, look: int = 1, **params: Any) -> Item:
    given = {"prompt": "a cat", "seed": seed, "guidance_scale": 4.0} | params
    return led("control", {"image": picture(look)}, profile=BARE, **given)


def over(base: Any) -> WithLibrary:
    return WithLibrary(library=Shelf(pipelines={"base": base}))


@pytest.mark.parametrize("whole", WHOLE)
def test_gives_the_bytes_of_a_folder_that_holds_both(load: Load, parts: Parts, whole: str) -> None:
    bare, base = parts(whole)
    jobs = [job(5, 1, num_images=2), job(6, 2, prompt="a dog", num_images=2, control="depth")]
    ours = run(bare, *jobs, context=over(base))
    theirs = run(load(whole), *jobs)
    assert len(ours) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.pixels, other.pixels)


def test_gives_the_bytes_of_the_plain_diffusers_call(parts: Parts) -> None:
    from diffusers import StableDiffusionControlNetPipeline

    bare, base = (any_of(one) for one in parts("controlnet"))
    pipe = StableDiffusionControlNetPipeline(
        **base._pipe.components | {"image_encoder": None}, controlnet=bare._net, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        plain = pipe(
            prompt=["a cat"],
            image=to_tensor([canny(picture(1))]),
            num_inference_steps=3,
            guidance_scale=4.0,
            controlnet_conditioning_scale=0.7,
            generator=[generator_for(5, 0)],
            output_type="np",
        ).images[0]
    made = run(bare, job(5, control_scale=0.7), context=over(base))[0].pixels
    assert np.array_equal(made, (plain * 255).round().astype("uint8"))


def any_of(pipeline: Pipeline) -> Any:
    return pipeline


def test_the_base_draws_as_before_and_nothing_of_it_is_held_twice_or_kept(
    folders: Folders, parts: Parts, cpu: Device
) -> None:
    bare, _ = parts("controlnet")
    base: Any = open_checkpoint("sd1", folders("sd1"), cpu)
    nets = {id(net) for net in modules_of(base._pipe).values()}
    text = led("text_to_image", {}, prompt="a cat")
    before, own, both = run(base, text)[0].pixels, bare.memory_bytes, base.memory_bytes
    run(bare, job(), context=over(base))
    assert np.array_equal(run(base, text)[0].pixels, before)
    assert (bare.memory_bytes, base.memory_bytes) == (own, both)
    assert 0 < own < both
    led_pipe = any_of(bare)._over(job(), over(base)).sisters.for_task("control").pipe
    assert {id(net) for net in modules_of(led_pipe).values()} - nets == {id(any_of(bare)._net)}
    del led_pipe
    gone = weakref.ref(base)
    del base
    gc.collect()
    assert gone() is None
    assert bare.slim() == ""


def test_out_of_memory_takes_the_base_down_its_ladder(folders: Folders, parts: Parts, cpu: Device) -> None:
    bare, _ = parts("controlnet")
    base = open_checkpoint("sd1", folders("sd1"), cpu)
    assert load_family("controlnet")(any_of(bare)._net).slim() == ""  # none ran yet  # type: ignore[call-arg]
    before = run(bare, job(num_images=2), context=over(base))
    assert bare.slim() == "at most 1 at once"
    while bare.slim():
        pass
    assert base.slim() == ""
    after = run(bare, job(num_images=2), context=over(base))
    assert all(abs(a.pixels.astype(int) - b.pixels).max() <= 2 for a, b in zip(after, before, strict=True))


def test_a_lora_of_the_base_is_laid_on_and_gone_afterwards(
    folders: Folders, parts: Parts, saved: Saved, cpu: Device
) -> None:
    bare, _ = parts("controlnet")
    base = open_checkpoint("sd1", folders("sd1"), cpu)
    context = over(base)
    files = saved("sd1")
    context.library.folders["style"] = files
    plain = run(bare, job(), context=context)[0].pixels
    styled = run(bare, job(loras=[{"name": "style"}]), context=context)[0].pixels
    assert not np.array_equal(styled, plain)
    assert np.array_equal(run(bare, job(), context=context)[0].pixels, plain)


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("sdxl", "differ in cross_attention_dim"),
        ("sd3", "it is a StableDiffusion3Pipeline, where a StableDiffusionPipeline or"),
        ("wide", "differ in in_channels"),
        ("kontext", "it is a FluxKontextPipeline"),
        ("gan", "it is of another family"),
    ],
)
def test_a_base_of_another_kind_names_its_field(load: Load, parts: Parts, base: str, told: str) -> None:
    bare, _ = parts("controlnet")
    one = job()
    with pytest.raises(InvalidInputError, match=told) as caught:
        run(bare, one, context=over(load(base)))
    assert "does not run over 'base'" in caught.value.detail
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/base"}


@pytest.mark.parametrize(
    ("whole", "base"), [("controlnet_xl", "sd1"), ("controlnet_sd3", "flux"), ("controlnet_flux", "sd1")]
)
def test_every_class_of_controlnets_knows_its_own_bases(load: Load, parts: Parts, whole: str, base: str) -> None:
    with pytest.raises(InvalidInputError, match="does not run over 'base'"):
        run(parts(whole)[0], job(), context=over(load(base)))


def test_a_base_that_is_gone_names_its_field(parts: Parts) -> None:
    one = job(base="another")
    with pytest.raises(CheckpointUnavailableError, match="another") as caught:
        run(parts("controlnet")[0], one, context=over(None))
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/base"}


@pytest.mark.parametrize(
    ("whole", "settings", "told"),
    [
        ("controlnet", {"conditioning_channels": 1}, "three channels"),
        ("controlnet_sd3", {"extra_conditioning_channels": 1}, "wants more than a map"),
    ],
)
def test_a_net_that_wants_something_else_than_a_map_of_colours_is_refused(
    parts: Parts, cpu: Device, tmp_path: Path, whole: str, settings: dict[str, int], told: str
) -> None:
    net = any_of(parts(whole)[0])._net
    type(net).from_config({**net.config, **settings}).save_pretrained(tmp_path)
    with pytest.raises(CheckpointUnavailableError, match=told):
        open_bare(tmp_path, cpu)


@pytest.mark.parametrize("config", ['{"_class_name": "UNet2DConditionModel"}', '{"_class_name": 3}', "[]"])
def test_a_folder_of_another_net_is_refused(cpu: Device, tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointUnavailableError, match="names none of ControlNetModel"):
        open_bare(tmp_path, cpu)


def test_half_and_eighth_precision_become_the_devices(parts: Parts, cpu: Device, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    any_of(parts("controlnet")[0])._net.save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    kinds = {True: torch.float8_e4m3fn, False: torch.float16}
    stored = {name: value.to(kinds[value.ndim > 1]) for name, value in load_file(weights).items()}
    save_file(stored, weights, metadata={"format": "pt"})
    net = any_of(open_bare(tmp_path, cpu))._net
    assert {value.dtype for value in net.parameters()} == {torch.float32}
    assert all(torch.equal(value, stored[name].float()) for name, value in net.state_dict().items())


def test_a_slim_one_that_reads_no_words_fits_by_its_channels(parts: Parts) -> None:
    """As our own: without attention to the text, it leads a base whatever the text encoder's width."""
    from diffusers import ControlNetModel

    _, base = parts("controlnet")
    unet = any_of(base)._pipe.unet.config
    slim = ControlNetModel(
        down_block_types=("DownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2D",
        block_out_channels=unet.block_out_channels,
        layers_per_block=unet.layers_per_block,
        norm_num_groups=unet.norm_num_groups,
        attention_head_dim=unet.attention_head_dim,
        cross_attention_dim=8,
        conditioning_embedding_out_channels=(8, 8),
    )
    bare = any_of(load_family("controlnet"))(slim.eval())
    assert run(bare, job(), context=over(base))[0].pixels.shape == (SIZE, SIZE, 3)
    deep = ControlNetModel.from_config({**slim.config, "layers_per_block": 2})
    with pytest.raises(InvalidInputError, match="differ in block_out_channels"):
        run(any_of(load_family("controlnet"))(deep), job(), context=over(base))


def test_a_file_that_lacks_weights_is_refused(parts: Parts, cpu: Device, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    any_of(parts("controlnet")[0])._net.save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    tensors = load_file(weights)
    tensors.pop("controlnet_mid_block.weight")
    save_file(tensors, weights)
    with pytest.raises(CheckpointUnavailableError, match=r"no weights for controlnet_mid_block\.weight"):
        open_bare(tmp_path, cpu)
