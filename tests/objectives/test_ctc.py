"""CTC against PyTorch's loss and the enumeration of all alignments."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead.distributions import CTC, LinearChain
from disthead.errors import TargetError
from disthead.losses import loss
from disthead.metrics import NegativeLogLikelihood

LENGTHS = torch.tensor([4, 2, 3])


def example(dtype=torch.float64, scale=1.0, blank=0):
    """Three rows of up to four frames, three outcomes."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(3, 4, 3, generator=generator, dtype=torch.float64)
    return CTC(logits.to(dtype).requires_grad_(), LENGTHS, blank)


def collapse(path, blank):
    merged = [label for label, _ in itertools.groupby(path)]
    return tuple(label for label in merged if label != blank)


def enumerated(dist):
    """The probability of each label sequence of each row, summed over all paths."""
    rows = []
    for logits, length in zip(dist.logits.detach().double(), dist.lengths.tolist(), strict=True):
        log_p, probs = logits.log_softmax(-1), {}
        for path in itertools.product(range(dist.num_labels), repeat=length):
            probability = math.exp(sum(log_p[t, k].item() for t, k in enumerate(path)))
            sequence = collapse(path, dist.blank)
            probs[sequence] = probs.get(sequence, 0.0) + probability
        rows.append(probs)
    return rows


def padded(sequence, size=4):
    return [*sequence, *[-1] * (size - len(sequence))]


def unpadded(row):
    return tuple(label for label in row if label >= 0)


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_the_probability_is_the_sum_over_all_paths(blank):
    dist = example(blank=blank)
    labels = [label for label in range(3) if label != blank]
    sequences = [
        sequence for size in range(5) for sequence in itertools.product(labels, repeat=size)
    ]
    y = torch.tensor([padded(sequence) for sequence in sequences])
    answer = dist.log_prob(y.unsqueeze(1).expand(-1, 3, -1))
    expected = torch.tensor(
        [[probs.get(sequence, 0.0) for probs in enumerated(dist)] for sequence in sequences],
        dtype=torch.float64,
    )
    torch.testing.assert_close(answer.exp(), expected)
    torch.testing.assert_close(answer.exp().sum(0), torch.ones(3, dtype=torch.float64))
    assert (answer.isneginf() == (expected == 0)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_it_is_minus_the_loss_of_pytorch(dtype, scale):
    generator = torch.Generator().manual_seed(1)
    logits = scale * torch.randn(5, 20, 6, generator=generator, dtype=dtype)
    lengths, sizes = torch.tensor([20, 15, 9, 20, 12]), torch.tensor([7, 0, 3, 5, 4])
    y = torch.randint(1, 6, (5, 7), generator=generator)
    y = torch.where(torch.arange(7) < sizes.unsqueeze(-1), y, -1)
    logits.requires_grad_()
    ours = dh.objectives.ctc(CTC(logits, lengths), y)
    theirs = functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), y.clamp(min=0), lengths, sizes, reduction="none"
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), logits), torch.autograd.grad(theirs.sum(), logits)
    )
    assert ours.dtype == dtype


def test_the_gradient_is_that_of_finite_differences():
    y = torch.tensor([[1, 2, -1], [2, -1, -1], [1, 1, -1]])
    assert torch.autograd.gradcheck(
        lambda logits: dh.objectives.ctc(CTC(logits, LENGTHS), y), example().logits
    )


def test_batches_of_any_number_of_dimensions():
    dist, y = example(), torch.tensor([[1, 2], [2, -1], [1, 1]])
    expected = dist.log_prob(y)
    many = CTC(dist.logits.expand(2, 5, 3, 4, 3), LENGTHS.expand(2, 5, 3))
    torch.testing.assert_close(many.log_prob(y.expand(2, 5, 3, 2)), expected.expand(2, 5, 3))
    one = CTC(dist.logits[0])
    torch.testing.assert_close(one.log_prob([1, 2]), expected[0])
    torch.testing.assert_close(dist[1:].log_prob(y[1:]), expected[1:])
    assert one.best_path().shape == one.sample().shape == (4,)
    assert many.sample((7,)).shape == (7, 2, 5, 3, 4)
    assert [part.shape for part in many.beam_search(2)] == [(2, 2, 5, 3, 4), (2, 2, 5, 3)]


