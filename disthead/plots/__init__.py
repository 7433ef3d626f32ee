"""Pictures of distributions, of losses, and of what `disthead.diagnostics` computes.

Each function draws on axes of matplotlib, `ax`, and returns them. It sets labels and a legend, and
raises nothing of its own except where its docstring says so. matplotlib is imported when a plot is
drawn.
"""

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
from .losses import loss_curve
from .uncertainty import sharpness, sparsification, spread_skill
