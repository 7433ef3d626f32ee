"""Margin losses."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="hinge",
        kind="not a likelihood",
        synonyms=("support vector machine loss", "SVM loss", "max-margin loss"),
        assumption="None about noise: two outcomes that a boundary separates, with a margin of 1 "
        "on both sides of it.",
        formula="max(0, 1 - (2 y - 1) logit)",
        family="bernoulli, whose logit is predicted; it is no likelihood of it.",
        estimated="The sign of the logit: the more probable outcome, not its probability.",
        gradient="1 up to the margin, 0 beyond it: rows on the right side of the margin no longer "
        "count.",
        robustness="A wrong label costs by its distance from the boundary and pulls with constant "
        "force, as the likelihood does far from the boundary.",
        calibration="No calibration: the best logit is 1 or -1 whatever the probability is, so "
        "that nll, calibration errors and probs of such a model say nothing.",
        breaks="Probabilities are wanted, or one outcome is rare: the best logit may be -1 for "
        "all rows.",
        remedy="nll of bernoulli, or VectorScaling of disthead.calibration on held-out rows, which "
        "makes probabilities of logits (Platt 1999).",
        source="Cortes and Vapnik 1995",
        axis="margin",
    ),
    Loss(
        name="multiclass_hinge",
        kind="not a likelihood",
        synonyms=("multi-class hinge", "multi-margin loss", "Weston-Watkins loss"),
        assumption="None about noise: the logit of the right class exceeds each other one by a "
        "margin.",
        formula="sum over k != y of max(0, margin - z_y + z_k)^power / K",
        family="categorical, whose logits are predicted; it is no likelihood of it.",
        estimated="The order of the logits at the top. The largest one is the most probable class "
        "where that class has more than half of the probability; elsewhere it may be another one.",
        gradient="1 / K for each class within the margin, and minus their sum for the right "
        "class; with power 2 linear within the margin.",
        robustness="As hinge; with power 2 wrong labels far from the boundary pull harder.",
        calibration="No calibration: nll, calibration errors and probs of such a model say "
        "nothing.",
        breaks="Probabilities are wanted, or no class has more than half of the probability.",
        remedy="nll of categorical, or VectorScaling of disthead.calibration on held-out rows.",
        pytorch="torch.nn.functional.multi_margin_loss(logits, y, p=power, margin=margin)",
        source="Weston and Watkins 1999; Liu 2007 on the most probable class",
        axis="margin",
    ),
]
