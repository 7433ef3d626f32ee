"""The one pass of the low-rank normal from raw outputs: the formula's numbers, in every situation,
and exact where A is huge.
"""

import itertools
import math

import mpmath
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import disthead as dh
from benchmarks.accuracy import BOUNDS, numbers, relative_error
from tests.one_pass import (
    check_backward_twice,
    check_shapes,
    check_target_gradients_transforms_and_units,
    gradient,
)
from tests.truth import softplus


def case(size, rank, rows, generator, dtype=torch.float32):
    family = dh.get_family("multivariate_normal", event_shape=(size,), rank=rank)
    raw = torch.randn(rows, size * (rank + 2), generator=generator).to(dtype)
    return family, raw.requires_grad_(), torch.randn(rows, size, generator=generator)


@pytest.mark.parametrize(
    "size, rank, rows", [(1, 1, 5), (3, 1, 7), (3, 3, 7), (40, 4, 2500), (30_000, 3, 3)]
)  # the last two in several pieces
@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_values_and_gradients(size, rank, rows, link, generator):
    family, raw, y = case(size, rank, rows, generator)
    links = family.resolve_links({"cov_diag": link})
    weight = torch.linspace(-1, 2, rows)
    dist = family.from_raw(raw, links)
    value = dist.log_prob(y)
    assert value.dtype == torch.float32
    loc, factor, diagonal = raw.double().split([size, size * rank, size], -1)
    positive = (
        diagonal.exp() if link == "exp" else torch.nn.functional.softplus(diagonal, threshold=40)
    )
    peer = torch.distributions.LowRankMultivariateNormal(
        loc, factor.unflatten(-1, (size, rank)), positive
    )
    expected = peer.log_prob(y.double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    slopes = gradient(weight * expected, raw)
    torch.testing.assert_close(gradient(weight * value, raw), slopes, rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # no derivatives are made
        torch.testing.assert_close(family.from_raw(raw, links).log_prob(y), value)
    assert dist._is_lazy


def hard_cases(size, rank):
    """Small and huge effects, nearly collinear ones, noise of all sizes; targets that the causes
    explain, and others.
    """
    generator = torch.Generator().manual_seed(0)
    grid = itertools.product(
        (1e-3, 1.0, 1e6 * math.sqrt(size)), (1.0, 1e-3, 1e-6), (1e3, 0.5, -30.0, None), (0, 1, 2)
    )
    for scale, difference, raw_noise, kind in grid:
        factor = scale * torch.randn(size, rank, generator=generator)
        factor = difference * factor + factor[:, :1] * (difference < 1)
        diagonal = (
            torch.linspace(-40, 5, size) if raw_noise is None else torch.full((size,), raw_noise)
        )
        loc = torch.randn(size, generator=generator)
        y = loc + (scale * torch.randn(size, generator=generator) if kind == 2 else factor.sum(-1))
        y = y + kind % 2 * torch.nn.functional.softplus(diagonal).sqrt() * torch.randn(
            size, generator=generator
        )
        yield torch.cat([loc, factor.flatten(), diagonal]), y


def truth(raw, y, size, rank):
    """The log-density and its derivatives by the dense covariance, at many digits."""
    raw, y = ([mpmath.mpf(x) for x in values.tolist()] for values in (raw, y))
    factor = mpmath.matrix(
        [raw[size + row * rank : size + (row + 1) * rank] for row in range(size)]
    )
    diagonal = raw[-size:]
    covariance = factor * factor.T + mpmath.diag([softplus(x) for x in diagonal])
    precision = covariance**-1
    deviation = mpmath.matrix([target - loc for target, loc in zip(y, raw, strict=False)])
    solved = precision * deviation
    squared = (deviation.T * solved)[0]
    value = -(squared + mpmath.log(mpmath.det(covariance)) + size * mpmath.log(2 * mpmath.pi)) / 2
    by_covariance = (solved * solved.T - precision) / 2
    by_factor = 2 * by_covariance * factor
    slope_of_softplus = [1 / (1 + mpmath.exp(-x)) for x in diagonal]
    by_diagonal = [by_covariance[k, k] * slope_of_softplus[k] for k in range(size)]
    return value, [*solved, *by_factor, *by_diagonal]


@pytest.mark.parametrize("size, rank", [(3, 1), (6, 2), (8, 3)])
def test_hard_cases_are_exact(size, rank):
    rows = list(hard_cases(size, rank))
    with mpmath.workdps(80):
        values, slopes = zip(*(truth(*row, size, rank) for row in rows), strict=True)
    raw, y = (torch.stack(parts) for parts in zip(*rows, strict=True))
    raw.requires_grad_()
    dist = dh.get_family("multivariate_normal", event_shape=(size,), rank=rank).from_raw(raw)
    value = dist.log_prob(y)
    assert (relative_error(value, numbers(values)) <= BOUNDS["log_prob"][torch.float32]).all()
    errors = relative_error(gradient(value, raw), torch.stack([numbers(row) for row in slopes]))
    assert (errors <= BOUNDS["gradient"][torch.float32]).all()


def test_a_target_at_the_mean_has_no_gradient_by_it(generator):
    family, raw, y = case(4, 2, 3, generator)
    y = raw[:, :4].detach()
    slope = gradient(family.from_raw(raw).log_prob(y), raw)
    assert slope.isfinite().all()
    assert not slope[:, :4].any()


def test_backward_twice_and_differentiated_twice(generator):
    check_backward_twice(*case(5, 2, 7, generator))


def test_shapes(generator):
    family, raw, y = case(3, 2, 6, generator)
    check_shapes(family, raw, y)
    assert family.from_raw(raw[:0]).log_prob(y[:0]).shape == (0,)
    with pytest.raises(ValueError, match="takes 12 raw outputs"):
        family.from_raw(raw[:, 1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_single(dtype, generator):
    family, raw, y = case(4, 2, 6, generator, dtype)
    value = family.from_raw(raw).log_prob(y)
    assert value.dtype == torch.float32
    exact = family.from_raw(raw.double()).log_prob(y.double())
    torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=2e-6)
    assert gradient(value, raw).dtype == dtype


def test_target_gradients_transforms_and_units(generator):
    check_target_gradients_transforms_and_units(*case(3, 2, 4, generator))


class Sizes(TorchDispatchMode):
    """The bytes of every tensor that is made."""

    def __init__(self):
        super().__init__()
        self.made = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.made[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return result


def test_of_long_rows_only_the_gradient_is_held(generator):
    """Neither the parameters nor anything in double precision: beside the gradient there is a piece
    of a few rows at a time.
    """
    family, raw, y = case(20_000, 4, 32, generator)
    raw = raw.detach().requires_grad_()
    with Sizes() as sizes:
        family.from_raw(raw).log_prob(y).mean().backward()
    memory = raw.untyped_storage().nbytes()
    given = {tensor.untyped_storage().data_ptr() for tensor in (raw, y)}
    large = [size for at, size in sizes.made.items() if at not in given and size > memory / 8]
    assert large == [memory]
