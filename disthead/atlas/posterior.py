"""Likelihoods as parts of a posterior."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="tempered",
        kind="changed likelihood",
        synonyms=("tempered likelihood", "power likelihood", "cold posterior"),
        assumption="Each row is worth `power` independent rows: more where labels were chosen with "
        "care, less where rows repeat each other or the family is wrong.",
        formula="-power * log p(y)",
        family="Any.",
        estimated="All parameters; without a prior the same as by the likelihood.",
        gradient="That of the likelihood times power, as with a weight of `power` for each row.",
        robustness="That of the likelihood.",
        calibration="That of the likelihood. Beside a prior or weight decay a power above 1 (a "
        "cold posterior, temperature 1 / power) trusts the data more, one below 1 the prior.",
        breaks="It is used without a prior to change the fit: nothing changes but the size of the "
        "steps, and that not with Adam.",
        remedy="map with another scale; weights of rows where some are worth more than others.",
        pytorch="power * functional.gaussian_nll_loss(mean, y, variance)",
        source="Wenzel and others 2020",
    ),
    Loss(
        name="map",
        kind="changed likelihood",
        synonyms=(
            "maximum a posteriori",
            "log prior",
            "weight decay",
            "ridge",
            "lasso",
            "L2 penalty",
            "L1 penalty",
        ),
        assumption="The noise has the family's distribution, and the weights of the network are "
        "draws of the prior: normal, laplace or horseshoe, with mean 0.",
        formula="-log p(y) of each row; the mean over rows plus -log prior(weights) / rows",
        family="Any.",
        estimated="The mode of the posterior of the weights.",
        gradient="That of the likelihood, plus w / (rows scale^2) for each weight (normal), "
        "sign(w) / (rows scale) (laplace), or about 2 / (rows w) for large ones (horseshoe).",
        robustness="That of the likelihood; weights are kept small, by the horseshoe only small "
        "ones.",
        calibration="One set of weights is no posterior: what the data leave open does not show in "
        "the predicted scale. An ensemble shows some of it.",
        breaks="The scale of the prior does not fit the inputs, which should be standardised, or "
        "AdamW's own weight_decay comes on top unnoticed.",
        remedy="Choose scale by rows held out; weight_decay=0 in the optimizer; ensemble=8.",
        pytorch="torch.optim.SGD(weights, lr, weight_decay=1 / (rows * scale**2))",
        source="MacKay 1992; horseshoe: Carvalho, Polson and Scott 2010",
    ),
]
