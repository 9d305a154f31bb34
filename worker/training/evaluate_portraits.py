"""Grade the checkpoints that draw portraits, and draw their sample sheets.

The judge says which of the checkpoint's classes each picture shows, and its features give the KID (Bińkowski et al.
2018, arXiv:1801.01401); both beside the same figures of real pictures. The judge was trained on other backgrounds and
at 64 px (smaller pictures are enlarged for it), so its figures compare with each other only.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import DDIMScheduler, DDPMPipeline, DiTPipeline
from torch import Tensor
from torch.nn import functional as F

from worker.nets.biggan import BigGan, truncated_noise
from worker.nets.class_diffusion import ClassDiffusion
from worker.nets.dcgan import DcganGenerator
from worker.nets.judge import Judge
from worker.nets.stylegan2 import StyleGan2Generator
from worker.nets.vae import GaussianVae
from worker.training import biggan, class_diffusion, dcgan, ddpm, dit, gaussian_vae, stylegan2
from worker.training.batches import to_pictures
from worker.training.class_diffusion import codepoints_of
from worker.training.evaluate import wilson
from worker.training.evaluate_gan import kid
from worker.training.nouns import nouns
from worker.training.portraits import ANIMAL_FACES, GARDEN, SMILEYS, Look, PortraitSet
from worker.training.sheets import sheet
from worker.training.vae import psnr

JUDGE_SIDE: Final = 64
BATCH: Final = 48
STEPS: Final = 25
GUIDANCE: Final = 2.0
TRUNCATION: Final = 0.7
SEED: Final = 23

Draw = Callable[[Tensor, int], Tensor]
"""Labels ``(B,)`` (of models without classes only their count tells) and a seed to ``(B, 3, side, side)``."""


@dataclass(frozen=True, slots=True)
class Portrayed:
    """What a family of checkpoints was shown."""

    class_names: tuple[str, ...]
    codepoints: tuple[str, ...]
    side: int
    look: Look


SHOWN: Final = {
    "class_diffusion": Portrayed(
        class_diffusion.CLASSES, codepoints_of(class_diffusion.CLASSES), class_diffusion.SIDE, class_diffusion.LOOK
    ),
    "dit": Portrayed(dit.CLASSES, codepoints_of(dit.CLASSES), dit.SIDE, dit.LOOK),
    "ddpm": Portrayed((), SMILEYS, ddpm.SIDE, ddpm.LOOK),
    "vae": Portrayed((), SMILEYS, gaussian_vae.SIDE, gaussian_vae.LOOK),
    "dcgan": Portrayed((), ANIMAL_FACES, dcgan.SIDE, dcgan.LOOK),
    "stylegan2": Portrayed((), SMILEYS, stylegan2.SMALL.image_size, stylegan2.LOOK),
    "biggan": Portrayed(tuple(GARDEN), tuple(GARDEN.values()), biggan.SIDE, biggan.LOOK),
}


def class_diffusion_of(folder: Path) -> Draw:
    """Draw by DDIM (Song et al. 2020, arXiv:2010.02502) with guidance."""
    model = ClassDiffusion.from_pretrained(folder)

    def draw(labels: Tensor, seed: int) -> Tensor:
        config = model.unet.config
        shape = (len(labels), config.in_channels, config.sample_size, config.sample_size)
        noisy = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        model.scheduler.set_timesteps(STEPS)
        for time in model.scheduler.timesteps:
            noisy = model.scheduler.step(model.velocity(noisy, time, labels, GUIDANCE), time, noisy).prev_sample
        return noisy.clamp(-1, 1)

    return draw


def dit_of(folder: Path) -> Draw:
    """Draw by diffusers' own pipeline."""
    pipeline = DiTPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def draw(labels: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        made = pipeline(labels.tolist(), GUIDANCE, generator, num_inference_steps=STEPS, output_type="np").images
        return torch.from_numpy(made).permute(0, 3, 1, 2) * 2 - 1

    return draw


def ddpm_of(folder: Path) -> Draw:
    """Draw by diffusers' own pipeline, in DDIM's few steps."""
    pipeline = DDPMPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)

    def draw(labels: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        made = pipeline(len(labels), generator, num_inference_steps=STEPS, output_type="np").images
        return torch.from_numpy(made).permute(0, 3, 1, 2) * 2 - 1

    return draw


def vae_of(folder: Path) -> Draw:
    """Decode draws from the prior."""
    model = GaussianVae.from_pretrained(folder)

    def draw(labels: Tensor, seed: int) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        return model.decode(torch.randn(len(labels), model.config.latent_dim, generator=stream))

    return draw


def dcgan_of(folder: Path) -> Draw:
    """One forward pass."""
    model = DcganGenerator.from_pretrained(folder)

    def draw(labels: Tensor, seed: int) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        made: Tensor = model(torch.randn(len(labels), model.config.latent_dim, generator=stream))
        return made

    return draw


def stylegan2_of(folder: Path) -> Draw:
    """One forward pass, a little truncated, with noise."""
    model = StyleGan2Generator.from_pretrained(folder)

    def draw(labels: Tensor, seed: int) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        latents = torch.randn(len(labels), model.config.latent_dim, generator=stream)
        made: Tensor = model(latents, TRUNCATION, noise=model.noise_inputs([stream] * len(labels)))
        return made

    return draw


def biggan_of(folder: Path) -> Draw:
    """One forward pass, a little truncated."""
    model = BigGan.from_pretrained(folder)

    def draw(labels: Tensor, seed: int) -> Tensor:
        stream = torch.Generator().manual_seed(seed)
        noise = truncated_noise([stream] * len(labels), model.config.z_dim, TRUNCATION)
        made: Tensor = model(noise, labels, TRUNCATION)
        return made

    return draw


DRAWERS: Final = {
    "class_diffusion": class_diffusion_of,
    "dit": dit_of,
    "ddpm": ddpm_of,
    "vae": vae_of,
    "dcgan": dcgan_of,
    "stylegan2": stylegan2_of,
    "biggan": biggan_of,
}


def share_named(judge: Judge, pictures: Tensor, labels: Tensor, portrayed: Portrayed) -> dict[str, object]:
    """How often the judge, choosing among the classes, sees the one that was asked for; in all and of each class."""
    known = [noun.codepoints for noun in nouns()]
    columns = [known.index(codepoints) for codepoints in portrayed.codepoints]
    hits = judge(pictures)[0][:, columns].argmax(dim=1) == labels
    low, high = wilson(int(hits.sum()), len(hits))
    each = {
        name: round(hits[labels == index].float().mean().item(), 3) for index, name in enumerate(portrayed.class_names)
    }
    share = round(hits.float().mean().item(), 4)
    return {"share": share, "low": round(low, 4), "high": round(high, 4), "count": len(hits), "each": each}


def enlarged(pictures: Tensor) -> Tensor:
    """As the judge wants them: ``(B, 3, 64, 64)``."""
    if pictures.shape[-1] == JUDGE_SIDE:
        return pictures
    return F.interpolate(pictures, size=(JUDGE_SIDE, JUDGE_SIDE), mode="bicubic").clamp(-1, 1)


@torch.no_grad()
def measure(draw: Draw, judge: Judge, portrayed: Portrayed, data_dir: Path, count: int) -> dict[str, object]:
    """All figures of a checkpoint, and the same of real pictures drawn with other seeds than the training's."""
    portraits = PortraitSet(data_dir, portrayed.codepoints)
    real, real_labels = portraits.batch(count, portrayed.side, portrayed.look, SEED)
    other, _ = portraits.batch(count, portrayed.side, portrayed.look, SEED + 1)
    labels = torch.arange(count) % max(1, len(portrayed.class_names))
    made = enlarged(torch.cat([draw(labels[at : at + BATCH], SEED + at) for at in range(0, count, BATCH)]))
    features = {name: judge.features(enlarged(part)) for name, part in (("real", real), ("other", other))}
    report: dict[str, object] = {
        "kid[judge] generated to real": round(kid(judge.features(made), features["real"]), 5),
        "kid[judge] real to real": round(kid(features["other"], features["real"]), 5),
        "count": count,
    }
    if portrayed.class_names:
        report["generated"] = share_named(judge, made, labels, portrayed)
        report["real"] = share_named(judge, enlarged(real), real_labels, portrayed)
    return report


@torch.no_grad()
def reconstruction(folder: Path, portrayed: Portrayed, data_dir: Path, count: int) -> dict[str, float | int]:
    """PSNR of a VAE on pictures whose grounds it has not seen, in dB."""
    pictures, _ = PortraitSet(data_dir, portrayed.codepoints).batch(count, portrayed.side, portrayed.look, SEED)
    values = psnr(GaussianVae.from_pretrained(folder).reconstruct(pictures), pictures)
    return {"psnr_db": round(values.mean().item(), 2), "worst_db": round(values.min().item(), 2), "count": count}


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.evaluate_portraits", description=__doc__)
    parser.add_argument("--family", choices=sorted(DRAWERS), required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=480)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    portrayed, draw = SHOWN[arguments.family], DRAWERS[arguments.family](arguments.checkpoint)
    report = measure(draw, Judge.from_pretrained(arguments.judge), portrayed, arguments.data_dir, arguments.count)
    if arguments.family == "vae":
        report["reconstruction"] = reconstruction(arguments.checkpoint, portrayed, arguments.data_dir, arguments.count)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2) + "\n"
    (arguments.out / "metrics.json").write_text(text, encoding="utf-8")
    classes = len(portrayed.class_names)
    labels = torch.arange(classes).repeat_interleave(96 // classes) if classes else torch.zeros(96, dtype=torch.long)
    with torch.no_grad():
        made = torch.cat([draw(part, at) for at, part in enumerate(torch.split(labels, BATCH))])
    sheet(to_pictures(made), columns=16, zoom=JUDGE_SIDE // portrayed.side).save(arguments.out / "samples.png")
    print(text)


if __name__ == "__main__":
    main()
