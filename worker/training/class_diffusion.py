"""Train class-conditional diffusion on emoji of some dozens of names, and write it."""

import argparse
from pathlib import Path
from typing import Final

from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.diffusion import DiffusionSettings, DiffusionTask
from worker.training.loop import Pace, train
from worker.training.nouns import nouns
from worker.training.portraits import Look, PortraitSet

SIDE: Final = 32
PORTRAITS: Final = 4800
LOOK: Final = Look(smallest=0.94, largest=1.0, reach=0.03, tilt_degrees=0.0, saturation=(0.15, 0.5))
CLASSES: Final = (
    "apple",
    "balloon",
    "bee",
    "birthday cake",
    "bus",
    "cactus",
    "car",
    "cat",
    "chick",
    "crab",
    "donut",
    "fish",
    "frog",
    "ghost",
    "hamburger",
    "ladybug",
    "mushroom",
    "owl",
    "penguin",
    "robot",
    "rocket",
    "strawberry",
    "sunflower",
    "watermelon",
)


def codepoints_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The code points of some English nouns of the table."""
    table = {noun.english: noun.codepoints for noun in nouns()}
    return tuple(table[name] for name in names)


def main() -> None:
    """Train from the command line, then write the folder."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.class_diffusion", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished model here")
    arguments = parser.parse_args()
    prepare(arguments)
    portraits = PortraitSet(arguments.data_dir, codepoints_of(CLASSES))
    pictures, labels = portraits.batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    # A car's and a bus's mirror image is as good; nothing in the list has writing or a clock's hands.
    task = DiffusionTask(DiffusionSettings(seed=arguments.seed), pictures, labels, CLASSES)
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))
    if arguments.out:
        task.finished().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
