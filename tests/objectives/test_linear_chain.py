"""The linear-chain conditional random field against the enumeration of all label sequences."""

import itertools

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.distributions import LinearChain, LinearChainHead
from disthead.errors import TargetError
from disthead.losses import loss

LENGTHS = torch.tensor([4, 1, 3])
SHAPES = {"emissions": (3, 4, 3), "transitions": (3, 3), "start": (3,), "end": (3,)}


def scores(dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return {
        name: (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
        for name, shape in SHAPES.items()
    }


def example(dtype=torch.float64, scale=1.0):
    """Three rows of up to four positions, three labels."""
    return LinearChain(**scores(dtype, scale), lengths=LENGTHS)


def sequences(dist, row):
    """All label sequences of a row, padded, shape (K^length, T)."""
    length, positions = int(dist.lengths[row]), dist.event_shape[0]
    products = itertools.product(range(dist.num_labels), repeat=length)
    return torch.tensor([[*labels, *[-1] * (positions - length)] for labels in products])


def enumerated(dist, row):
    """The log-probabilities of `sequences`, by the definition."""
    values = []
    for y in sequences(dist, row).tolist():
        y = [label for label in y if label >= 0]
        value = dist.start[row, y[0]] + dist.end[row, y[-1]]
        value = value + sum(dist.emissions[row, t, label] for t, label in enumerate(y))
        value = value + sum(dist.transitions[row, a, b] for a, b in itertools.pairwise(y))
        values.append(value)
    return torch.stack(values).log_softmax(0)


def of_rows(dist, function):
    """What a function of (y, log-probabilities) of all sequences is for each row."""
    return torch.stack([function(sequences(dist, row), enumerated(dist, row)) for row in range(3)])


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_probability_is_that_of_all_sequences_enumerated(dtype, scale):
    dist = example(dtype, scale)
    for row in range(3):
        answer = dist[row].log_prob(sequences(dist, row))
        torch.testing.assert_close(answer, enumerated(dist, row))
        torch.testing.assert_close(answer.exp().sum(), torch.tensor(1.0, dtype=dtype))


def test_the_mode_is_the_most_probable_sequence():
    dist = example()
    assert torch.equal(dist.mode, of_rows(dist, lambda y, log_p: y[log_p.argmax()]))


def test_marginals_and_entropy_are_those_of_the_enumeration():
    dist = example()

    def marginals(y, log_p):
        counted = functional.one_hot(y.clamp(min=0), 3) * (y >= 0).unsqueeze(-1)
        return (log_p.exp()[:, None, None] * counted).sum(0)

    torch.testing.assert_close(dist.marginal_probs, of_rows(dist, marginals))
    torch.testing.assert_close(
        dist.entropy(), of_rows(dist, lambda y, log_p: -(log_p.exp() * log_p).sum())
    )
    inside = torch.arange(4) < LENGTHS.unsqueeze(-1)
    torch.testing.assert_close(dist.marginal_probs.sum(-1), inside.double())


def test_marginals_are_the_gradient_of_the_normalizer():
    emissions = example().emissions.requires_grad_()
    dist = LinearChain(**{**scores(), "emissions": emissions}, lengths=LENGTHS)
    gradient = torch.autograd.grad(dist.log_normalizer.sum(), emissions)[0]
    torch.testing.assert_close(gradient, dist.marginal_probs)


def test_the_divergence_is_that_of_the_enumeration():
    p = example()
    q = LinearChain(p.emissions.flip(-1), p.transitions.mT, p.end, p.start, LENGTHS)
    expected = torch.stack(
        [
            (enumerated(p, row).exp() * (enumerated(p, row) - enumerated(q, row))).sum()
            for row in range(3)
        ]
    )
    torch.testing.assert_close(dh.divergence("kl", p, q), expected)
    torch.testing.assert_close(dh.divergence("kl", p, p), torch.zeros(3, dtype=torch.float64))
    other = LinearChain(**scores(), lengths=[4, 2, 3])
    assert dh.divergence("kl", p, other).isinf().tolist() == [False, True, False]


def test_samples_have_the_probabilities_of_their_sequences():
    dist, count = example(), 20_000
    y = dist.sample((count,), generator=torch.Generator().manual_seed(0))
    for row in range(3):
        all_of_it, probs = sequences(dist, row), enumerated(dist, row).exp()
        shares = (y[:, row].unsqueeze(1) == all_of_it).all(-1).double().mean(0)
        assert shares.sum() == 1
        assert ((shares - probs).abs() < 5 * (probs / count).sqrt() + 5 / count).all()


@pytest.mark.parametrize("name", ["log_prob", "entropy", "marginal_probs"])
def test_gradients_are_those_of_finite_differences(name):
    y = torch.tensor([[0, 1, 2, 0], [2, -1, -1, -1], [1, 1, 0, -1]])

    def answer(*values):
        dist = LinearChain(*values, lengths=LENGTHS)
        return {
            "log_prob": lambda: dh.objectives.crf(dist, y),
            "entropy": dist.entropy,
            "marginal_probs": lambda: dist.marginal_probs.square(),
        }[name]()

    inputs = [value.requires_grad_() for value in scores().values()]
    assert torch.autograd.gradcheck(answer, inputs)


def test_without_transitions_the_labels_are_independent_classes():
    emissions = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 1, 2, 2, 0], [1, 1, 0, 2, 2]])
    chain = LinearChain(emissions, torch.zeros(3, 3))
    classes = dh.get_family("categorical", num_classes=3).from_raw(emissions).to_event(1)
    torch.testing.assert_close(dh.objectives.crf(chain, y), dh.objectives.nll(classes, y))
    torch.testing.assert_close(chain.entropy(), classes.entropy())
    assert torch.equal(chain.mode, classes.mode)


