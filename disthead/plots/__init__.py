"""Pictures of distributions: an `ax` of matplotlib in, the same `ax` out. matplotlib loads when a plot is drawn."""

from .band import interval_chart, prediction_band
from .calibration import (
    coverage_by_group,
    coverage_curve,
    frequency_by_group,
    pit_histogram,
    reliability_diagram,
    worm_plot,
    worm_reach,
)
from .frequencies import confusion_matrix, hanging_rootogram, rose_plot
from .uncertainty import sharpness, sparsification, spread_skill
