"""What is wrong with a forecast, in numbers: `disthead.plots` draws them."""

from .bands import CoverageCurve, PITBand, coverage_curve, pit_band
from .frequencies import Confusion, Rootogram, Rose, confusion, rootogram, rose
from .isotonic import isotonic_mean, isotonic_quantile
from .reliability import Reliability, exceedance_reliability, quantile_reliability, reliability
from .targets import TargetCheck, TargetWarning, check_continuous_target
from .uncertainty import Sharpness, Sparsification, SpreadSkill, sharpness, sparsification, spread_skill
from .worm import Worm, worm, worms
