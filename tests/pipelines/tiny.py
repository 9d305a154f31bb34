"""Whole checkpoints with a few thousand random weights, saved as the real ones are: made here, never fetched."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = [
    "a",
    "b",
    "red",
    "blue",
    "green",
    "cat",
    "dog",
    "fish",
    "house",
    "sky",
    "on",
    "in",
    "the",
    "big",
    "small",
    "picture",
    "of",
    "and",
    "sun",
    "sea",
    "tree",
    "bird",
]
CLIP_WINDOW = 16
T5_WINDOW = 24


def clip_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer over single letters: as many tokens as letters, and two ends."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list(".,!?")
    tokens = [
        *letters,
        "ca",
        "cat</w>",
        "do",
        "dog</w>",
        *(letter + "</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\nd o\ndo g</w>\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=CLIP_WINDOW)


def t5_tokenizer() -> Any:
    """A T5 tokenizer: one token a word, letters for the rest."""
    from transformers import T5TokenizerFast

    pieces = ["▁" + word for word in WORDS] + ["▁"] + [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    vocabulary += [(piece, -2.0 - 0.01 * number) for number, piece in enumerate(pieces)]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=T5_WINDOW)


def clip_encoder(*, pooled_size: int | None = None, width: int = 32) -> Any:
    """A CLIP text encoder of two layers; with a projection when `pooled_size` is given."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=66,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_WINDOW,
        projection_dim=pooled_size or width,
        bos_token_id=64,
        eos_token_id=65,
        pad_token_id=65,
    )
    return (CLIPTextModelWithProjection if pooled_size else CLIPTextModel)(config).eval()


def t5_encoder(width: int = 32) -> Any:
    """A T5 encoder of two layers."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return T5EncoderModel(config).eval()


def autoencoder(channels: int = 4, **settings: Any) -> Any:
    """An autoencoder that halves the side once per block but the first: 8 pixels to a latent would be four blocks."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **settings,
    )


def unet(cross: int = 32, **settings: Any) -> Any:
    """A UNet of two levels with attention to the text."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross,
        attention_head_dim=4,
        **settings,
    )


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def stable_diffusion_1(folder: Path) -> None:
    """SD 1.x: one CLIP, noise prediction, saved with PNDM and without a safety checker."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    _save_stable_diffusion(folder, StableDiffusionPipeline, PNDMScheduler(skip_prk_steps=True, **BETAS))


def stable_diffusion_2(folder: Path) -> None:
    """SD 2.x: v-prediction, with betas rescaled to zero terminal SNR."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        **BETAS,
    )
    _save_stable_diffusion(folder, StableDiffusionPipeline, scheduler)


def _save_stable_diffusion(folder: Path, pipeline: Any, scheduler: Any) -> None:
    pipeline(
        vae=autoencoder(),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        unet=unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def stable_diffusion_xl(folder: Path) -> None:
    """SDXL: two CLIPs, the second one pooled; sizes and crops as extra embeddings."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    extra = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": (1, 1),
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
        "use_linear_projection": True,
    }
    StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=clip_encoder(),
        text_encoder_2=clip_encoder(pooled_size=32),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2"),
        unet=unet(cross=64, **extra),
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
        add_watermarker=False,
    ).save_pretrained(folder)


def stable_diffusion_3(folder: Path, *, with_t5: bool = True) -> None:
    """SD3: flow matching, 16 latent channels, two pooled CLIPs, and a T5 that may be left out."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=64,
        pooled_projection_dim=64,
        pos_embed_max_size=32,
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(16, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=clip_encoder(pooled_size=32),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        text_encoder_2=clip_encoder(pooled_size=32),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2"),
        text_encoder_3=t5_encoder(64) if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    ).save_pretrained(folder)


def stable_diffusion_3_without_t5(folder: Path) -> None:
    """SD3 as people with small GPUs keep it."""
    stable_diffusion_3(folder, with_t5=False)


def flux(folder: Path, *, distilled: bool = False) -> None:
    """Flux: packed latents, CLIP for the pooled vector and T5 for the words; `distilled` takes guidance as an input."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=distilled,
    )
    FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=distilled),
        vae=autoencoder(4, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        text_encoder_2=t5_encoder(),
        tokenizer_2=t5_tokenizer(),
    ).save_pretrained(folder)


def flux_distilled(folder: Path) -> None:
    """Flux with guidance as an input of the net."""
    flux(folder, distilled=True)


def gan(folder: Path, channels: int = 1) -> None:
    """A conditional GAN of three classes, 16 × 16 pixels."""
    from worker.nets.conditional_gan import ConditionalGenerator, GeneratorConfig

    config = GeneratorConfig(
        class_names=("cat", "dog", "bird"),
        num_classes=3,
        latent_dim=8,
        image_size=16,
        channels=channels,
        widths=(16, 8, 8),
        class_dim=4,
    )
    ConditionalGenerator(config).eval().save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "sd1": stable_diffusion_1,
    "sd2": stable_diffusion_2,
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "sd3_without_t5": stable_diffusion_3_without_t5,
    "flux": flux,
    "flux_distilled": flux_distilled,
    "gan": gan,
}


def make(name: str, folder: Path) -> Path:
    """Save one of them, always with the same weights."""
    from tests.pipelines.tiny_led import MAKERS as LED_BY_PICTURES

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        (MAKERS | LED_BY_PICTURES)[name](folder)
    return folder
