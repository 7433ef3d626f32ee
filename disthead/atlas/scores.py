"""Proper scores."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="crps",
        kind="proper score",
        synonyms=("continuous ranked probability score",),
        assumption="None about the noise beyond the family; errors matter by their distance, in "
        "the units of the target.",
        formula="integral of (F(x) - 1{y <= x})^2 dx",
        estimated="The whole distribution function; of a point mass it is the absolute error, so "
        "that the middle is a median.",
        gradient="Linear near the centre, constant far from it.",
        robustness="An outlier counts by its distance, so that a few of them move the fit little.",
        calibration="Strictly proper, with little weight on the tails: look at the coverage of "
        "wide intervals before you trust them.",
        breaks="The tails matter, or the scales of rows differ by orders of magnitude: rows with "
        "large scales rule the mean.",
        remedy="nll, or a target on a logarithmic scale such as log_normal.",
        source="Gneiting and Raftery 2007",
        axis="residual",
    ),
]
