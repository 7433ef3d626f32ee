"""One loss under several names: calls of this library and of PyTorch that return the same number.

`docs/losses.md` shows them, and `tests/test_atlas.py` runs them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One way to write a loss: in words, by this library, and by PyTorch."""

    form: str
    ours: str
    pytorch: str


@dataclass(frozen=True)
class Group:
    """The ways to write one loss, all of which return one number.

    Args:
        title: of the table.
        remark: a sentence.
        setup: Python that defines the names in the calls, besides torch, functional, math, dh and
            disthead.losses.loss.
        rows: the ways.
    """

    title: str
    remark: str
    setup: str
    rows: tuple[Row, ...]


CLASSES = Group(
    "Cross-entropy.",
    "Indices, one-hot rows, logits and probabilities are forms of one target and one prediction.",
    """\
logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3]])
index = torch.tensor([0, 2])
one_hot = functional.one_hot(index, 3).float()
classes = dh.get_family("categorical", num_classes=3)
dist = classes.from_raw(logits)
""",
    (
        Row(
            "logits, class indices (sparse)",
            "dh.nll(dist, index)",
            "functional.cross_entropy(logits, index)",
        ),
        Row(
            "logits, one-hot",
            "dh.nll(dist, one_hot)",
            "functional.cross_entropy(logits, one_hot)",
        ),
        Row(
            "the objective of that name",
            "loss(dh.objectives.cross_entropy(), dist, index)",
            "torch.nn.CrossEntropyLoss()(logits, index)",
        ),
        Row(
            "log-probabilities, class indices",
            "dh.nll(classes.distribution(logits=logits.log_softmax(-1)), index)",
            "functional.nll_loss(logits.log_softmax(-1), index)",
        ),
        Row(
            "probabilities, class indices",
            "dh.nll(classes.distribution(probs=logits.softmax(-1)), index)",
            "functional.nll_loss(logits.softmax(-1).log(), index)",
        ),
        Row(
            "divergence from the labels",
            'dh.divergence("kl", classes.distribution(probs=one_hot), dist).mean()',
            'functional.kl_div(logits.log_softmax(-1), one_hot, reduction="batchmean")',
        ),
        Row(
            "log_prob of a distribution",
            "-dist.log_prob(index).mean()",
            "-torch.distributions.Categorical(logits=logits).log_prob(index).mean()",
        ),
    ),
)

SOFT = Group(
    "Soft labels.",
    "Label smoothing is a soft label, and a divergence from soft labels differs by their entropy, "
    "which no prediction changes.",
    """\
soft = 0.9 * one_hot + 0.1 / 3
entropy = -(soft * soft.log()).sum(-1).mean()
""",
    (
        Row("soft labels", "dh.nll(dist, soft)", "functional.cross_entropy(logits, soft)"),
        Row(
            "label smoothing",
            "dh.losses.cross_entropy(dist, index, label_smoothing=0.1)",
            "functional.cross_entropy(logits, index, label_smoothing=0.1)",
        ),
        Row(
            "divergence from the labels",
            'dh.divergence("kl", classes.distribution(probs=soft), dist).mean() + entropy',
            'functional.kl_div(logits.log_softmax(-1), soft, reduction="batchmean") + entropy',
        ),
    ),
)

TWO_OUTCOMES = Group(
    "Two outcomes.",
    "One logit, or the difference of two.",
    """\
logit = torch.tensor([1.5, -0.4, 0.2])
happens = torch.tensor([1.0, 0.0, 0.0])
outcome = dh.get_family("bernoulli")
two = torch.stack([torch.zeros(3), logit], -1)
""",
    (
        Row(
            "logits",
            "dh.nll(outcome.distribution(logits=logit), happens)",
            "functional.binary_cross_entropy_with_logits(logit, happens)",
        ),
        Row(
            "the objective of that name",
            "loss(dh.objectives.bce, outcome.distribution(logits=logit), happens)",
            "torch.nn.BCEWithLogitsLoss()(logit, happens)",
        ),
        Row(
            "probabilities",
            "dh.nll(outcome.distribution(probs=logit.sigmoid()), happens)",
            "functional.binary_cross_entropy(logit.sigmoid(), happens)",
        ),
        Row(
            "two classes",
            'dh.nll(dh.get_family("categorical", num_classes=2).from_raw(two), happens.long())',
            "functional.cross_entropy(two, happens.long())",
        ),
        Row(
            "labels -1 and 1",
            "-outcome.distribution(logits=logit).log_prob(happens).mean()",
            "functional.soft_margin_loss(logit, 2 * happens - 1)",
        ),
    ),
)

SQUARES = Group(
    "Squared error.",
    "A normal distribution whose scale is held at 1, and the constant of its density.",
    """\
prediction, y = torch.tensor([0.5, 1.0, -2.0]), torch.tensor([0.0, 1.5, -1.0])
normal = dh.get_family("normal").distribution(loc=prediction, scale=1.0)
constant = math.log(2 * math.pi) / 2
""",
    (
        Row(
            "squared error",
            "loss(dh.objectives.mse, normal, y) / 2 + constant",
            "functional.mse_loss(prediction, y) / 2 + constant",
        ),
        Row(
            "likelihood",
            "dh.nll(normal, y)",
            "functional.gaussian_nll_loss(prediction, y, torch.ones(3), full=True)",
        ),
        Row(
            "log_prob of a distribution",
            "-normal.log_prob(y).mean()",
            "-torch.distributions.Normal(prediction, 1.0).log_prob(y).mean()",
        ),
    ),
)

GROUPS = (CLASSES, SOFT, TWO_OUTCOMES, SQUARES)
