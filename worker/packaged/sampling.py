"""Drawing the next token: temperature and the nucleus, each text with a generator of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor


def discourage(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that a text has used already less likely (Keskar et al. 2019): scores and `seen` are (B, V)."""
    lower = torch.where(scores > 0, scores / penalty, scores * penalty)
    return torch.where(seen, lower, scores)


def nucleus_sample(
    scores: Tensor, generators: Sequence[torch.Generator], *, temperature: float, top_p: float
) -> Tensor:
    """(B, V) scores to (B,) drawn tokens: from the fewest whose probabilities add up to `top_p` (Holtzman et al. 2020).

    What a text draws depends on its own scores and its own generator alone, whatever stands beside it.
    """
    probabilities = torch.softmax(scores / temperature, -1)
    ordered, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= top_p, 0.0)
    drawn = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(ordered, generators, strict=True)]
    return order.gather(-1, torch.stack(drawn)).squeeze(-1)
