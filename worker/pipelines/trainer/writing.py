"""The new checkpoint's folder: weights, `safelight.json`, a README that says where it comes from, and a sample sheet.

Nothing here depends on the time or the machine: the same request gives the same files.
"""

import json
from pathlib import Path
from typing import Any

from models.params import TrainParams
from worker.pipelines.trainer.material import Material
from worker.pipelines.trainer.methods import RECIPES

CARD_NAME = "safelight.json"
UNSAID = "not said"
MAX_LISTED = 100


def write_checkpoint(
    task: Any, folder: Path, params: TrainParams, material: Material, steps: int, figures: dict[str, float]
) -> None:
    """Write all of it but the sample sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[params.method]
    recipe.write(task, folder)
    card = {
        "name": params.name,
        "family": recipe.family,
        "tasks": recipe.tasks(),
        "pool": recipe.pool.value,
        "profile": recipe.profile(material),
        "licence": one_line(params.licence),
        "description": description(params, material),
    }
    (folder / CARD_NAME).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(params, material, steps, figures), encoding="utf-8")


def description(params: TrainParams, material: Material) -> str:
    """One line."""
    base = f" of {params.base}" if params.base else ""
    return f"{params.method.value}{base}, trained by a job on {material.facts['used']} pictures."


def readme(params: TrainParams, material: Material, steps: int, figures: dict[str, float]) -> str:
    """The card: data, licence, seed, settings, metrics."""
    facts, (width, height) = material.facts, material.facts["size"]
    classes = [f"{name} ({count})" for name, count in facts["classes"].items()]
    listed = ", ".join(classes[:MAX_LISTED]) + (
        f" and {len(classes) - MAX_LISTED} more" if classes[MAX_LISTED:] else ""
    )
    settings = params.model_dump(mode="json", exclude={"data_set", "name", "licence", "caption"}, exclude_none=True)
    lines = [
        f"# {params.name}",
        "",
        description(params, material),
        "",
        "![Samples](samples.png)",
        "",
        "## Data",
        "",
        f"- **Pictures**: {facts['used']} of {facts['pictures']}, cut to {width} × {height} pixels.",
        *([f"- **Classes**: {listed}."] if classes else []),
        f"- **Licence of the pictures**: {one_line(params.licence) or UNSAID}.",
        "",
        "## Training",
        "",
        f"- **Method**: {params.method.value}" + (f", adapting {params.base}." if params.base else "."),
        f"- **Seed**: {params.seed}. **Steps**: {steps:,}.",
        f"- **Settings**: `{json.dumps(settings, sort_keys=True)}`",
        "",
        "## Metrics",
        "",
        "Means over the last tenth of the steps, on the pictures that it was trained on:",
        "",
        *[f"- {name}: {value:.6g}" for name, value in sorted(figures.items())],
        "",
    ]
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Of what a client wrote."""
    return " ".join(text.split())
