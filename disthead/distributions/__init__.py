"""Distributions of any family: densities, probabilities, quantiles, intervals and scores.

`Continuous`, `Discrete` and `Vector` are the bases of the distributions of a family.
"""

from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.continuous import Continuous
from disthead.distributions.discrete import Discrete
from disthead.distributions.independent import Independent
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.vector import Vector

__all__ = [
    "Affine",
    "Arc",
    "Continuous",
    "Discrete",
    "Distribution",
    "Independent",
    "Interval",
    "Vector",
]
