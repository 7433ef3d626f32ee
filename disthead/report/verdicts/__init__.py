"""Verdicts from numbers: whether a difference is more than chance, and large enough to matter."""

from .comparison import comparison
from .conditional import bias_by_group, by_group, distances, events_by_group
from .events import classes, confidence, majority, probabilities
from .intervals import bias, coverage, shape
from .lifetimes import d_calibration, order, over_time
from .outliers import outliers
from .spread import error_against_spread, informative, sharp
from .vectors import dependence, joint_density, surprise
