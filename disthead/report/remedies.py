"""The next step after a verdict: recalibrate, another family, more rows, or what a check needs to be made."""

from dataclasses import replace

from disthead.report.verdict import Verdict

__all__ = ["with_remedy"]


def with_remedy(verdict: Verdict, kind: str) -> Verdict:
    """The verdict with its next step, for targets of that kind; without one where nothing needs to be done."""
    if verdict.remedy or verdict.status in ("good", "note"):
        return verdict
    if verdict.status == "unclear":
        return replace(verdict, remedy=_MORE_ROWS)
    if verdict.status == "not examined":
        return replace(verdict, remedy=_missing(verdict.sentence, verdict.aspect))
    return replace(verdict, remedy=_fault(verdict.aspect, kind))


_MORE_ROWS = (
    "Evaluate on more rows, of several folds together if need be: disthead.evaluate takes batches, [(dist, y), ...]."
)


def _missing(reason: str, aspect: str) -> str:
    """What a check lacked."""
    if "no group" in reason:
        return "Give a label for each row: evaluate(..., group=labels), or disthead evaluate --group COLUMN."
    if "no features" in reason:
        return "Give the columns to look along: evaluate(..., features=data_frame)."
    if "no baseline" in reason:
        return (
            "Give another forecast of the same rows, such as the fit without features: evaluate(..., baseline=dist); "
            "disthead evaluate does so by itself."
        )
    if "infinite" in reason or "do not exist" in reason:
        return "Rely on the intervals, the shape and the reliability of quantiles, which need no variance."
    return ""


def _fault(aspect: str, kind: str) -> str:
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
        return f"Look at these rows first: a wrong record or a missed feature. If they are right, {_HEAVIER[kind]}."
    if aspect == "impossible outcomes":
        return f"Use a family whose support holds every outcome, or probabilities above zero: {_recalibrate(kind)}"
    if aspect == "does the spread inform?":
        return "Predict the scale from the features: leave it out of shared= and fixed=, and train for longer."
    if aspect == "error against spread":
        return f"Predict the scale from the features, not by fixed= or shared=; or {_lower_first(_recalibrate(kind, 'ScaleCalibration'))}"
    if aspect == "dependence between outputs":
        return "Use a family that learns dependence: DistributionHead('multivariate_normal', in_features, event_shape=(D,))."
    if aspect == "all outputs together":
        return "Mend the outputs one by one first; then DistributionHead('multivariate_normal', in_features, event_shape=(D,))."
    if aspect == "surprise" or kind == "ranking":
        return (
            "Regularise (weight decay, early stopping) if the model is too sure, train for longer if it is not sure enough; "
            "or average several: from disthead.families import ensemble."
        )
    method = {"shape": "QuantileRecalibration", "bias": "QuantileRecalibration"}.get(aspect, "")
    if aspect.startswith("reliability of the") and kind in ("number", "count"):
        method = "QuantileRecalibration"
    if aspect == "reliability of each class":
        method = "VectorScaling"
    other = _OTHER_FAMILY.get(kind, "") if aspect == "shape" else ""
    return _recalibrate(kind, method) + other


_METHODS = {
    "number": "ScaleCalibration",
    "count": "ScaleCalibration",
    "direction": "ScaleCalibration",
    "vector": "ScaleCalibration",
    "binary": "BetaCalibration",
    "classes": "TemperatureScaling",
}
_HEAVIER = {
    "number": "a family with heavier tails: student_t, or a mixture",
    "count": "a family with more spread: negative_binomial",
    "direction": "a mixture with component='von_mises'",
    "binary": "the model is too sure: recalibrate it by BetaCalibration",
    "classes": "the model is too sure: recalibrate it by TemperatureScaling",
    "ranking": "the model is too sure: regularise it, or average several",
}
_OTHER_FAMILY = {
    "number": " Or try another family: student_t for heavy tails, log_normal or gamma for skewness, mixture for several peaks.",
    "count": " Or try another family: negative_binomial for more spread than poisson has.",
    "direction": " Or try another family: mixture with component='von_mises'.",
}


def _recalibrate(kind: str, method: str = "") -> str:
    if kind == "direction":  # one recalibration knows circles, and none mixtures of them
        return _recalibrate("vector", "ScaleCalibration") + " A mixture of directions: more components, or more epochs."
    method = method or _METHODS.get(kind, "")
    if not method:
        return "Train on more rows, or with other features."
    return (
        "Recalibrate on rows that the model has not seen: "
        f"disthead recalibrate --ckpt FILE --method {method}, or in Python "
        f"from disthead.calibration import {method}; {method}().fit(dist, y)."
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
