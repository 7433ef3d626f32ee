"""The evaluation of predictions: `evaluate(dist, y, out="folder")` says how good they are, to anybody."""

from .evaluation import Batch, Evaluation, evaluate
from .verdict import Score, Verdict
