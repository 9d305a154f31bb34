"""A figure, its baseline, and the table that shows both."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measurement. `goal` says what the design promises, in words."""

    name: str
    value: float
    unit: str
    baseline: float | None
    baseline_name: str
    goal: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value ÷ baseline."""
        return self.value / self.baseline if self.baseline else None


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title="Safelight, measured")
    for heading in ("measurement", "value", "baseline", "ratio", "goal", "note"):
        table.add_column(heading)
    for figure in figures:
        base = f"{figure.baseline:.2f} ({figure.baseline_name})" if figure.baseline is not None else "–"
        ratio = f"{figure.ratio:.3f}" if figure.ratio is not None else "–"
        table.add_row(figure.name, f"{figure.value:.2f} {figure.unit}", base, ratio, figure.goal, figure.note)
    Console(width=160).print(table)


def spread(values: Sequence[float]) -> str:
    """Minimum, median and maximum, for notes."""
    return f"min {min(values):.2f}, median {statistics.median(values):.2f}, max {max(values):.2f}, n {len(values)}"
