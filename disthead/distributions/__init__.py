"""Distributions of any family: densities, probabilities, quantiles, intervals and scores.

`Continuous`, `Discrete` and `Vector` are the bases of the distributions of a family. `CTC` and
`LinearChain`, over sequences of labels, are no families: they are made from the scores of a model.
"""

from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.continuous import Continuous
from disthead.distributions.ctc import CTC
from disthead.distributions.discrete import Discrete
from disthead.distributions.independent import Independent
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.linear_chain import LinearChain
from disthead.distributions.linear_chain_head import LinearChainHead
from disthead.distributions.vector import Vector

__all__ = [
    "CTC",
    "Affine",
    "Arc",
    "Continuous",
    "Discrete",
    "Distribution",
    "Independent",
    "Interval",
    "LinearChain",
    "LinearChainHead",
    "Vector",
]
