"""Likelihoods of classes that are changed so that wrong labels pull less."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="label_smoothing",
        kind="changed likelihood",
        synonyms=("smoothed cross-entropy",),
        assumption="A share of the labels, the smoothing, was replaced by draws from all classes, "
        "and the model is to predict the labels after that.",
        formula="(1 - e) (-log p_y) + e / K sum_k (-log p_k)",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="The mixture (1 - e) p + e / K of the true probabilities with equal ones.",
        gradient="p minus the smoothed label: rows that are too sure are pulled back.",
        robustness="A wrong label pulls nearly as hard as by the likelihood; but no logit is "
        "driven to infinity.",
        calibration="Proper for the smoothed labels: predictions are at most 1 - e + e / K. It "
        "often helps networks that are too sure, and harms those that are not. The truth is "
        "(p - e / K) / (1 - e).",
        breaks="Probabilities near 0 or 1 matter; the features of a teacher are to be distilled.",
        remedy="forward_corrected with the same number, which predicts the labels before they were "
        "replaced; nll with early stopping or recalibration.",
        pytorch="torch.nn.functional.cross_entropy(logits, y, label_smoothing=e)",
        source="Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016",
        axis="margin",
    ),
    Loss(
        name="generalized_cross_entropy",
        kind="changed likelihood",
        synonyms=("generalised cross-entropy", "GCE", "L_q loss"),
        assumption="Some labels are wrong, spread over all classes, at an unknown rate.",
        formula="(1 - p_y^power) / power",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="Probabilities proportional to p_k^(1 / (1 - power)), surer than the true ones; "
        "the most probable class is the right one.",
        gradient="That of the likelihood times p_y^power: it vanishes for rows that are far off.",
        robustness="No row costs more than 1 / power; a wrong label hardly pulls where the model "
        "is sure of another class.",
        calibration="Not proper: predictions are surer than the truth. class_posterior gives the "
        "distribution of the labels back, below power 1.",
        breaks="Training starts far off, with many classes: nothing pulls; hard rows that are "
        "right are left alone like wrong ones.",
        remedy="A smaller power, some epochs of nll at the start, or symmetric_cross_entropy.",
        source="Zhang and Sabuncu 2018",
        axis="margin",
    ),
    Loss(
        name="symmetric_cross_entropy",
        kind="changed likelihood",
        synonyms=("symmetric cross-entropy", "SCE", "reverse cross-entropy"),
        assumption="Some labels are wrong, spread over all classes, at an unknown rate.",
        formula="-alpha log p_y - beta log_zero (1 - p_y)",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="Probabilities surer than the true ones; the most probable class is the right "
        "one.",
        gradient="A share alpha of that of the likelihood, which keeps learning alive, and that of "
        "the probability of an error, which vanishes for rows that are far off.",
        robustness="A wrong label pulls with the weight alpha alone where the model is sure of "
        "another class.",
        calibration="Not proper: predictions are surer than the truth. class_posterior gives the "
        "distribution of the labels back.",
        breaks="Alpha is so great that wrong labels are learned by heart, or so small that classes "
        "that are hard to learn never are.",
        remedy="forward_corrected where the rates of confusion are known, early stopping.",
        source="Wang, Ma, Chen, Luo, Yi and Bailey 2019",
        axis="margin",
    ),
]
