"""Likelihoods of a choice among candidates."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="info_nce",
        kind="likelihood",
        synonyms=("NT-Xent", "CLIP loss", "contrastive cross-entropy", "in-batch softmax"),
        assumption="Of the keys of the batch one belongs to the query, and the others are drawn at "
        "random from all keys.",
        formula="-log(exp(s[i, i] / temperature) / sum_j exp(s[i, j] / temperature)), s the cosine "
        "of query i and key j; symmetric: the mean with that of s transposed",
        family="categorical over the candidates, whose logits are similarities over a temperature.",
        estimated="log p(key | query) - log p(key), up to a constant of each query.",
        gradient="softmax minus one-hot over the candidates, divided by the temperature: hard "
        "negatives count most, the more so the lower the temperature.",
        robustness="A wrong pair costs at most 2 / temperature plus the logarithm of the number of "
        "candidates.",
        calibration="Probabilities hold for a choice among as many random candidates as in "
        "training; for others the prior over candidates differs.",
        breaks="The batch holds the same item twice, which counts as a negative; batches are small "
        "and negatives easy; the temperature is fixed at a bad number.",
        remedy="The ids of items, larger batches gathered over processes, a learned temperature.",
        pytorch="torch.nn.functional.cross_entropy(queries @ keys.T / temperature, "
        "torch.arange(len(queries)), reduction='none')",
        source="van den Oord and others 2018; Radford and others 2021",
    ),
]
