"""Log-probabilities of class indices in one pass: the numbers of log_softmax, in every situation
that autograd knows.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

import disthead as dh
from disthead.likelihood import classes as module
from disthead.special.blocks import AVAILABLE, choose
from tests.one_pass import gradient

# few classes go along columns, more along rows, very many in pieces of rows
SIZES = [(7, 3), (30_000, 10), (9, 100), (20, 40), (1500, 1000)]
every_size = pytest.mark.parametrize("rows, classes", SIZES)


def example(rows: int, classes: int, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, classes, generator=generator, dtype=dtype)
    return logits.requires_grad_(), torch.randint(classes, (rows,), generator=generator)


def log_prob(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return dh.get_family("categorical", num_classes=logits.shape[-1]).from_raw(logits).log_prob(y)


def formula(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return logits.double().log_softmax(-1).gather(-1, y.long().unsqueeze(-1)).squeeze(-1)


@every_size
@pytest.mark.parametrize("dtype, error", [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_values_and_gradients_are_those_of_the_formula(rows, classes, dtype, error):
    logits, y = example(rows, classes, dtype)
    assert (module.class_log_prob(logits, y) is not None) == (classes >= module.FEW_CLASSES)
    value, exact = log_prob(logits, y), formula(logits, y)
    assert value.dtype == dtype
    torch.testing.assert_close(value.double(), exact, rtol=error, atol=error)
    torch.testing.assert_close(
        gradient(value, logits), gradient(exact, logits), rtol=error, atol=error
    )


@every_size
def test_incoming_gradients_weigh_rows(rows, classes):
    logits, y = example(rows, classes)
    weight = torch.linspace(-1, 2, rows)
    ours = gradient(weight * log_prob(logits, y), logits)
    torch.testing.assert_close(
        ours, gradient(weight * formula(logits, y), logits), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rows, classes", SIZES[::2])
def test_backward_twice_and_differentiated_twice(rows, classes):
    logits, y = example(rows, classes)
    value = log_prob(logits, y)
    first = gradient(value, logits, retain_graph=True)
    torch.testing.assert_close(gradient(value, logits, retain_graph=True), first)
    slope = gradient(value, logits, create_graph=True)
    exact = gradient(formula(logits, y), logits, create_graph=True)
    torch.testing.assert_close(
        gradient(slope.square(), logits), gradient(exact.square(), logits), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("in_torch", [False, True])
@pytest.mark.parametrize("dtype, error", [(torch.float32, 1e-6), (torch.float64, 1e-15)])
@pytest.mark.parametrize("classes", [12, 15, 16, 17, 33, 1023, 1024, 1025, 3000])
def test_a_class_that_is_almost_certain_keeps_its_digits(
    classes, dtype, error, in_torch, monkeypatch
):
    """Whatever its place, of rows that do and do not fill vectors: -log p is what the others have,
    not what rounding leaves.
    """
    if in_torch:
        monkeypatch.setattr(module, "choose", lambda *arguments: False)
    logits, _ = example(40, classes, dtype)
    y = torch.arange(40) * 7 % classes
    logits = (logits.detach() - 60 + 25 * torch.nn.functional.one_hot(y, classes)).requires_grad_()
    others = logits.detach().double().scatter(1, y.unsqueeze(1), -torch.inf).logsumexp(1)
    exact = -(others - logits.detach().double().gather(1, y.unsqueeze(1)).squeeze(1)).exp().log1p()
    value = log_prob(logits, y)
    torch.testing.assert_close(value.double(), exact, rtol=30 * error, atol=0)
    slope = gradient(value, logits).gather(1, y.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(slope.double(), -exact.expm1(), rtol=30 * error, atol=0)


@pytest.mark.parametrize("classes", [12, 100])
def test_equals_masked_classes_and_logits_that_are_no_numbers(classes):
    logits = torch.zeros(5, classes)
    logits[1, 3:] = -torch.inf
    logits[2, 5], logits[3, 5], logits[4] = torch.nan, torch.inf, -torch.inf
    value = log_prob(logits.requires_grad_(), torch.tensor([0, 2, 0, 0, 0]))
    torch.testing.assert_close(value[:2], -torch.tensor([classes, 3.0]).log())
    assert value[2:].isnan().all()
    few = logits[:2].detach().requires_grad_()
    slopes = gradient(log_prob(few, torch.tensor([0, 2])), few)
    torch.testing.assert_close(slopes[1, :3], torch.tensor([-1.0, -1.0, 2.0]) / 3)
    assert not slopes[1, 3:].any()
    torch.testing.assert_close(slopes[0, 1:], torch.full((classes - 1,), -1 / classes))


@every_size
def test_with_and_without_the_library_in_c(rows, classes, monkeypatch):
    logits, y = example(rows, classes)
    value = log_prob(logits, y)
    slope = gradient(value, logits)
    monkeypatch.setattr(module, "choose", lambda *arguments: False)
    also = log_prob(logits, y)
    torch.testing.assert_close(also, value)
    torch.testing.assert_close(gradient(also, logits), slope)


def test_far_apart_logits_keep_every_digit():
    logits = torch.tensor(
        [[0.0, 1e4, -1e4], [1e30, 0.0, 1e30], [-200.0, 0.0, -torch.inf]], requires_grad=True
    )
    y = torch.tensor([2, 0, 0])
    value = log_prob(logits, y)
    torch.testing.assert_close(value.double(), formula(logits, y), rtol=1e-6, atol=0)
    assert gradient(value, logits).isfinite().all()


def test_pixels_and_indices_of_floating_dtype():
    logits, y = example(24, 5)
    pixels, places = logits.reshape(2, 3, 4, 5), y.reshape(2, 3, 4)
    value = log_prob(pixels, places.float())
    assert value.shape == (2, 3, 4)
    torch.testing.assert_close(value.flatten(), log_prob(logits, y))
    torch.testing.assert_close(
        gradient(value, logits), gradient(formula(logits, y), logits).float()
    )


@pytest.mark.parametrize("rows, classes", SIZES)
@pytest.mark.parametrize("outside", [-1, -100, "the number of classes", 0.5, torch.nan])
def test_an_index_outside_has_no_probability_and_no_gradient(outside, rows, classes):
    logits, y = example(rows, classes)
    outside = classes if isinstance(outside, str) else outside
    y = y.to(torch.float32 if isinstance(outside, float) else torch.int64)
    y[0] = outside
    assert module.class_log_prob(logits, y) is None
    value = log_prob(logits, y)
    assert value[0] == -torch.inf
    torch.testing.assert_close(value[1:].double(), formula(logits[1:], y[1:]), rtol=2e-6, atol=2e-6)
    assert not gradient(value, logits)[0].any()


@every_size
def test_targets_of_inference_mode(rows, classes):
    logits, y = example(rows, classes)
    with torch.inference_mode():
        also = y.clone()
    torch.testing.assert_close(
        gradient(log_prob(logits, also), logits), gradient(log_prob(logits, y), logits)
    )


def test_one_row_that_is_no_number_leaves_the_others_alone(monkeypatch):
    logits, y = example(40_000, 12)
    expected = log_prob(logits, y).detach()
    refused = []
    monkeypatch.setattr(
        module, "choose", lambda *given: choose(*given) or bool(refused.append(given[:2]))
    )
    with torch.no_grad():
        logits[1, 0], logits[2] = torch.nan, -torch.inf
    value = log_prob(logits, y)
    assert len(refused) == (1 if AVAILABLE else 4)
    assert value[1:3].isnan().all()
    torch.testing.assert_close(value[3:], expected[3:])
    value += 1  # in place, whatever way was taken
    assert gradient(value[3:], logits).isfinite().sum() >= 39_997 * 12


def test_a_column_of_indices_and_signs_that_wait():
    logits, y = example(9, 100)
    table = torch.stack([y, y], 1)
    torch.testing.assert_close(log_prob(logits, table[:, 0]), log_prob(logits, y))
    torch.testing.assert_close(log_prob(logits, torch._neg_view(-y)), log_prob(logits, y))


@every_size
def test_tensors_without_memory_go_by_plain_operations(rows, classes):
    logits, y = example(rows, classes)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = log_prob(torch.zeros(rows, classes), torch.zeros(rows, dtype=torch.long))
    assert fake.shape == (rows,)
    value = log_prob(logits.detach(), TwoTensor(y, y))
    torch.testing.assert_close(
        value.a if isinstance(value, TwoTensor) else value, log_prob(logits, y).detach()
    )