def test_transitions_may_be_excluded():
    inputs = scores(torch.float32)
    inputs["transitions"][0] = -torch.inf  # nothing comes after the label 0
    inputs["transitions"][1, 2] = -torch.inf
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    dist = LinearChain(**inputs, lengths=LENGTHS)
    for row in range(3):
        torch.testing.assert_close(
            dist[row].log_prob(sequences(dist, row)).exp(), enumerated(dist, row).exp()
        )
    y = dist.sample((100,), generator=torch.Generator().manual_seed(0))
    assert dist.log_prob(y).isfinite().all()
    assert dist.log_prob(dist.mode).isfinite().all()
    entropy = of_rows(dist, lambda y, log_p: torch.special.entr(log_p.exp()).sum())
    torch.testing.assert_close(dist.entropy(), entropy)
    values = dh.objectives.crf(dist, dist.mode).sum() + dist.entropy().sum()
    for gradient in torch.autograd.grad(values, list(inputs.values())):
        assert gradient.isfinite().all()


def test_positions_beyond_the_length_do_not_count():
    dist, y = example(), torch.tensor([[0, 1, 2, 0], [2, -1, -1, -1], [1, 1, 0, -1]])
    emissions = dist.emissions.clone()
    emissions[1, 1:] = torch.nan
    other = LinearChain(**{**scores(), "emissions": emissions.requires_grad_()}, lengths=LENGTHS)
    for name in ("mode", "marginal_probs", "log_normalizer"):
        torch.testing.assert_close(getattr(other, name), getattr(dist, name))
    torch.testing.assert_close(other.log_prob(y), dist.log_prob(y))
    gradient = torch.autograd.grad(other.log_prob(y).sum(), emissions)[0]
    assert gradient.isfinite().all()
    assert (gradient[1, 1:] == 0).all()


def test_batches_of_any_number_of_dimensions():
    dist, y = example(), torch.tensor([[0, 1, 2, 0], [2, -1, -1, -1], [1, 1, 0, -1]])
    many = dist.expand((2, 5, 3))
    torch.testing.assert_close(
        dh.objectives.crf(many, y.expand(2, 5, 3, 4)), -dist.log_prob(y).expand(2, 5, 3)
    )
    assert many.sample((7,)).shape == (7, 2, 5, 3, 4)
    assert many.mode.shape == (2, 5, 3, 4)
    assert many.entropy().shape == (2, 5, 3)
    torch.testing.assert_close(dist[2].log_prob([1, 1, 0]), dist.log_prob(y)[2])
    inputs = scores()
    each = LinearChain(**{**inputs, "start": inputs["start"].expand(3, 3)}, lengths=LENGTHS)
    torch.testing.assert_close(each.log_prob(y), dist.log_prob(y))


def test_a_head_learns_that_labels_stay():
    generator = torch.Generator().manual_seed(0)
    stay = LinearChain(torch.zeros(150, 10, 2), 2 * torch.eye(2))
    y = stay.sample(generator=generator)
    seen = y.unsqueeze(-1) + 1.5 * torch.randn(150, 10, 1, generator=generator)
    torch.manual_seed(0)
    head = LinearChainHead(in_features=1, num_labels=2)
    assert (head.transitions == 0).all()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=15, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        value = loss(dh.objectives.crf, head(seen), y)
        value.backward()
        return value

    optimizer.step(step)
    dist = head(seen)
    odds = (head.transitions.diag().sum() - head.transitions.fliplr().diag().sum()) / 2
    assert abs(odds.item() - 2) < 0.4
    alone = dh.get_family("categorical", num_classes=2).from_raw(dist.emissions).mode
    assert (dist.mode == y).float().mean() > (alone == y).float().mean() + 0.05


@pytest.mark.parametrize(
    "y, message",
    [
        ([[0, 1, 2, -1]] * 3, r"\[labels, length\] = 2 of 3 .*\[3, 4\] at row 0.*lengths=\(y >="),
        ([[0, 1, 3, 1]] * 3, r"labels 0, ..., 2.*3 at row 0, column 2.*Number the labels from 0"),
        ([[0, -100, 1, 1]] * 3, r"Pad with -1: try torch.where"),
        ([[0, -1, 1, 1]] * 3, r"a label after -1"),
    ],
)
def test_wrong_targets_say_what_to_do(y, message):
    with pytest.raises(TargetError, match=message):
        dh.objectives.crf(example(), torch.tensor(y))


def test_wrong_arguments_say_what_to_do():
    emissions = torch.zeros(3, 4, 2)
    with pytest.raises(ValueError, match=r"transitions must have the shape \(2, 2\) or \(3, 2, 2"):
        LinearChain(emissions, torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"start must have the shape \(2,\) or \(3, 2\).*got \(4,"):
        LinearChain(emissions, torch.zeros(2, 2), torch.zeros(4))
    with pytest.raises(ValueError, match=r"lengths must be from 1 to 4"):
        LinearChain(emissions, torch.zeros(2, 2), lengths=[0, 1, 2])
    with pytest.raises(NotImplementedError, match=r"Normal has no crf: .*LinearChain"):
        dh.objectives.crf(dh.get_family("normal").distribution(loc=0.0, scale=1.0), 0.0)
    with pytest.raises(NotImplementedError, match=r"LinearChain has no median: labels are names"):
        _ = example().median
