"""Options that every training command has, and what they set up."""

import argparse
from pathlib import Path

import torch

from worker.training.loop import Budget, Keeping


def add_common(parser: argparse.ArgumentParser) -> None:
    """Folders, seed, budget, threads."""
    parser.add_argument("--data-dir", type=Path, required=True, help="cache of the fetched packages")
    parser.add_argument("--run-dir", type=Path, required=True, help="state, log and sheets; an existing run resumes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-steps", type=int, default=None, help="stop after so many steps")
    parser.add_argument(
        "--max-minutes", type=float, default=None, help="stop after so many minutes; the rate falls to it"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheet-steps", type=int, default=1000, help="steps between sample sheets")


def prepare(arguments: argparse.Namespace) -> None:
    """Check the budget, set the threads and make the run folder."""
    if arguments.max_steps is None and arguments.max_minutes is None:
        raise SystemExit("give --max-steps or --max-minutes")
    torch.set_num_threads(arguments.threads)
    arguments.run_dir.mkdir(parents=True, exist_ok=True)


def budget_of(arguments: argparse.Namespace) -> Budget:
    """The budget asked for."""
    return Budget(arguments.max_steps, arguments.max_minutes)


def keeping_of(arguments: argparse.Namespace) -> Keeping:
    """Where the run is kept."""
    return Keeping(arguments.run_dir, sheet_steps=arguments.sheet_steps)
