"""The next step after a verdict, such as a recalibration, another family or more rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from disthead.distributions.base import CLASSES
from disthead.report.findings import CENSORED, Findings
from disthead.report.verdict import Verdict
from disthead.report.wording import enumerated
from disthead.texts import quoted

__all__ = ["with_remedy"]

About = Mapping[str, str]


def with_remedy(verdict: Verdict, findings: Findings, about: About) -> Verdict:
    """The verdict with its next step, if it needs one.

    Commands and calls are between backticks.

    Args:
        verdict: a verdict; if it has a next step, it keeps that.
        findings: those about its output.
        about: entries about the model: "checkpoint", the file that commands name, and
            "recalibration", the class of `disthead.calibration` that was applied already.
    """
    if verdict.remedy or verdict.status in ("good", "note", "not examined"):
        return verdict
    if verdict.status == "unclear":
        return replace(verdict, remedy="Evaluate on more rows.")
    for beginning, remedy in _REMEDIES.items():
        if verdict.aspect.startswith(beginning):
            return replace(verdict, remedy=remedy(findings, about))
    return replace(verdict, remedy=_recalibrate(findings, about))


def _by_group(findings: Findings, about: About) -> str:
    return _by_feature(findings, about).replace("this column", "the group", 1)


def _by_feature(findings: Findings, about: About) -> str:
    return (
        "Let the model see this column, or use it better (a wider or deeper network, more epochs); "
        "recalibration mends only what is wrong for all rows."
    )


def _against(findings: Findings, about: About) -> str:
    return (
        "The features do not help on these rows: look for a shift between them and the rows that "
        "the model was trained on, and train on more rows."
    )


def _impossible(findings: Findings, about: About) -> str:
    if findings.kind in CLASSES or findings.kind == "ranking":
        return "Predict no probability of exactly zero: give `logits` in place of `probs`."
    return "Use a family whose support holds every outcome."


def _uninformative(findings: Findings, about: About) -> str:
    return (
        "Look for a feature that is coded the other way round on these rows, and train for longer, "
        "on more rows: recalibration keeps the order of the spreads."
    )


def _error_against_spread(findings: Findings, about: About) -> str:
    if findings.has_one_spread:
        step = "Predict the scale from the features, not by `fixed=` or `shared=`"
    else:
        step = "Train for longer and on more rows, until the spread follows the features"
    return f"{step}; or {_lower_first(_recalibrate(findings, about))}"


def _dependence(findings: Findings, about: About) -> str:
    if "multivariate_normal" in findings.families:
        return "The family learns dependence already: train for longer, and on more rows."
    if "low_rank_normal" in findings.families:
        return (
            "Give the dependence more freedom: a larger `rank=`, or the family "
            "`multivariate_normal`."
        )
    return (
        "Use a family that learns dependence: `DistributionHead('multivariate_normal', "
        "in_features, event_shape=(D,))`."
    )


def _joint(findings: Findings, about: About) -> str:
    return (
        f"Mend the outputs one by one first, then their dependence. {_dependence(findings, about)}"
    )


def _confidence(findings: Findings, about: About) -> str:
    step = (
        "Regularise (weight decay, early stopping) if the model is too sure, train for longer if "
        "it is not sure enough"
    )
    if findings.is_ensemble:
        return f"{step}."
    return f"{step}; or average several: `from disthead.families import ensemble`."


def _shape(findings: Findings, about: About) -> str:
    """Recalibration, or other families; no heavier tails where forecasts are too wide."""
    others = _SKEWED.get(findings.kind, {}) | (
        {} if findings.is_too_wide else _HEAVIER.get(findings.kind, {})
    )
    named = [
        f"`{name}` {purpose}" for name, purpose in others.items() if name not in findings.families
    ]
    family = f" Or try another family: {enumerated(named)}." if named else ""
    return _quantiles(findings, about) + family


def _quantiles(findings: Findings, about: About) -> str:
    return _recalibrate(findings, about, "QuantileRecalibration")


def _each_class(findings: Findings, about: About) -> str:
    return _recalibrate(findings, about, "VectorScaling")


def _outliers(findings: Findings, about: About) -> str:
    look = "Look at these rows first: a wrong record or a missed feature. If they are right,"
    if findings.kind == "ranking":
        return (
            f"{look} the model is too sure: regularise "
            f"it{'' if findings.is_ensemble else ', or average several'}."
        )
    if findings.kind in CLASSES:
        return f"{look} the model is too sure. {_recalibrate(findings, about)}"
    heavier = (
        []
        if findings.is_too_wide
        else [name for name in _HEAVIER.get(findings.kind, {}) if name not in findings.families]
    )
    if not heavier:
        return f"{look} train on more rows of their kind."
    more = "more spread" if findings.kind == "count" else "heavier tails"
    return f"{look} try a family with {more}: {' or '.join(f'`{name}`' for name in heavier)}."


# Remedies by the beginning of an aspect; the first that fits counts. All others: `_recalibrate`.
_REMEDIES: dict[str, Callable[[Findings, About], str]] = {
    "calibration by group": _by_group,
    "bias by group": _by_group,
    "calibration by": _by_feature,
    "bias by": _by_feature,
    "against": _against,
    "outliers": _outliers,
    "impossible outcomes": _impossible,
    "does the spread inform?": _uninformative,
    "error against spread": _error_against_spread,
    "dependence between outputs": _dependence,
    "all outputs together": _joint,
    "surprise": _confidence,
    "shape": _shape,
    "bias": _quantiles,
    "reliability of each class": _each_class,
    "reliability of the": _quantiles,
}
# The recalibrations for each kind, those that change more after those that change less.
_METHODS = {
    **dict.fromkeys(("continuous", "count"), ("ScaleCalibration", "QuantileRecalibration")),
    **dict.fromkeys(("direction", "vector"), ("ScaleCalibration",)),
    **dict.fromkeys(("classes", "ordinal"), ("TemperatureScaling", "VectorScaling")),
    "binary": ("BetaCalibration", "IsotonicCalibration"),
}
# The purpose of families for each kind: heavier tails or more variance, and skewness.
_HEAVIER = {
    "continuous": {"student_t": "for heavy tails", "mixture": "for several peaks or heavy tails"},
    "count": {"negative_binomial": "for more spread than a poisson has"},
    "direction": {"mixture": "with component='von_mises'"},
}
_SKEWED = {
    "continuous": {
        "log_normal": "for skewness of positive targets",
        "gamma": "for the same, with a lighter tail",
    }
}


def _recalibrate(findings: Findings, about: About, preferred: str = "") -> str:
    """The advice to recalibrate.

    It names the `preferred` method if that is for this kind, and a later one if the forecasts are
    recalibrated already.
    """
    if findings.kind == CENSORED:
        return (
            "No recalibration learns from censored targets: try another base of the family "
            "`censored`, such as `log_normal` in place of `weibull`, or more features and rows."
        )
    methods, done = _METHODS.get(findings.kind, ()), about.get("recalibration", "")
    if not methods:  # rankings
        return _confidence(findings, about)
    method = preferred if preferred in methods else methods[0]
    if done or "recalibrated" in findings.families:
        remaining = methods[methods.index(done) + 1 :] if done in methods else ()
        if not remaining:
            return (
                "The forecasts are recalibrated already: recalibrate the model anew on rows like "
                "these, or train it on more rows, or with other features."
            )
        method = remaining[-1]
    checkpoint = about.get("checkpoint", "")
    command = (
        f"disthead recalibrate --ckpt {quoted(checkpoint) if checkpoint else 'FILE'} "
        f"--method {method}"
    )
    return (
        f"Recalibrate on rows that the model has not seen: `{command}`, or in Python "
        f"`from disthead.calibration import {method}; {method}().fit(dist, y)`."
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
