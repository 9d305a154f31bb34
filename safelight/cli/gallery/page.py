"""The pictures of the gallery, small enough to be kept, and the page that shows them with their requests."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safelight.cli.gallery.making import Made
from safelight.cli.gallery.rows import CREDIT, From
from safelight.cli.sheet import contact_sheet

TILE_PIXELS = 192
ANIMATIONS = frozenset({".gif", ".webp", ".mp4"})
PICTURES = frozenset({".png", ".jpg"})
HEAD = """# Gallery

Everything that a fresh installation draws, made on a CPU by `make gallery`. Each row is one job: the same request gives
the same picture. Pictures of 32 and 64 pixels are shown enlarged, without smoothing.
"""


def write_page(made: Sequence[Made], folder: Path, page: Path) -> None:
    """Write `page`, with its pictures in `folder` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_section(each, folder, page) for each in made if each.row.title]
    parts = [HEAD, *sections, f"---\n\n{CREDIT}\n"]
    page.write_text("\n".join(parts), encoding="utf-8")


def _section(made: Made, folder: Path, page: Path) -> str:
    lines = [f"## {made.row.title}", ""]
    if made.job is None:
        return "\n".join([*lines, f"*Missing: {made.why}*", ""])
    shown = _picture(made, folder)
    if shown is not None:
        lines += [f"![{made.row.title}]({shown.relative_to(page.parent).as_posix()})", ""]
    lines += _words(made)
    checkpoint = made.job.checkpoint.name
    lines += [f"`{checkpoint}`, {made.seconds:.1f} s.", "", "```json", _request(made), "```", ""]
    return "\n".join(lines)


def _picture(made: Made, folder: Path) -> Path | None:
    """One file for the row: an animation as it is, else a sheet of inputs and outputs."""
    for path in made.files:
        if path.suffix in ANIMATIONS - {".webp"} or (path.suffix == ".webp" and made.row.task == "interpolate"):
            target = folder / f"{made.row.key}{path.suffix}"
            shutil.copyfile(path, target)
            return target
    pictures = [path for path in (*made.inputs, *made.files) if path.suffix in PICTURES]
    if not pictures:
        return None
    return contact_sheet(pictures, folder / f"{made.row.key}.png", tile_pixels=TILE_PIXELS, most_pixels=2 * TILE_PIXELS)


def _words(made: Made) -> list[str]:
    """Texts and figures of the result."""
    result = dict(made.job.result) if made.job else {}
    for own in ("images", "artifacts", "attempt"):
        result.pop(own, None)
    lines = [f"> {text}\n" for text in result.pop("texts", [])]
    if result:
        lines += ["```json", json.dumps(_rounded(result), ensure_ascii=False, indent=1), "```", ""]
    return lines


def _request(made: Made) -> str:
    body: dict[str, Any] = {"task": made.row.task}
    if made.row.checkpoint:
        body["checkpoint"] = made.row.checkpoint
    body["params"] = {name: _named(value) for name, value in made.row.params.items()}
    if made.row.then:
        body["then"] = list(made.row.then)
    return json.dumps(body, ensure_ascii=False)


def _named(value: Any) -> Any:
    if not isinstance(value, From):
        return value
    if value.row in {"", "data-set"}:
        return {"upload": "…"}
    return {"job": f"… ({value.row})"} | ({"index": value.index} if value.index else {})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return value
