"""The linear multistep sampler without scipy: its coefficients are integrals of polynomials, and those are exact."""

import weakref
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial


def fresh_lms(config: dict[str, Any]) -> Any:
    """An `LMSDiscreteScheduler` of diffusers with our coefficients (diffusers itself refuses to run without scipy)."""
    from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler

    sampler = LMSDiscreteScheduler.from_config(config)
    itself = weakref.proxy(sampler)  # a circle would keep its tensors until the collector comes by
    sampler.get_lms_coefficient = lambda order, place, back: lms_coefficient(itself.sigmas, order, place, back)
    return sampler


def lms_coefficient(sigmas: Any, order: int, place: int, back: int) -> float:
    """Weight of the derivative seen `back` steps ago in the step from `sigmas[place]` to `sigmas[place + 1]`.

    Adams-Bashforth for uneven steps: the integral of the Lagrange basis polynomial of that derivative, as in
    k-diffusion (Crowson 2022) after Karras et al. 2022, section 3.
    """
    nodes = [float(sigmas[place - other]) for other in range(order)]
    basis = Polynomial([1.0])
    for other, node in enumerate(nodes):
        if other != back:
            basis *= Polynomial([-node, 1.0]) / (nodes[back] - node)
    integral = basis.integ(lbnd=float(sigmas[place]))
    return float(np.real(integral(float(sigmas[place + 1]))))
