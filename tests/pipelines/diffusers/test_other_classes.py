"""Classes beyond the well-known: older callbacks, distilled samplers, sisters for other tasks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from models.errors import CheckpointUnavailableError
from tests.pipelines import tiny
from tests.pipelines.conftest import Folders, Recorder, item, open_checkpoint, run
from tests.pipelines.diffusers.led import led, picture
from worker.devices import Device
from worker.pipelines.diffusers.calls import CallStyle, rows_of


def pixart(folder: Path) -> None:
    """PixArt-Σ: T5 only, learned variance, and a callback of the old kind."""
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=32,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=32,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=32,
        use_additional_conditions=False,
    )
    PixArtSigmaPipeline(
        tokenizer=tiny.t5_tokenizer(),
        text_encoder=tiny.t5_encoder(),
        vae=tiny.autoencoder(),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    ).save_pretrained(folder)


def consistency(folder: Path) -> None:
    """A latent consistency model: guidance as an embedding, and its own sampler only."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    LatentConsistencyModelPipeline(
        vae=tiny.autoencoder(),
        text_encoder=tiny.clip_encoder(),
        tokenizer=tiny.clip_tokenizer(folder / "tokenizer"),
        unet=tiny.unet(time_cond_proj_dim=32),
        scheduler=LCMScheduler(**tiny.BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def chroma(folder: Path) -> None:
    """Chroma: Flux without CLIP, with guidance and a negative prompt again."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=tiny.autoencoder(4, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=tiny.t5_encoder(),
        tokenizer=tiny.t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)


class QwenLike:
    """The call of a class that guides against a blank."""

    config: ClassVar[dict[str, str]] = {}
    transformer = None

    def __call__(self, prompt: str, negative_prompt: str | None = None, true_cfg_scale: float = 4.0) -> None: ...


def test_a_class_made_to_guide_against_a_blank_gets_one() -> None:
    style = CallStyle.of(QwenLike())
    rows = rows_of([item("a cat"), item("a dog", negative_prompt="sea")])
    (call,) = style.split(rows, 99)
    assert style.keywords(call) == {
        "prompt": ["a cat", "a dog"],
        "negative_prompt": [" ", "sea"],
        "true_cfg_scale": 4.0,
    }
    assert "negative_prompt" not in style.keywords(rows_of([item(guidance_scale=1)]))


@pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")  # diffusers' own Chroma uses it
@pytest.mark.parametrize("make", [pixart, consistency, chroma])
def test_other_classes_follow_the_same_contract(make: Callable[[Path], None], tmp_path: Path, cpu: Device) -> None:
    torch.manual_seed(7)
    make(tmp_path)
    pipeline = open_checkpoint(make.__name__, tmp_path, cpu)
    context = Recorder(previews_wanted=True)
    pictures = run(pipeline, item("a cat"), item("a dog", num_images=1), context=context)
    assert [picture.pixels.shape for picture in pictures] == [(32, 32, 3)] * 2
    assert context.steps == [(done, 3) for done in range(1, 4)]
    assert len(context.previews) == 6


def test_an_image_to_image_folder_is_loaded_as_text_to_image(folders: Folders, tmp_path: Path, cpu: Device) -> None:
    folder = renamed(folders("sd1"), tmp_path, "StableDiffusionImg2ImgPipeline")
    assert run(open_checkpoint("sd1", folder, cpu), item())


@pytest.mark.parametrize(
    "class_name",
    [
        "StableDiffusionControlNetPipeline",
        "StableDiffusionUpscalePipeline",
        "LEditsPPPipelineStableDiffusion",
        "Nothing",
    ],
)
def test_a_class_that_needs_more_than_the_folder_has_is_refused(
    folders: Folders, tmp_path: Path, cpu: Device, class_name: str
) -> None:
    folder = renamed(folders("sd1"), tmp_path, class_name)
    with pytest.raises(CheckpointUnavailableError):
        open_checkpoint("sd1", folder, cpu)


@pytest.mark.parametrize(
    ("folder", "class_name"),
    [
        ("sd1", "StableDiffusionInpaintPipeline"),
        ("sdxl", "StableDiffusionXLInpaintPipeline"),
        ("sd3", "StableDiffusion3InpaintPipeline"),
        ("flux", "FluxInpaintPipeline"),
    ],
)
def test_a_folder_of_an_inpainting_class_inpaints_and_does_no_more(
    folders: Folders, tmp_path: Path, cpu: Device, folder: str, class_name: str
) -> None:
    pipeline = open_checkpoint(folder, renamed(folders(folder), tmp_path, class_name), cpu)
    box = {"shape": "rectangle", "left": 0.5, "top": 0, "right": 1, "bottom": 1}
    (shown,) = run(pipeline, led("inpaint", {"image": picture()}, prompt="a cat", mask_shapes=[box]))
    assert (shown.pixels[:, :16] == picture()[:, :16]).all()
    with pytest.raises(CheckpointUnavailableError, match=r"it does: inpaint, outpaint\."):
        run(pipeline, item())


def renamed(folder: Path, home: Path, class_name: str) -> Path:
    """A copy of the folder that says it is of another class."""
    copy = Path(shutil.copytree(folder, home / "copy"))
    index = copy / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": class_name}))
    return copy
