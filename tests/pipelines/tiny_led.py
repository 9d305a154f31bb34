"""Tiny checkpoints of classes that are led by a picture, beside the words: edits, masks, maps, upscalers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.pipelines import tiny

UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def led_unet(channels: int, **settings: Any) -> Any:
    """The UNet of `tiny` with room for more than the latents."""
    net = tiny.unet(**settings)
    return type(net).from_config({**net.config, "in_channels": channels})


def words(folder: Path) -> dict[str, Any]:
    """One CLIP."""
    return {"text_encoder": tiny.clip_encoder(), "tokenizer": tiny.clip_tokenizer(folder / "tokenizer")}


def pix2pix(folder: Path) -> None:
    """InstructPix2Pix: the picture's latents beside the noisy ones."""
    from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline

    StableDiffusionInstructPix2PixPipeline(
        vae=tiny.autoencoder(), unet=led_unet(8), scheduler=DDIMScheduler(**tiny.BETAS), **words(folder), **UNCHECKED
    ).save_pretrained(folder)


def pix2pix_xl(folder: Path) -> None:
    """The same for SDXL, with a callback of the old kind."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLInstructPix2PixPipeline

    StableDiffusionXLInstructPix2PixPipeline(
        **xl_parts(folder, 8), scheduler=EulerDiscreteScheduler(**tiny.BETAS)
    ).save_pretrained(folder)


def kontext(folder: Path) -> None:
    """Flux Kontext: the picture as more tokens."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline

    FluxKontextPipeline(**flux_parts(folder), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0)).save_pretrained(
        folder
    )


def inpaint(folder: Path) -> None:
    """SD for inpainting: nine channels, of the noisy latents, the mask and the masked picture."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    StableDiffusionInpaintPipeline(
        vae=tiny.autoencoder(), unet=led_unet(9), scheduler=DDIMScheduler(**tiny.BETAS), **words(folder), **UNCHECKED
    ).save_pretrained(folder)


def wide(folder: Path) -> None:
    """SD with six latent channels, as our starter has sixteen: diffusers' own inpainting refuses it."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    net = tiny.unet()
    StableDiffusionPipeline(
        vae=tiny.autoencoder(6),
        unet=UNet2DConditionModel.from_config({**net.config, "in_channels": 6, "out_channels": 6}),
        scheduler=DDIMScheduler(clip_sample=False, **tiny.BETAS),
        **words(folder),
        **UNCHECKED,
    ).save_pretrained(folder)


def controlnet(folder: Path) -> None:
    """SD and a ControlNet of the same shape, whose last layers are not zero, as they are once trained."""
    from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline

    net = tiny.unet()
    StableDiffusionControlNetPipeline(
        vae=tiny.autoencoder(),
        unet=net,
        controlnet=trained_controlnet(net),
        scheduler=DDIMScheduler(clip_sample=False, **tiny.BETAS),
        **words(folder),
        **UNCHECKED,
    ).save_pretrained(folder)


def controlnet_xl(folder: Path) -> None:
    """SDXL and a ControlNet."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLControlNetPipeline

    parts = xl_parts(folder, 4)
    StableDiffusionXLControlNetPipeline(
        **parts,
        controlnet=trained_controlnet(parts["unet"]),
        scheduler=EulerDiscreteScheduler(**tiny.BETAS),
        add_watermarker=False,
    ).save_pretrained(folder)


def controlnet_sd3(folder: Path) -> None:
    """SD3 and a ControlNet; of two layers, since nothing is added to a transformer's last one."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3ControlNetModel,
        SD3Transformer2DModel,
        StableDiffusion3ControlNetPipeline,
        StableDiffusion3Pipeline,
    )

    tiny.stable_diffusion_3(folder / "plain")
    pipe = StableDiffusion3Pipeline.from_pretrained(folder / "plain", local_files_only=True)
    net = SD3Transformer2DModel.from_config({**pipe.transformer.config, "num_layers": 2})
    control = SD3ControlNetModel.from_transformer(
        pipe.transformer, num_layers=1, num_extra_conditioning_channels=0, load_weights_from_transformer=False
    )
    StableDiffusion3ControlNetPipeline(
        **{**parts_of(pipe), "transformer": net},
        controlnet=not_zero(control),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)


def controlnet_flux(folder: Path) -> None:
    """Flux and a ControlNet."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxControlNetModel, FluxControlNetPipeline

    parts = flux_parts(folder)
    control = FluxControlNetModel.from_transformer(
        parts["transformer"],
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        load_weights_from_transformer=False,
    )
    FluxControlNetPipeline(
        **parts, controlnet=not_zero(control), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0)
    ).save_pretrained(folder)


def control_flux(folder: Path) -> None:
    """Flux Canny or Depth: the map's latents beside the noisy ones, and no second net."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxControlPipeline

    FluxControlPipeline(
        **led_flux_parts(folder, 2 * 16), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0)
    ).save_pretrained(folder)


