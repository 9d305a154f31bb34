"""Train unconditional diffusion on smileys, and write it as diffusers' own pipeline.

Denoising diffusion probabilistic models: Ho et al. 2020, arXiv:2006.11239.
"""

import argparse
from pathlib import Path
from typing import Final

from diffusers import DDPMPipeline, DDPMScheduler

from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.diffusion import DiffusionSettings, DiffusionTask
from worker.training.loop import Pace, train
from worker.training.portraits import SMILEYS, Look, PortraitSet
from worker.training.schedule import scheduler

SIDE: Final = 32
PORTRAITS: Final = 6000
LOOK: Final = Look(smallest=0.94, largest=1.0, reach=0.03, tilt_degrees=0.0, saturation=(0.15, 0.5))


def ancestral() -> DDPMScheduler:
    """The same schedule for ancestral sampling; any other of diffusers' schedulers can be made from its config."""
    shared = scheduler(clip_sample=True).config
    names = ("num_train_timesteps", "beta_schedule", "prediction_type", "timestep_spacing", "clip_sample")
    return DDPMScheduler(**{name: shared[name] for name in names}, variance_type="fixed_small")


def write(folder: Path, task: DiffusionTask) -> None:
    """Write ``unet/`` and ``scheduler/`` so that ``DiffusionPipeline.from_pretrained`` loads the folder."""
    DDPMPipeline(task.average.half(), ancestral()).save_pretrained(folder, safe_serialization=True)
    task.average.float()
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def main() -> None:
    """Train from the command line, then write the pipeline."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.ddpm", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished pipeline here")
    arguments = parser.parse_args()
    prepare(arguments)
    pictures, _ = PortraitSet(arguments.data_dir, SMILEYS).batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    settings = DiffusionSettings(seed=arguments.seed, channels=(32, 56, 72), time_bias=0.0)
    task = DiffusionTask(settings, pictures, None)
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))
    if arguments.out:
        write(arguments.out, task)


if __name__ == "__main__":
    main()
