"""The next step after a verdict: recalibrate, another family, more rows, or what a check needs to be made."""

from dataclasses import replace

from disthead.report.findings import Findings
from disthead.report.verdict import Verdict
from disthead.report.wording import enumerated
from disthead.texts import quoted

__all__ = ["with_remedy"]


def with_remedy(verdict: Verdict, found: Findings, checkpoint: str = "") -> Verdict:
    """The verdict with its next step, from what was found out about its output; without one where nothing needs to be done.

    Commands and calls stand between backticks; those on a model name its checkpoint where it is known.
    """
    if verdict.remedy or verdict.status in ("good", "note"):
        return verdict
    if verdict.status == "unclear":
        return replace(verdict, remedy="Evaluate on more rows.")
    if verdict.status == "not examined":
        return replace(verdict, remedy=_missing(verdict.sentence, found.kind))
    remedy = _fault(verdict.aspect, found)
    return replace(verdict, remedy=remedy.replace(_CHECKPOINT, quoted(checkpoint) if checkpoint else "FILE"))


_CHECKPOINT = "<checkpoint>"


def _missing(reason: str, kind: str) -> str:
    """What a check lacked."""
    if "no group was" in reason:
        return "Give a label for each row: `evaluate(..., group=labels)`, or `disthead evaluate --group COLUMN`."
    if "no features were" in reason:
        return "Give the columns to look along: `evaluate(..., features=data_frame)`."
    if "no baseline was" in reason:
        return (
            "Give another forecast of the same rows, such as the fit without features: `evaluate(..., baseline=dist)`; "
            "`disthead evaluate` does so by itself."
        )
    if "infinite" in reason or "do not exist" in reason:
        return "Rely on the intervals, the shape and the reliability of quantiles, which need no variance."
    if "nothing to sort by" in reason and kind == "continuous":
        return "If some rows are harder to predict than others, predict the scale from the features, without `fixed=` or `shared=`."
    return ""


def _fault(aspect: str, found: Findings) -> str:
    kind = found.kind
    if aspect.startswith(("calibration by", "bias by")):
        column = "the group" if aspect.endswith("group") else "this column"
        return (
            f"Let the model see {column}, or use it better (a wider or deeper network, more epochs); recalibration mends only "
            "what is wrong for all rows."
        )
    if aspect.startswith("against"):
        return (
            "The features do not help on these rows: look for a shift between them and the rows that the model was trained on, "
            "and train on more rows."
        )
    if aspect == "outliers":
        return "Look at these rows first: a wrong record or a missed feature." + _if_they_are_right(found)
    if aspect == "impossible outcomes":
        return f"Use a family whose support holds every outcome, or probabilities above zero: {_lower_first(_recalibrate(kind))}"
    if aspect == "does the spread inform?":
        return "Predict the scale from the features: leave it out of `shared=` and `fixed=`, and train for longer."
    if aspect == "error against spread":
        recalibrate = _lower_first(_recalibrate(kind, "ScaleCalibration"))
        return f"Predict the scale from the features, not by `fixed=` or `shared=`; or {recalibrate}"
    if aspect == "dependence between outputs":
        return f"Use a family that learns dependence: {_JOINT}"
    if aspect == "all outputs together":
        return f"Mend the outputs one by one first; then their dependence: {_JOINT}"
    if aspect == "surprise" or kind == "ranking":
        return (
            "Regularise (weight decay, early stopping) if the model is too sure, train for longer if it is not sure enough; "
            "or average several: `from disthead.families import ensemble`."
        )
    method = {"shape": "QuantileRecalibration", "bias": "QuantileRecalibration"}.get(aspect, "")
    if aspect.startswith("reliability of the") and kind in ("continuous", "count"):
        method = "QuantileRecalibration"
    if aspect == "reliability of each class":
        method = "VectorScaling"
    return _recalibrate(kind, method) + (_other_families(found) if aspect == "shape" else "")


_METHODS = {
    "continuous": "ScaleCalibration",
    "count": "ScaleCalibration",
    "direction": "ScaleCalibration",
    "vector": "ScaleCalibration",
    "binary": "BetaCalibration",
    "classes": "TemperatureScaling",
}
# Family -> what it has that others lack; those of heavier tails, or more spread, for each kind.
_HEAVIER = {
    "continuous": {"student_t": "for heavy tails", "mixture": "for several peaks or heavy tails"},
    "count": {"negative_binomial": "for more spread than a poisson has"},
    "direction": {"mixture": "with component='von_mises'"},
}
_OTHER = {
    "continuous": {"log_normal": "for skewness of positive targets", "gamma": "for the same, with a lighter tail"}
}
_JOINT = "`DistributionHead('multivariate_normal', in_features, event_shape=(D,))`."


def _if_they_are_right(found: Findings) -> str:
    if found.kind == "ranking":
        return " If they are right, the model is too sure: regularise it, or average several."
    if found.kind in ("binary", "classes"):
        return f" If they are right, the model is too sure. {_recalibrate(found.kind)}"
    heavier = [] if found.is_too_wide else [name for name in _HEAVIER.get(found.kind, {}) if name not in found.families]
    if not heavier:
        return " If they are right, train on more rows of their kind."
    more = "more spread" if found.kind == "count" else "heavier tails"
    return f" If they are right, try a family with {more}: {' or '.join(f'`{name}`' for name in heavier)}."


def _other_families(found: Findings) -> str:
    """None that is in use, and none of heavier tails where the spread is too large."""
    others = _OTHER.get(found.kind, {}) | ({} if found.is_too_wide else _HEAVIER.get(found.kind, {}))
    named = [f"`{name}` {purpose}" for name, purpose in others.items() if name not in found.families]
    return f" Or try another family: {enumerated(named)}." if named else ""


def _recalibrate(kind: str, method: str = "") -> str:
    if kind == "direction":  # one recalibration knows circles, and none mixtures of them
        return _recalibrate("vector", "ScaleCalibration") + " A mixture of directions: more components, or more epochs."
    method = method or _METHODS.get(kind, "")
    if not method:
        return "Train on more rows, or with other features."
    return (
        "Recalibrate on rows that the model has not seen: "
        f"`disthead recalibrate --ckpt {_CHECKPOINT} --method {method}`, or in Python "
        f"`from disthead.calibration import {method}; {method}().fit(dist, y)`."
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
