"""The evaluation of predictions: `evaluate(dist, y, out="folder")` says how good they are, to anybody."""

from .evaluation import evaluate
from .inputs import Batch
from .result import Evaluation
from .verdict import Score, Verdict
