"""Likelihoods of classes that look at hard rows, or at one outcome, more closely."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="focal",
        kind="changed likelihood",
        synonyms=("focal loss", "sigmoid_focal_loss"),
        assumption="Most rows are easy and belong to few classes; what they have to say is known "
        "early, and should not outweigh the hard rows.",
        formula="-alpha_y (1 - p_y)^gamma log p_y",
        family="bernoulli, categorical, ordinal and other classes.",
        estimated="Probabilities that are less sure than the true ones, and surer where all of "
        "many classes are improbable. Without alpha they are in the same order, so that the most "
        "probable class is the right one.",
        gradient="That of the likelihood for rows that are wrong; it vanishes faster, with the "
        "power gamma + 1 of the error, for rows that are right.",
        robustness="Wrong labels pull as hard as by the likelihood, and count for more, since the "
        "right rows count less.",
        calibration="Not proper: probabilities are too close to each other, unless all are small "
        "(below 0.1 for gamma = 2), where they are too far apart. class_posterior gives "
        "the truth back, exactly where the fit is good; alpha moves them towards its classes, and "
        "class_posterior undoes that, too. Often used against overconfidence for this reason.",
        breaks="Labels are wrong, or probabilities are used as they are.",
        remedy="class_posterior of the objective, recalibration on held-out rows, "
        "generalized_cross_entropy for wrong labels, or nll with gamma 0.",
        pytorch="torchvision.ops.sigmoid_focal_loss(logits, y, alpha, gamma)",
        source="Lin, Goyal, Girshick, He and Dollar 2017; Charoenphakdee, Vongkulbhisal, "
        "Chairatanakul and Sugiyama 2021",
        axis="margin",
    ),
    Loss(
        name="asymmetric",
        kind="changed likelihood",
        synonyms=("asymmetric loss", "ASL"),
        assumption="Each row has few of many labels, and a missing label may be an oversight.",
        formula="-(1 - p)^gamma_positive log p where the label is there, "
        "-p_m^gamma_negative log(1 - p_m) with p_m = max(p - margin, 0) where it is not",
        family="bernoulli, one output for each label.",
        estimated="Probabilities that are too high for rare labels, in the right order.",
        gradient="That of the likelihood for labels that are there; zero below the margin for "
        "those that are not, and small up to one half.",
        robustness="A label that was forgotten pulls less than by the likelihood with a margin or "
        "a great gamma_negative; one that was added by mistake pulls as hard.",
        calibration="Not proper: with the defaults a label of probability 0.1 is predicted much "
        "higher, and never below the margin. class_posterior gives the truth back.",
        breaks="Thresholds or costs are applied to the probabilities as they are.",
        remedy="class_posterior of the objective, recalibration on held-out rows, or nll.",
        source="Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter and Zelnik-Manor 2021",
    ),
]
