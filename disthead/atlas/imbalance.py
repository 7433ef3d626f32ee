"""Likelihoods of classes of which some are rare."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="weighted",
        kind="changed likelihood",
        synonyms=("class weights", "weighted cross-entropy", "pos_weight"),
        assumption="Each class occurs w_k times as often where it matters as in the data, or an "
        "error there costs w_k times as much.",
        formula="-w_y log p_y",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="Probabilities proportional to w_k p_k, where p_k are the true ones.",
        gradient="That of the likelihood times the weight of the row's class.",
        robustness="A wrong label of a class with a great weight pulls with this weight: a few "
        "rows may rule the fit.",
        calibration="Calibrated for data in which classes occur w_k times as often, not for data "
        "like those of training. class_posterior divides by the weights.",
        breaks="Weights differ by orders of magnitude, so that the effective number of rows is "
        "small; or a model separates all classes, where weights change nothing in the end.",
        remedy="logit_adjusted, which keeps all rows alike; a threshold or a table of costs "
        "applied to the probabilities of nll.",
        pytorch='torch.nn.functional.cross_entropy(logits, y, weight=w, reduction="none")',
        source="King and Zeng 2001",
    ),
    Loss(
        name="logit_adjusted",
        kind="changed likelihood",
        synonyms=("logit adjustment", "prior-corrected cross-entropy", "balanced softmax"),
        assumption="Classes have other shares where the model is used than in training; within "
        "each class the features are the same.",
        formula="-log softmax(logits + strength * log(prior))_y",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="With strength 1 the probabilities of classes that are equally frequent; the "
        "most probable class has the least balanced error.",
        gradient="That of the likelihood at the shifted logits: rare classes get a margin.",
        robustness="That of the likelihood; a wrong label of a rare class pulls as if surprising.",
        calibration="Calibrated for equal shares of the classes with strength 1; at_prior gives "
        "the distribution for any other shares, those of training too.",
        breaks="Features within a class differ between training and use, or the shares of the "
        "training data are unknown.",
        remedy="nll, with at_prior of logit_adjusted for other shares; recalibration on rows like "
        "those of use.",
        pytorch="torch.nn.functional.cross_entropy(logits + strength * prior.log(), y)",
        source="Menon, Jayasumana, Rawat, Jain, Veit and Kumar 2021",
    ),
]
