"""Sums of the losses of several heads."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="sum_of",
        kind="not a likelihood",
        synonyms=(
            "multi-task loss",
            "multitask loss",
            "homoscedastic uncertainty weighting",
            "uncertainty weighting",
            "Kendall weighting",
        ),
        assumption="The targets of the heads are independent given the features, each with the "
        "noise that its own loss assumes. Learned weights assume for each head one level of noise, "
        "the same in all rows.",
        formula="sum_h w_h L_h; with learned weights sum_h exp(-s_h) L_h + s_h / 2",
        family="One for each head. The sum of all heads by nll without weights is the likelihood "
        "of all targets together.",
        estimated="What the objective of each head estimates.",
        gradient="The sum of the heads' gradients, each times its weight: exp(-s_h), which is "
        "1 / (2 mean of L_h) once s_h has settled.",
        robustness="That of the least robust head: its outliers move the backbone of all others.",
        calibration="That of each head's objective; weights of heads change what the backbone "
        "learns, not what is best for a head.",
        breaks="One head rules the backbone, since its loss is in larger units or its weight is "
        "large; learned weights grow without end where a loss can be negative, as the nll of a "
        "density, or where a head learns its rows by heart.",
        remedy="Fixed weights, crps of standardised targets in place of the nll of a density, a "
        "normal with a shared scale, or a model for each target.",
        source="Kendall, Gal and Cipolla 2018",
    ),
]
