"""The risk of label sequences."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="edit_distance_risk",
        kind="not a likelihood",
        synonyms=(
            "minimum word error rate",
            "MWER",
            "minimum Bayes risk training",
            "expected edit distance",
            "minimum risk training",
        ),
        assumption="None about noise: labels that are inserted, deleted or replaced cost 1 each.",
        formula="E[edit distance of a sampled sequence from y], by the mean over samples",
        family="Any distribution of label sequences that can be sampled, such as categorical with "
        "event_shape=(T,).",
        estimated="Sequences with few errors; of certain ones the likelihood's are the same.",
        gradient="The score function's, (distance - mean of the other samples) grad log p(sample): "
        "unbiased, and noisy with few samples.",
        robustness="A row costs at most the length of the longer sequence, however improbable its "
        "target is.",
        calibration="No calibration: all probability on one sequence with few expected errors is "
        "best, so that probabilities become too sure.",
        breaks="Training starts from nothing: good sequences are never sampled, and there is "
        "nothing to learn from.",
        remedy="Train by nll first, go on with edit_distance_risk, and add some nll.",
        source="Prabhavalkar and others 2018; Shen and others 2016",
    ),
]
