"""Likelihoods of ordered classes and of rankings."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="ordinal",
        kind="likelihood",
        synonyms=("proportional odds", "ordered logit", "cumulative link loss"),
        assumption="A latent number with a random error lies between two of the cutpoints that "
        "part the classes.",
        formula="-log(F(cutpoint_y - loc) - F(cutpoint_(y - 1) - loc))",
        family="ordinal, all parameters predicted, or the cutpoints shared by all rows.",
        estimated="The probability of each class, in their order.",
        gradient="Bounded by the logit link; it pulls loc towards the interval of the class.",
        robustness="A label that is one class off costs less than one that is many off.",
        calibration="Strictly proper; with shared cutpoints the spread over the classes is the "
        "same in all rows.",
        breaks="Features widen or narrow the spread over the classes, and the cutpoints are "
        "shared.",
        remedy="Cutpoints that are predicted, rps, or cross_entropy of categorical where the order "
        "does not help.",
        source="McCullagh 1980",
    ),
    Loss(
        name="list_mle",
        kind="likelihood",
        synonyms=("listmle", "plackett-luce loss", "listwise likelihood"),
        assumption="Items are chosen one after the other, each with odds that do not depend on "
        "what else is left.",
        formula="-sum over ranks of log softmax of the item of that rank among those left",
        family="plackett_luce, all parameters predicted.",
        estimated="A worth of each item, whose order is the predicted ranking.",
        gradient="p - 1 at the item of each rank, with p among the items left: bounded.",
        robustness="An item that is ranked far too high costs without bound.",
        calibration="Strictly proper: probabilities of first places and of pairs are calibrated "
        "where items are chosen in this way.",
        breaks="Low ranks are noise: they count as much as the first ones.",
        remedy="Partial rankings, cut off after the ranks that matter.",
        source="Xia and others 2008",
    ),
]
