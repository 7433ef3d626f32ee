"""Numbers into sentences: is a difference more than chance, and is it large enough to matter?"""

from .comparison import comparison
from .conditional import bias_by_group, by_group, distances, events_by_group
from .events import classes, confidence, majority, probabilities
from .intervals import bias, coverage, shape
from .outliers import outliers
from .spread import honest_spread, informative, sharp
from .vectors import dependence, surprise, together
