"""Distributions of any family: densities, probabilities, quantiles, intervals and scores."""

from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.independent import Independent
from disthead.distributions.interval import Arc, Interval

__all__ = ["Affine", "Arc", "Distribution", "Independent", "Interval"]
