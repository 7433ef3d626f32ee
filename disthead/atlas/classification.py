"""Cross-entropies of classes, two outcomes and several labels."""

from disthead.atlas.loss import Loss

_OVERCONFIDENT = (
    "Strictly proper, so that the true probabilities have the least expected loss; networks that "
    "learn their rows by heart are too sure of themselves on others."
)

LOSSES = [
    Loss(
        name="bce",
        kind="likelihood",
        synonyms=(
            "binary cross-entropy",
            "binary cross entropy",
            "bce with logits",
            "BCELoss",
            "BCEWithLogitsLoss",
            "binary_cross_entropy_with_logits",
            "SoftMarginLoss",
            "logistic loss",
        ),
        assumption="One of two outcomes, whose odds depend on the features; rows are independent.",
        formula="-y log p - (1 - y) log(1 - p)",
        family="bernoulli, all parameters predicted.",
        estimated="The probability of 1.",
        gradient="p - y by the logit: bounded, and small where the model is right and sure.",
        robustness="A wrong label on the sure side costs in proportion to the logit, without "
        "bound.",
        calibration=_OVERCONFIDENT,
        breaks="Wrong labels, or few rows of one outcome and decisions about that one.",
        remedy="Soft labels for doubtful ones, brier, which is bounded, and a recalibration on "
        "rows held out.",
        pytorch="torch.nn.functional.binary_cross_entropy_with_logits(logits, y)",
        source="Cox 1958",
        axis="margin",
    ),
    Loss(
        name="multilabel_bce",
        kind="likelihood",
        synonyms=(
            "multi-label bce",
            "multilabel binary cross-entropy",
            "multi-label soft margin loss",
            "multilabel soft margin loss",
        ),
        assumption="Several labels of a row, independent of each other given the features.",
        formula="mean over labels of -w y log p - (1 - y) log(1 - p)",
        family="bernoulli with an event_shape, all parameters predicted.",
        estimated="The probability of each label; with a positive_weight w, log-odds that are "
        "greater by log w.",
        gradient="That of bce for each label, divided by their number.",
        robustness="That of bce.",
        calibration="As bce without a weight; with a positive_weight probabilities are too high, "
        "by odds w times as large.",
        breaks="Labels depend on each other beyond the features, and their joint probability is "
        "wanted.",
        remedy="The family categorical over the combinations that occur, where they are few.",
        pytorch="torch.nn.functional.multilabel_soft_margin_loss(logits, y)",
        source="Cox 1958",
    ),
    Loss(
        name="cross_entropy",
        kind="likelihood",
        synonyms=(
            "cross entropy",
            "CrossEntropyLoss",
            "categorical cross-entropy",
            "sparse categorical cross-entropy",
            "softmax loss",
            "multinomial logistic loss",
        ),
        assumption="One of several classes without an order; rows are independent.",
        formula="-sum over k of w_k q_k log p_k, with q one-hot or soft",
        family="categorical, all parameters predicted.",
        estimated="The probability of each class; with weights of classes, probabilities in "
        "proportion to w_k p_k.",
        gradient="p - q by the logits: bounded, and small where the model is right and sure.",
        robustness="A wrong label costs without bound.",
        calibration=_OVERCONFIDENT,
        breaks="An order among the classes is lost, and wrong labels are learned by heart.",
        remedy="ordinal for classes that have an order, label_smoothing, and a recalibration on "
        "rows held out.",
        pytorch="torch.nn.functional.cross_entropy(logits, y)",
        source="Bridle 1990",
        axis="margin",
    ),
]
