"""The next step after a verdict: recalibrate, another family, more rows; nothing that was done already."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from disthead.distributions.base import CLASSES
from disthead.report.findings import Findings
from disthead.report.verdict import Verdict
from disthead.report.wording import enumerated
from disthead.texts import quoted

__all__ = ["with_remedy"]

About = Mapping[str, str]


def with_remedy(verdict: Verdict, found: Findings, about: About) -> Verdict:
    """The verdict with its next step; without one where nothing needs to be done.

    Commands and calls stand between backticks.

    Args:
        verdict: which keeps the step that it has.
        found: about its output.
        about: what is known of the model: "checkpoint", the file that commands name, and
            "recalibration", the class of `disthead.calibration` that its forecasts went through.
    """
    if verdict.remedy or verdict.status in ("good", "note", "not examined"):
        return verdict
    if verdict.status == "unclear":
        return replace(verdict, remedy="Evaluate on more rows.")
    for beginning, remedy in _REMEDIES.items():
        if verdict.aspect.startswith(beginning):
            return replace(verdict, remedy=remedy(found, about))
    return replace(verdict, remedy=_recalibrate(found, about))


def _by_group(found: Findings, about: About) -> str:
    return _by_feature(found, about).replace("this column", "the group", 1)


def _by_feature(found: Findings, about: About) -> str:
    return (
        "Let the model see this column, or use it better (a wider or deeper network, more epochs); "
        "recalibration mends only what is wrong for all rows."
    )


def _against(found: Findings, about: About) -> str:
    return (
        "The features do not help on these rows: look for a shift between them and the rows that "
        "the model was trained on, "
        "and train on more rows."
    )


def _impossible(found: Findings, about: About) -> str:
    if found.kind in CLASSES or found.kind == "ranking":
        return "Predict no probability of exactly zero: give `logits` in place of `probs`."
    return "Use a family whose support holds every outcome."


def _uninformative(found: Findings, about: About) -> str:
    return (
        "Look for a feature that is coded the other way round on these rows, and train for "
        "longer, on more rows: "
        "recalibration keeps the order of the spreads."
    )


def _errors(found: Findings, about: About) -> str:
    if found.has_one_spread:
        step = "Predict the scale from the features, not by `fixed=` or `shared=`"
    else:
        step = "Train for longer and on more rows, until the spread follows the features"
    return f"{step}; or {_lower_first(_recalibrate(found, about))}"


def _dependence(found: Findings, about: About) -> str:
    if "multivariate_normal" in found.families:
        return "The family learns dependence already: train for longer, and on more rows."
    if "low_rank_normal" in found.families:
        return (
            "Give the dependence more freedom: a larger `rank=`, or the family "
            "`multivariate_normal`."
        )
    return (
        "Use a family that learns dependence: `DistributionHead('multivariate_normal', "
        "in_features, event_shape=(D,))`."
    )


def _together(found: Findings, about: About) -> str:
    return f"Mend the outputs one by one first, then their dependence. {_dependence(found, about)}"


def _sureness(found: Findings, about: About) -> str:
    step = (
        "Regularise (weight decay, early stopping) if the model is too sure, train for longer if "
        "it is not sure enough"
    )
    if found.is_ensemble:
        return f"{step}."
    return f"{step}; or average several: `from disthead.families import ensemble`."


def _shape(found: Findings, about: About) -> str:
    """None of the families that are in use, and none of heavier tails where the spread is too large."""
    others = _SKEWED.get(found.kind, {}) | (
        {} if found.is_too_wide else _HEAVIER.get(found.kind, {})
    )
    named = [
        f"`{name}` {purpose}" for name, purpose in others.items() if name not in found.families
    ]
    family = f" Or try another family: {enumerated(named)}." if named else ""
    return _quantiles(found, about) + family


def _quantiles(found: Findings, about: About) -> str:
    return _recalibrate(found, about, "QuantileRecalibration")


def _each_class(found: Findings, about: About) -> str:
    return _recalibrate(found, about, "VectorScaling")


def _outliers(found: Findings, about: About) -> str:
    look = "Look at these rows first: a wrong record or a missed feature. If they are right,"
    if found.kind == "ranking":
        return (
            f"{look} the model is too sure: regularise "
            f"it{'' if found.is_ensemble else ', or average several'}."
        )
    if found.kind in CLASSES:
        return f"{look} the model is too sure. {_recalibrate(found, about)}"
    heavier = (
        []
        if found.is_too_wide
        else [name for name in _HEAVIER.get(found.kind, {}) if name not in found.families]
    )
    if not heavier:
        return f"{look} train on more rows of their kind."
    more = "more spread" if found.kind == "count" else "heavier tails"
    return f"{look} try a family with {more}: {' or '.join(f'`{name}`' for name in heavier)}."


# The beginning of an aspect -> its remedy, the first that fits; of all others it is to recalibrate.
_REMEDIES: dict[str, Callable[[Findings, About], str]] = {
    "calibration by group": _by_group,
    "bias by group": _by_group,
    "calibration by": _by_feature,
    "bias by": _by_feature,
    "against": _against,
    "outliers": _outliers,
    "impossible outcomes": _impossible,
    "does the spread inform?": _uninformative,
    "error against spread": _errors,
    "dependence between outputs": _dependence,
    "all outputs together": _together,
    "surprise": _sureness,
    "shape": _shape,
    "bias": _quantiles,
    "reliability of each class": _each_class,
    "reliability of the": _quantiles,
}
# The recalibrations of each kind, those that change more behind those that change less.
_METHODS = {
    **dict.fromkeys(
        ("continuous", "mixed", "count"), ("ScaleCalibration", "QuantileRecalibration")
    ),
    **dict.fromkeys(("direction", "vector"), ("ScaleCalibration",)),
    **dict.fromkeys(("classes", "ordinal"), ("TemperatureScaling", "VectorScaling")),
    "binary": ("BetaCalibration", "IsotonicCalibration"),
}
# Family -> what it has that others lack; those of heavier tails, or more spread, for each kind.
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


def _recalibrate(found: Findings, about: About, wanted: str = "") -> str:
    """Advice to recalibrate: by the wanted method where there is one for this kind; of one that was done, by the next."""
    methods, done = _METHODS.get(found.kind, ()), about.get("recalibration", "")
    if not methods:  # rankings
        return _sureness(found, about)
    method = wanted if wanted in methods else methods[0]
    if done or "recalibrated" in found.families:
        left = methods[methods.index(done) + 1 :] if done in methods else ()
        if not left:
            return (
                "The forecasts are recalibrated already: recalibrate the model anew on rows like "
                "these, or train it on "
                "more rows, or with other features."
            )
        method = left[-1]
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
