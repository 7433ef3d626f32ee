"""The evaluation of predictions, `evaluate(dist, y, out="folder")`, as numbers and as a report."""

from .evaluation import evaluate
from .inputs import Batch
from .result import Evaluation
from .verdict import Score, Verdict
