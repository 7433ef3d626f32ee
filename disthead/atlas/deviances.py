"""Deviances of the predicted mean, of non-negative targets."""

from disthead.atlas.loss import Loss

_CALIBRATION = (
    "None by itself: the loss scores the mean, and what else the family has is arbitrary. With a "
    "fixed dispersion it is calibrated where the variance follows the mean in this way."
)

LOSSES = [
    Loss(
        name="poisson_deviance",
        kind="likelihood",
        synonyms=("poisson", "poisson loss", "poisson nll loss", "mean poisson deviance"),
        assumption="Counts, or amounts, whose variance is in proportion to the mean.",
        formula="2 (y log(y / mean) - y + mean)",
        family="poisson; any family with a positive mean.",
        estimated="The mean of the target given the features.",
        gradient="By the mean, 2 (1 - y / mean); by its logarithm, linear in the residual.",
        robustness="A large count moves the fit less than by mse, but without bound.",
        calibration=_CALIBRATION,
        breaks="Zeros are more frequent, or counts scatter more, than a Poisson distribution says, "
        "and intervals are wanted.",
        remedy="nll of negative_binomial or zero_inflated, which learn the scatter.",
        pytorch="torch.nn.functional.poisson_nll_loss(log_mean, y)",
        source="Nelder and Wedderburn 1972",
    ),
    Loss(
        name="gamma_deviance",
        kind="likelihood",
        synonyms=("mean gamma deviance", "gamma loss", "qlike"),
        assumption="Positive amounts whose standard deviation is in proportion to the mean.",
        formula="2 (y / mean - 1 - log(y / mean))",
        family="gamma by its mean with the concentration fixed; any family with a positive mean.",
        estimated="The mean of the target given the features.",
        gradient="By the logarithm of the mean, 2 (1 - y / mean): relative errors count.",
        robustness="Small targets far below their mean count little, large ones in proportion to "
        "y / mean.",
        calibration=_CALIBRATION,
        breaks="Targets are 0, or near 0 by rounding, where the deviance is unbounded.",
        remedy="tweedie_deviance with a power between 1 and 2 for zeros, nll of gamma or "
        "log_normal for a whole distribution.",
        source="Nelder and Wedderburn 1972",
    ),
    Loss(
        name="tweedie_deviance",
        kind="likelihood",
        synonyms=("tweedie", "tweedie loss", "mean tweedie deviance", "compound poisson"),
        assumption="Amounts that are often exactly 0, whose variance is mean^power.",
        formula="2 (y^(2 - p) / ((1 - p) (2 - p)) - y mean^(1 - p) / (1 - p) + "
        "mean^(2 - p) / (2 - p)), with p = power",
        family="tweedie with the dispersion and the power fixed; any family with a positive mean.",
        estimated="The mean of the target given the features.",
        gradient="By the logarithm of the mean, 2 mean^(2 - p) (1 - y / mean).",
        robustness="Between that of poisson_deviance and of gamma_deviance.",
        calibration=_CALIBRATION,
        breaks="The share of zeros does not follow the mean.",
        remedy="nll of tweedie, which learns the dispersion, or of hurdle over gamma, which learns "
        "the zeros by themselves.",
        source="Jorgensen 1987",
    ),
]