def test_no_rows_have_no_loss():
    dist, y = example()[:0], torch.zeros(0, 2, dtype=torch.int64)
    assert loss(dh.objectives.ctc, dist, y, reduction="sum") == 0
    assert dist.beam_search(2)[0].shape == (2, 0, 4)
    assert dist.best_path().shape == dist.sample().shape == (0, 4)
    chain = LinearChain(dist.logits, torch.zeros(3, 3))
    assert loss(dh.objectives.crf, chain, y, reduction="sum") == 0
    assert chain.mode.shape == chain.sample().shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float64])
def test_labels_may_have_any_dtype(dtype):
    dist, y = example()[:1], torch.tensor([[1, 2]])
    torch.testing.assert_close(dist.log_prob(y.to(dtype)), dist.log_prob(y))
    chain = LinearChain(dist.logits, torch.zeros(3, 3), lengths=[2])
    torch.testing.assert_close(chain.log_prob(y.to(dtype)), chain.log_prob(y))
    assert dist.log_prob(torch.tensor([[1.5, 2.0]])).isneginf().all()


def test_targets_without_probability_have_the_gradient_zero():
    dist = example()
    y = torch.tensor([[1, -1, 2], [1, 1, -1], [0, 1, -1]])  # a gap, too few frames, a blank
    log_prob = dist.log_prob(y)
    assert log_prob.isneginf().all()
    assert (torch.autograd.grad(log_prob.sum(), dist.logits)[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_outcome_may_be_excluded(dtype):
    logits = example(dtype).logits.detach().clone()
    logits[..., 2] = -torch.inf
    dist = CTC(logits.requires_grad_(), LENGTHS)
    y = torch.tensor([[1, 1], [1, -1], [1, 2]])
    log_prob = dist.log_prob(y)
    expected = [
        probs.get(unpadded(row), 0) for probs, row in zip(enumerated(dist), y.tolist(), strict=True)
    ]
    torch.testing.assert_close(log_prob.exp(), torch.tensor(expected, dtype=dtype))
    gradient = torch.autograd.grad(log_prob.sum(), dist.logits)[0]
    assert gradient.isfinite().all()
    assert gradient[:2, :, :2].abs().sum() > 0
    assert (gradient[..., 2] == 0).all()


def test_frames_beyond_the_length_do_not_count():
    dist, y = example(), torch.tensor([[1, 2], [2, -1], [1, 1]])
    logits = dist.logits.detach().clone()
    logits[1, 2:] = torch.nan
    other = CTC(logits.requires_grad_(), LENGTHS)
    torch.testing.assert_close(other.log_prob(y), dist.log_prob(y))
    gradient = torch.autograd.grad(other.log_prob(y).sum(), logits)[0]
    assert gradient.isfinite().all()
    assert (gradient[1, 2:] == 0).all()


@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_finds_all_sequences_in_order(blank):
    dist = example(blank=blank)
    sequences, log_prob = dist.beam_search(100)
    for row, probs in enumerate(enumerated(dist)):
        is_there = log_prob[:, row] > -torch.inf
        found = [unpadded(y) for y in sequences[is_there, row].tolist()]
        assert len(found) == len(set(found)) == len(probs)
        assert found == sorted(probs, key=probs.get, reverse=True)
        assert (sequences[~is_there, row] == -1).all()


def test_a_narrow_beam_finds_the_best_and_the_best_path_may_not():
    # The best path is all blanks (0.36), and the sequence of one label has more paths (0.64).
    dist = CTC(torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log())
    assert dist.best_path().tolist() == [-1, -1]
    sequences, log_prob = dist.beam_search(2)
    assert sequences.tolist() == [[1, -1], [-1, -1]]
    torch.testing.assert_close(log_prob.exp(), torch.tensor([0.64, 0.36]))
    dist = example()
    wide, narrow = dist.beam_search(100)[0][0], dist.beam_search(6)[0][0]
    assert torch.equal(wide, narrow)


def test_the_best_path_is_the_collapsed_path_of_most_probability():
    dist = example()
    for row, (logits, length) in enumerate(zip(dist.logits, LENGTHS.tolist(), strict=True)):
        path = logits[:length].argmax(-1).tolist()
        assert unpadded(dist.best_path()[row].tolist()) == collapse(path, 0)


def test_samples_have_the_probabilities_of_their_sequences():
    dist, count = example(), 20_000
    y = dist.sample((count,), generator=torch.Generator().manual_seed(0))
    assert dist.support.check(y).all()
    for row, probs in enumerate(enumerated(dist)):
        found = [unpadded(sample) for sample in y[:, row].tolist()]
        for sequence, probability in probs.items():
            error = 5 * math.sqrt(probability / count) + 5 / count
            assert abs(found.count(sequence) / count - probability) < error


def test_weights_and_metrics():
    dist, y = example(), torch.tensor([[1, 2], [2, -1], [-7, 1]])
    rows = dh.objectives.ctc(dist[:2], y[:2])
    mean = loss(dh.objectives.ctc, dist, y, weight=[1.0, 3.0, 0.0])
    torch.testing.assert_close(mean, (rows[0] + 3 * rows[1]) / 4)
    gradient = torch.autograd.grad(mean, dist.logits)[0]
    assert (gradient[2] == 0).all()
    metric = NegativeLogLikelihood()
    with pytest.raises(TargetError, match=r"must be sequences of labels .*row 1"):
        metric.update(dist[:2], torch.tensor([[1, 2, -1], [1, 1, -1]]))
    metric.update(dist[:2], y[:2])
    torch.testing.assert_close(metric.compute(), rows.detach().mean(), check_dtype=False)


@pytest.mark.parametrize(
    "y, message",
    [
        ([[1, 1, -1]] * 3, r"more frames .*between equal neighbours.*\[3, 2\] at row 1.*down"),
        ([[1, -100, -100]] * 3, r"-100 at row 0, column 1.*torch.where\(y < 0, -1, y\)"),
        ([[3, 1, -1]] * 3, r"without the blank 0.*3 at row 0, column 0.*Number the labels"),
        ([[0, 1, -1]] * 3, r"0 at row 0, column 0.*0 is the blank"),
        ([[-1, 1, -1]] * 3, "a label after -1 in 3 of 3 .*to the front"),
    ],
)
def test_wrong_targets_say_what_to_do(y, message):
    with pytest.raises(TargetError, match=message):
        dh.objectives.ctc(example(), torch.tensor(y))


def test_wrong_arguments_say_what_to_do():
    logits = torch.zeros(3, 4, 5)
    with pytest.raises(ValueError, match=r"from 1 to 4, .*9 at row 1.*divide the lengths"):
        CTC(logits, torch.tensor([4, 9, 1]))
    with pytest.raises(ValueError, match=r"one number per row, shape \(3,\), got \(2,\)"):
        CTC(logits, [4, 4])
    with pytest.raises(ValueError, match=r"must be integers, got torch.float32"):
        CTC(logits, torch.ones(3))
    with pytest.raises(ValueError, match=r"blank must be one of the outcomes 0, ..., 4 .*got 5"):
        CTC(logits, blank=5)
    with pytest.raises(ValueError, match=r"shape \(..., T, K\).*got \(5,\)"):
        CTC(torch.zeros(5))
    with pytest.raises(ValueError, match=r"y must have the shape \(3, 4\).*try y\[..., :4\]"):
        dh.objectives.ctc(CTC(logits), torch.ones(3, 5))
    with pytest.raises(ValueError, match="width must be an integer of at least 1"):
        CTC(logits).beam_search(0)
    with pytest.raises(NotImplementedError, match=r"Normal has no ctc: .*CTC"):
        dh.objectives.ctc(dh.get_family("normal").distribution(loc=0.0, scale=1.0), 0.0)


@pytest.mark.parametrize("name", ["mean", "mode", "median", "variance", "entropy"])
def test_what_is_not_feasible_says_so(name):
    with pytest.raises(NotImplementedError, match=f"CTC has no {name}: "):
        getattr(example(), name)()


def test_the_padding_of_unsigned_numbers_is_none():
    """For torch the 255 of uint8 is -1, and ctc_loss reads it as a label beyond its memory."""
    y = torch.tensor([[1, 2], [2, -1], [1, -1]]).to(torch.uint8)
    for objective, dist in (
        (dh.objectives.ctc, example()),
        (
            dh.objectives.crf,
            LinearChain(torch.zeros(3, 2, 3), torch.zeros(3, 3), lengths=[2, 1, 1]),
        ),
    ):
        with pytest.raises(TargetError, match=r"255 at row 1.*pad signed ones, such as y\.long"):
            objective(dist, y)
        assert dist.log_prob(y)[1:].tolist() == [-math.inf, -math.inf]