def fill_flux(folder: Path) -> None:
    """Flux Fill: beside the noisy latents those of the masked picture, and the mask, 2 × 2 pixels to a latent."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline

    FluxFillPipeline(
        **led_flux_parts(folder, 2 * 16 + 4 * 2 * 2), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0)
    ).save_pretrained(folder)


def trained_controlnet(net: Any) -> Any:
    """As made from a UNet its last layers are zero; its maps shrink as pictures do in the tiny autoencoder."""
    from diffusers import ControlNetModel

    return not_zero(
        ControlNetModel.from_unet(net, conditioning_embedding_out_channels=(8, 8), load_weights_from_unet=False)
    )


def not_zero(control: Any) -> Any:
    """A ControlNet whose last layers have weights."""
    import torch

    for weights in control.parameters():
        if not weights.any():
            torch.nn.init.normal_(weights, std=0.2)
    return control


def upscaler(folder: Path) -> None:
    """SD upscale: the small picture beside the latents; ×2, since the tiny autoencoder has two pixels to a latent."""
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline

    StableDiffusionUpscalePipeline(
        vae=tiny.autoencoder(scaling_factor=0.08333),
        unet=led_unet(7, num_class_embeds=351),
        low_res_scheduler=DDPMScheduler(**tiny.BETAS),
        scheduler=DDIMScheduler(prediction_type="v_prediction", **tiny.BETAS),
        **words(folder),
        safety_checker=None,
    ).save_pretrained(folder)


def latent_upscaler(folder: Path) -> None:
    """The ×2 upscaler of latents, a UNet in the manner of Karras."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel

    net = UNet2DConditionModel(
        act_fn="gelu",
        attention_head_dim=8,
        norm_num_groups=None,
        block_out_channels=(32, 32, 64, 64),
        time_cond_proj_dim=160,
        conv_in_kernel=1,
        conv_out_kernel=1,
        cross_attention_dim=32,
        down_block_types=("KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3),
        in_channels=8,
        mid_block_type=None,
        only_cross_attention=False,
        out_channels=5,
        resnet_time_scale_shift="scale_shift",
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        up_block_types=(*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D"),
    )
    StableDiffusionLatentUpscalePipeline(
        vae=tiny.autoencoder(), unet=net, scheduler=EulerDiscreteScheduler(prediction_type="sample"), **words(folder)
    ).save_pretrained(folder)


def xl_parts(folder: Path, channels: int) -> dict[str, Any]:
    """SDXL's parts, but for the sampler."""
    return {
        "vae": tiny.autoencoder(),
        "text_encoder": tiny.clip_encoder(),
        "text_encoder_2": tiny.clip_encoder(pooled_size=32),
        "tokenizer": tiny.clip_tokenizer(folder / "tokenizer"),
        "tokenizer_2": tiny.clip_tokenizer(folder / "tokenizer_2"),
        "unet": led_unet(
            channels,
            cross=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=6 * 8 + 32,
            use_linear_projection=True,
        ),
    }


def flux_parts(folder: Path) -> dict[str, Any]:
    """Flux' parts, but for the sampler."""
    from diffusers import FluxPipeline

    tiny.flux(folder / "plain")
    pipe = FluxPipeline.from_pretrained(folder / "plain", local_files_only=True)
    return parts_of(pipe)


def led_flux_parts(folder: Path, channels: int) -> dict[str, Any]:
    """Those parts with a distilled net that sees more than the 16 channels of its four packed latents."""
    from diffusers import FluxTransformer2DModel

    parts = flux_parts(folder)
    config = {**parts["transformer"].config, "in_channels": channels, "out_channels": 16, "guidance_embeds": True}
    return parts | {"transformer": FluxTransformer2DModel.from_config(config)}


def parts_of(pipe: Any) -> dict[str, Any]:
    """What there is, but for the sampler."""
    return {name: part for name, part in pipe.components.items() if part is not None and name != "scheduler"}


MAKERS: dict[str, Callable[[Path], None]] = {
    "pix2pix": pix2pix,
    "pix2pix_xl": pix2pix_xl,
    "kontext": kontext,
    "inpaint": inpaint,
    "wide": wide,
    "controlnet": controlnet,
    "controlnet_xl": controlnet_xl,
    "controlnet_sd3": controlnet_sd3,
    "controlnet_flux": controlnet_flux,
    "control_flux": control_flux,
    "fill_flux": fill_flux,
    "upscaler": upscaler,
    "latent_upscaler": latent_upscaler,
}
