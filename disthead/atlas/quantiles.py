"""Scores of quantiles and of intervals."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="quantile",
        kind="likelihood",
        synonyms=("quantile loss", "pinball loss", "check loss", "tilted loss"),
        assumption="Additive noise with an asymmetric Laplace distribution of the same size in all "
        "rows; as a score it needs none.",
        formula="max(q (y - x), (q - 1) (y - x)), with the quantile x of level q",
        family="asymmetric_laplace with the quantile and the scale fixed; any continuous family.",
        estimated="The quantile of one level of the target given the features.",
        gradient="-q below the target, 1 - q above: bounded, with a jump at 0.",
        robustness="Outliers count by their side of the quantile alone.",
        calibration="The share of targets below the quantile is q; other quantiles are not "
        "trained.",
        breaks="Intervals or several levels are wanted, or the level is so extreme that few rows "
        "lie beyond it.",
        remedy="pinball at several levels, interval, or nll.",
        source="Koenker and Bassett 1978",
        axis="residual",
        drawn_with={"level": 0.9},
    ),
    Loss(
        name="pinball",
        kind="proper score",
        synonyms=("multi-quantile loss", "mean pinball loss", "quantile score"),
        assumption="None about the noise beyond the family; the chosen quantiles matter.",
        formula="mean over levels q of max(q (y - x_q), (q - 1) (y - x_q))",
        estimated="The quantiles of the levels; the rest of the distribution as the family has it.",
        gradient="A step at each quantile: bounded.",
        robustness="An outlier moves the fit by its side of the quantiles alone.",
        calibration="Proper, not strictly: the shares below the quantiles of the levels are right, "
        "and a family with more parameters than levels is not determined.",
        breaks="Fewer levels than parameters, or tails beyond the outermost levels matter.",
        remedy="More levels, crps, which is that of all levels, or nll.",
        source="Koenker and Bassett 1978; Gneiting and Raftery 2007",
        axis="residual",
    ),
    Loss(
        name="interval",
        kind="proper score",
        synonyms=("interval score", "winkler score"),
        assumption="None about the noise beyond the family; one central interval matters.",
        formula="width + 2 / (1 - level) times the distance of y from the interval",
        estimated="The quantiles at both ends of the central interval.",
        gradient="A step at each end: bounded, and large for a level near 1.",
        robustness="An outlier counts in proportion to its distance from the interval.",
        calibration="Proper, not strictly: the interval covers the share level of the targets, and "
        "all else is as the family has it.",
        breaks="The family has more than two parameters, of which it determines two.",
        remedy="pinball at more levels, crps, or nll.",
        source="Winkler 1972; Gneiting and Raftery 2007",
        axis="residual",
    ),
]
