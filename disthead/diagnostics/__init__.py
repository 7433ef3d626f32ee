"""What is wrong with a forecast, as numbers in frozen dataclasses; `disthead.plots` draws them."""

from .bands import CoverageCurve, PITBand, chance_limit, coverage_curve, pit_band
from .class_reliability import class_reliability
from .dependence import error_correlation, predicted_correlation
from .directions import arc_probability, circular_pit
from .discrimination import Discrimination, discrimination
from .frequencies import (
    Confusion,
    EventFrequency,
    Rootogram,
    Rose,
    confusion,
    event_frequency,
    rootogram,
    rose,
)
from .isotonic import isotonic_mean, isotonic_quantile
from .outliers import Outliers, tail_log_prob
from .reliability import Reliability, exceedance_reliability, quantile_reliability, reliability
from .targets import TargetCheck, TargetWarning, check_continuous_target
from .uncertainty import (
    Sharpness,
    Sparsification,
    SpreadSkill,
    sharpness,
    sparsification,
    spread_skill,
)
from .worm import Worm, worm, worms
