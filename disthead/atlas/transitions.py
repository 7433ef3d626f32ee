"""Likelihoods of labels that are confused."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="forward_corrected",
        kind="changed likelihood",
        synonyms=("forward correction", "loss correction", "noise transition matrix"),
        assumption="A label is confused with others at rates T that are known and depend on the "
        "class alone, not on the features.",
        formula="-log sum_j p_j T_jy",
        family="categorical, bernoulli, ordinal and other classes, seen through T.",
        estimated="The probabilities of the true classes, not of the labels.",
        gradient="That of the likelihood times the probability that the label is right, given the "
        "model: a label that T explains as an error pulls little.",
        robustness="A wrong label costs at most -log of the smallest rate in its column of T.",
        calibration="Proper for the labels seen through T: with the right T and enough rows the "
        "predictions are calibrated for the true classes, but not for labels like those of "
        "training.",
        breaks="T is wrong, its rows are nearly alike, or confusion depends on the features.",
        remedy="learned_transition, or generalized_cross_entropy, which needs no rates.",
        pytorch="torch.nn.functional.nll_loss((logits.softmax(-1) @ T).log(), y)",
        source="Patrini, Rozza, Menon, Nock and Qu 2017",
    ),
    Loss(
        name="learned_transition",
        kind="changed likelihood",
        synonyms=("noise layer", "noise adaptation layer"),
        assumption="A label is confused with others at unknown rates T that depend on the class "
        "alone, not on the features.",
        formula="-log sum_j p_j T_jy, with T a parameter",
        family="categorical, bernoulli, ordinal and other classes, seen through T.",
        estimated="The probabilities of the true classes, and the rates T.",
        gradient="As of forward_corrected, by the model's parameters and by those of T.",
        robustness="As of forward_corrected, once T has been learned.",
        calibration="That of forward_corrected, as far as T is right: look at transition, which "
        "a module keeps as module.objective and an estimator as training_.learned, and compare "
        "a few rows with labels that are known.",
        breaks="The model can learn all labels by heart, so that T stays at its start; or no rows "
        "are nearly certain of their class, so that noise and overlap of classes look alike.",
        remedy="Weight decay on the objective's logits, early stopping, forward_corrected with "
        "rates counted on a few rows that were labelled twice.",
        source="Sukhbaatar, Bruna, Paluri, Bourdev and Fergus 2015",
    ),
]
