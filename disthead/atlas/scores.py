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
    Loss(
        name="energy",
        kind="proper score",
        synonyms=("energy score",),
        assumption="None about the noise beyond the family; errors matter by their Euclidean "
        "distance, in the units of the target.",
        formula="E||Y - y|| - E||Y - Y'|| / 2",
        estimated="The whole distribution of a vector.",
        gradient="Bounded: a unit vector far away. By samples that move with the parameters, so "
        "that it is noisy; of a single number it is that of crps.",
        robustness="An outlier counts in proportion to its distance.",
        calibration="Strictly proper, but hardly sensitive to wrong correlations.",
        breaks="Correlations matter, or coordinates have different units: large ones rule.",
        remedy="nll, or standardised coordinates; variogram tells whether correlations are right.",
        source="Gneiting and Raftery 2007",
    ),
    Loss(
        name="brier",
        kind="proper score",
        synonyms=("brier score", "quadratic score", "squared error of probabilities"),
        assumption="One of several classes, or two outcomes; rows are independent.",
        formula="(y - p)^2 of two outcomes, sum over k of (p_k - 1{y = k})^2 of classes",
        estimated="The probability of each class.",
        gradient="By the logit it vanishes where the model is sure, also where it is wrong: "
        "bounded.",
        robustness="A wrong label costs 1 or 2 at most.",
        calibration="Strictly proper; rare classes and small probabilities weigh little.",
        breaks="Small probabilities matter, or training starts sure and wrong, where it is flat.",
        remedy="bce or cross_entropy, which start from there.",
        pytorch="torch.nn.functional.mse_loss(probabilities, y)",
        source="Brier 1950",
        axis="margin",
    ),
    Loss(
        name="rps",
        kind="proper score",
        synonyms=("ranked probability score",),
        assumption="Ordered classes or counts; errors matter by the number of classes between.",
        formula="sum over k of (P(Y <= k) - 1{y <= k})^2",
        estimated="The whole distribution over the ordered classes.",
        gradient="By the logits it vanishes where the model is sure: bounded.",
        robustness="A wrong label costs the number of classes that it is off, at most.",
        calibration="Strictly proper; it forgives near misses.",
        breaks="The classes have no order, or the exact class matters and not its neighbours.",
        remedy="brier or cross_entropy for classes without an order, nll for exact ones.",
        source="Epstein 1969",
    ),
]
