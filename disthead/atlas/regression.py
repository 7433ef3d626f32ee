"""Errors of a predicted point: likelihoods with a fixed scale by classical names."""

from disthead.atlas.loss import Loss

_CALIBRATION = (
    "None by itself: the scale is not trained. The estimators fit one scale for all rows on rows "
    "held out, which is calibrated where the noise has that shape and the same size everywhere."
)

LOSSES = [
    Loss(
        name="mse",
        kind="likelihood",
        synonyms=(
            "mean squared error",
            "squared error",
            "MSELoss",
            "l2",
            "l2 loss",
            "least squares",
        ),
        assumption="Additive normal noise of the same size in all rows.",
        formula="(y - mean)^2",
        family="normal with the scale fixed; any family that has a mean.",
        estimated="The mean of the target given the features.",
        gradient="Linear in the residual, without bound.",
        robustness="One outlier can move the mean as far as it likes.",
        calibration=_CALIBRATION,
        breaks="Outliers, or noise whose size differs from row to row: noisy rows rule the fit.",
        remedy="nll of normal, which learns the scale of each row; huber, or nll of student_t, "
        "where there are outliers.",
        pytorch="torch.nn.functional.mse_loss(prediction, y)",
        source="Gauss 1809",
        axis="residual",
    ),
    Loss(
        name="mae",
        kind="likelihood",
        synonyms=("mean absolute error", "absolute error", "l1", "l1 loss", "least absolute"),
        assumption="Additive noise with Laplace's distribution, of the same size in all rows.",
        formula="|y - median|",
        family="laplace with the scale fixed; any continuous family that has a median.",
        estimated="The median of the target given the features.",
        gradient="The sign of the residual: bounded, with a jump at 0.",
        robustness="Outliers count by their side of the median alone.",
        calibration=_CALIBRATION,
        breaks="The mean is wanted and the noise is skewed; or few rows of nearly normal noise, "
        "where the median needs half as many rows again.",
        remedy="mse or huber for a mean, nll of laplace for a scale of each row, quantile for "
        "other levels.",
        pytorch="torch.nn.functional.l1_loss(prediction, y)",
        source="Laplace 1774",
        axis="residual",
    ),
    Loss(
        name="huber",
        kind="likelihood",
        synonyms=("huber loss", "smooth l1", "smooth l1 loss"),
        assumption="Additive noise that is normal up to delta, with exponential tails beyond.",
        formula="e^2 / 2 for |e| <= delta, delta |e| - delta^2 / 2 beyond, with e = y - mean",
        family="huber with delta and the scale fixed; any family that has a mean.",
        estimated="A point between the mean and the median of the target given the features; both, "
        "where the noise is symmetric.",
        gradient="Linear in the residual up to delta, constant beyond.",
        robustness="Outliers count in proportion to their distance in the loss, and with a bounded "
        "gradient.",
        calibration=_CALIBRATION,
        breaks="delta does not suit the size of the noise, or outliers are extreme.",
        remedy="nll of the family huber, which learns the scale, or nll of student_t.",
        pytorch="torch.nn.functional.huber_loss(prediction, y)",
        source="Huber 1964",
        axis="residual",
    ),
    Loss(
        name="log_cosh",
        kind="likelihood",
        synonyms=("log-cosh", "log cosh loss", "logcosh"),
        assumption="Additive noise with the hyperbolic secant distribution, of the same size in "
        "all rows.",
        formula="log cosh(y - mean)",
        family="hyperbolic_secant with the scale fixed; any family that has a mean.",
        estimated="A point between the mean and the median of the target given the features; both, "
        "where the noise is symmetric.",
        gradient="tanh of the residual: smooth and bounded by 1.",
        robustness="As huber with a delta of about 1, without a seam.",
        calibration=_CALIBRATION,
        breaks="The noise is much smaller or larger than 1 in the units of the target.",
        remedy="nll of hyperbolic_secant, which learns the scale, or nll of student_t.",
        source="Saleh and Saleh 2022, Statistical properties of the log-cosh loss function",
        axis="residual",
    ),
]
