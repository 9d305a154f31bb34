"""Which checkpoint does a job: the one that is named, or the oldest that can; and over which other one it runs."""

from dataclasses import replace

from api.jobs.schemas import JobBody
from api.services import Services
from models.checkpoints import Checkpoint, find_for_task, list_checkpoints
from models.errors import ValidationFailedError
from models.jobs import CheckpointCard
from models.params import ControlParams, TaskParams
from models.params.base import problem

BASE_TASK = "text_to_image"
"""What a checkpoint does that a ControlNet can run over."""


def choose_card(services: Services, body: JobBody) -> CheckpointCard:
    """The checkpoint that is named, or else the oldest that can do what the params ask for; first those made for it.

    Where none can, the oldest that does the task: its own words say what it allows.

    Raises:
        ValidationFailedError: there is none, or not the one that it runs over.
    """
    cards = load_cards(services, body.task, body.checkpoint)
    cards = tuple(sorted(cards, key=lambda card: not body.params.suits(card.profile)))
    chosen = next((card for card in cards if _can(services, card, body.params)), cards[0])
    return over_base(services, chosen, body.params)


def load_cards(services: Services, task: str, name: str | None) -> tuple[CheckpointCard, ...]:
    """The checkpoints that may run it, at least one, as of at most a second ago."""

    def load() -> tuple[CheckpointCard, ...]:
        with services.reader() as session:
            rows = () if name is not None else list_checkpoints(session, task)
            return tuple(_card(row) for row in rows or (find_for_task(session, task, name),))

    return services.cards.get((task, name), load)


def over_base(services: Services, card: CheckpointCard, params: TaskParams) -> CheckpointCard:
    """The card of a bare ControlNet with the bounds of what it is to run over; any other as it is.

    Raises:
        ValidationFailedError: there is no such base; names `/params/base`.
    """
    name = base_of(card, params)
    return replace(card, profile=card.profile.over(load_base(services, name).profile)) if name else card


def base_of(card: CheckpointCard, params: TaskParams) -> str:
    """The name of what it is to run over; empty where it runs by itself, or nobody says over what."""
    if not card.profile.takes_base or not isinstance(params, ControlParams):
        return ""
    return params.base or card.profile.base


def load_base(services: Services, name: str) -> CheckpointCard:
    """The checkpoint of that name, if a ControlNet can run over it as far as its card says.

    Raises:
        ValidationFailedError: it is not there, or does not draw from text; names `/params/base`.
    """
    try:
        (card,) = load_cards(services, BASE_TASK, name)
    except ValidationFailedError as error:
        raise ValidationFailedError([problem("base", error.fields[0].code, error.fields[0].message)]) from error
    if card.family != "diffusers":
        raise ValidationFailedError([problem("base", "no_base", f"A ControlNet does not run over {name!r}.")])
    return card


def _can(services: Services, card: CheckpointCard, params: TaskParams) -> bool:
    try:
        return not params.problems(over_base(services, card, params).profile)
    except ValidationFailedError:
        return False


def _card(row: Checkpoint) -> CheckpointCard:
    return CheckpointCard(row.id, row.name, row.family, row.revision, row.pool, row.profile, row.seconds_per_step)
