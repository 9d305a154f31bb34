"""What the monitor found, as it is shown."""

from api.health.schemas import CheckState, FiguresView, InvariantsView, InvariantView
from models.invariants import INVARIANTS, Health, Invariant


def state_of(health: Health, invariant: Invariant) -> CheckState:
    """All that everybody may know of a check."""
    found = health.violation(invariant.name)
    return CheckState.OK if found is None else CheckState(invariant.severity.value)


def invariants_view(health: Health) -> InvariantsView:
    """With ids and names, for operators."""
    return InvariantsView(
        examined_at=health.examined_at,
        broken=health.broken,
        checks=[_view(health, invariant) for invariant in INVARIANTS],
        figures=FiguresView.model_validate(health.figures, from_attributes=True),
    )


def _view(health: Health, invariant: Invariant) -> InvariantView:
    found = health.violation(invariant.name)
    return InvariantView(
        name=invariant.name,
        severity=invariant.severity,
        state=state_of(health, invariant),
        promise=invariant.promise,
        advice=invariant.advice,
        count=found.count if found else 0,
        examples=found.examples if found else (),
        seconds=found.seconds if found else None,
    )
