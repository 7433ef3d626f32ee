"""Losses of embeddings."""

from disthead.atlas.loss import Loss

_NO_DISTRIBUTION = (
    "None: an embedding is no distribution, and metrics of (dist, y) do not take it; retrieval is "
    "measured by recall and precision, as in torchmetrics.retrieval."
)

LOSSES = [
    Loss(
        name="contrastive",
        kind="not a likelihood",
        synonyms=("contrastive loss", "siamese loss", "pairwise margin loss"),
        assumption="None about noise: pairs that belong together are at one point, others at least "
        "a margin apart.",
        formula="d^2 / 2 for y = 1, max(0, margin - d)^2 / 2 for y = -1, d the Euclidean distance",
        estimated="Distances between embeddings.",
        gradient="Linear in the distance for pairs that belong together; linear in what is missing "
        "to the margin for others, and 0 beyond it.",
        robustness="A wrong pair that is far apart pulls with its whole distance.",
        calibration=_NO_DISTRIBUTION,
        breaks="The margin does not fit the scale of the embeddings, or nearly all pairs of a "
        "batch are easy and have no gradient.",
        remedy="Embeddings of length 1, batches with hard pairs, or triplet.",
        source="Hadsell, Chopra and LeCun 2006",
    ),
    Loss(
        name="triplet",
        kind="not a likelihood",
        synonyms=("triplet loss", "triplet margin loss", "FaceNet loss"),
        assumption="None about noise: an anchor is closer to its own class than to another one, by "
        "a margin.",
        formula="max(0, d(anchor, positive) - d(anchor, negative) + margin)",
        estimated="The order of distances from an anchor.",
        gradient="Of constant length while the margin is not kept, 0 after that.",
        robustness="A wrong label pulls with constant force.",
        calibration=_NO_DISTRIBUTION,
        breaks="Most triplets keep the margin and teach nothing, or only the hardest ones are "
        "taken and all embeddings collapse onto one point.",
        remedy="Semi-hard triplets, swap=True, or circle, which weighs all pairs of a batch.",
        pytorch="torch.nn.functional.triplet_margin_loss(anchor, positive, negative, margin)",
        source="Schroff, Kalenichenko and Philbin 2015; Balntas and others 2016",
    ),
    Loss(
        name="cosine_embedding",
        kind="not a likelihood",
        synonyms=("cosine embedding loss", "cosine similarity loss"),
        assumption="None about noise: pairs that belong together have one direction, others differ "
        "by an angle.",
        formula="1 - c for y = 1, max(0, c - margin) for y = -1, c the cosine of the angle",
        estimated="Angles between embeddings.",
        gradient="Constant in the cosine, and 0 for other pairs with a cosine below the margin; it "
        "vanishes in the angle where two directions are equal or opposite.",
        robustness="A pair costs at most 2, so that a wrong one does little harm.",
        calibration=_NO_DISTRIBUTION,
        breaks="Embeddings are near zero, where directions are noise, or a margin of 0 asks for "
        "more orthogonal classes than there are dimensions.",
        remedy="A larger margin or more dimensions; circle for many classes.",
        pytorch="torch.nn.functional.cosine_embedding_loss(first, second, y, margin=margin)",
    ),
    Loss(
        name="circle",
        kind="not a likelihood",
        synonyms=("circle loss",),
        assumption="None about noise: cosines above 1 - margin within a class, below margin "
        "between classes.",
        formula="log(1 + sum_n exp(gamma max(0, s_n + m) (s_n - m)) "
        "sum_p exp(-gamma max(0, 1 + m - s_p) (s_p - 1 + m)))",
        estimated="Angles between embeddings.",
        gradient="Largest for the pairs farthest from their best, s_n + m and 1 + m - s_p times "
        "their share in the sums; the weights count as constants.",
        robustness="A large gamma gives nearly all weight to the worst pair of a batch, which may "
        "be a wrong label.",
        calibration=_NO_DISTRIBUTION,
        breaks="Batches hold one row of most classes, or a large gamma meets wrong labels.",
        remedy="Batches with several rows of each class; a smaller gamma.",
        source="Sun and others 2020",
    ),
]
