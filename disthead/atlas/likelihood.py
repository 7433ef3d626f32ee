"""Likelihoods."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="nll",
        kind="likelihood",
        synonyms=(
            "negative log-likelihood",
            "log score",
            "log loss",
            "NLLLoss",
            "GaussianNLLLoss",
        ),
        assumption="The noise has the family's distribution, whatever that is; rows are "
        "independent given the features.",
        formula="-log p(y)",
        family="Any, all parameters predicted.",
        estimated="All parameters of the distribution.",
        gradient="Large where the density at the target is falling fast; linear in the residual "
        "for normal tails, bounded for those of student_t.",
        robustness="That of the family's tails: one outlier can move a normal distribution as far "
        "as it likes.",
        calibration="Strictly proper: the true distribution has the least expected loss, so that "
        "a family that holds the truth is calibrated with enough rows.",
        breaks="The family's tails are too light, or its density has no bound, as where a scale "
        "shrinks to nothing on rows that are learned by heart.",
        remedy="A family with heavier tails, the objective crps, or early stopping on rows held "
        "out, which is the default.",
        pytorch="-dist.log_prob(y)",
        source="Good 1952",
    ),
]
