"""Answers without a gradient come by quicker ways: they are those that come with one."""

import math

import pytest
import torch

import disthead as dh
from disthead.families.normal import Normal

SIZES = torch.tensor([1e-30, 1e-10, 0.1, 0.5, 1.0, 3.0, 50.0, 1e4, 1e8], dtype=torch.float64)
PLACES = torch.tensor([-300.0, -1.0, 0.0, 0.3, 5.0, 500.0], dtype=torch.float64)
ANGLES = torch.tensor([-3.0, 0.0, 1.0], dtype=torch.float64)
TARGETS = torch.tensor(
    [-math.inf, -3, -0.0, 0, 1e-300, 1e-10, 0.01, 0.3, 0.5, 0.999,
     1, 1.0001, 2, 5, 40, 1e3, 1e8, 1e300, math.inf, math.nan],
    dtype=torch.float64,
)  # fmt: skip
LEVELS = torch.tensor(
    [0, 1e-300, 1e-30, 1e-9, 1e-3, 0.2, 0.5, 0.7, 0.99, 0.9995, 1 - 1e-9, 1], dtype=torch.float64
)
PARAMETERS = {
    "normal": (PLACES, SIZES),
    "laplace": (PLACES, SIZES),
    "log_normal": (PLACES, SIZES),
    "exponential": (SIZES,),
    "weibull": (SIZES, SIZES),
    "gamma": (SIZES, SIZES),
    "von_mises": (ANGLES, SIZES),
}


def both(name, dtype):
    """The distribution over a grid without and with gradients, and a target for each row."""
    targets = TARGETS[TARGETS.abs() <= math.pi] if name == "von_mises" else TARGETS
    *parameters, y = (
        part.reshape(-1).to(dtype)
        for part in torch.meshgrid(*PARAMETERS[name], targets, indexing="ij")
    )
    family = dh.get_family(name)
    names = list(family.parameters)
    differentiated = [part.clone().requires_grad_() for part in parameters]
    make = [
        family.make(**dict(zip(names, parts, strict=True)))
        for parts in (parameters, differentiated)
    ]
    return *make, y


def assert_alike(numbers, operations, dtype, absolute=0.0):
    operations = operations.detach()
    bound = {torch.float64: 2e-12, torch.float32: 3e-7}[dtype] * operations.abs() + absolute
    alike = (numbers == operations) | (numbers.isnan() & operations.isnan())
    assert (alike | ((numbers - operations).abs() <= bound)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", PARAMETERS)
def test_answers_without_a_gradient_are_those_with_one(name, dtype):
    plain, differentiated, y = both(name, dtype)
    # the normal distribution's cdf and crps stay in single precision, where they are right
    # absolutely
    absolute = 1e-6 if name == "normal" and dtype == torch.float32 else 1e-290
    for question in ("cdf", "log_cdf", "log_survival"):
        assert_alike(
            getattr(plain, question)(y), getattr(differentiated, question)(y), dtype, absolute
        )
    assert_alike(plain.entropy(), differentiated.entropy(), dtype)
    for level in LEVELS.to(dtype):
        assert_alike(plain.icdf(level), differentiated.icdf(level), dtype, 1e-290)


ORDINARY = {
    "normal": ([-3.0, 0.0, 0.7], [0.05, 1.0, 30.0]),
    "laplace": ([-3.0, 0.0, 0.7], [0.05, 1.0, 30.0]),
    "log_normal": ([-3.0, 0.0, 0.7, 250.0], [0.05, 1.0, 30.0]),
    "exponential": ([1e-6, 0.3, 1.0, 40.0],),
    "weibull": ([1e-6, 0.3, 1.0, 1e8], [0.05, 1.0, 3.0, 16.0]),
    "bernoulli": ([-800.0, -2.0, 0.0, 0.3, 40.0],),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ORDINARY)
def test_short_formulas_of_ordinary_numbers_are_the_methods(name, dtype):
    """One number out of range makes the method compute all rows."""
    family = dh.get_family(name)
    targets = torch.tensor([0.0, 1e-30, 1e-4, 0.3, 0.69999, 1.0, 5.0, 60.0], dtype=torch.float64)
    if name in ("normal", "laplace"):
        targets = torch.cat([-targets, targets])
    parts = (torch.tensor(part, dtype=torch.float64) for part in ORDINARY[name])
    *parameters, y = (
        part.reshape(-1).to(dtype) for part in torch.meshgrid(*parts, targets, indexing="ij")
    )
    dist = family.make(**dict(zip(family.parameters, parameters, strict=True)))
    after = dist.map(lambda part: torch.cat([part, part[:1]]))
    for question in ("cdf", "log_cdf", "log_survival"):
        method = getattr(after, question)(
            torch.cat([y, y.new_tensor([-math.inf if name != "normal" else math.nan])])
        )
        absolute = (
            1e-6 if name == "normal" and dtype == torch.float32 and question == "cdf" else 1e-290
        )
        assert_alike(getattr(dist, question)(y), method[:-1], dtype, absolute)
    levels = LEVELS[1:-1].to(dtype).clamp(max=1 - torch.finfo(dtype).eps).clamp(min=1e-30)
    for level in levels:
        method = after.icdf(torch.cat([level.expand(len(y)), level.new_zeros(1)]))
        assert_alike(dist.icdf(level), method[:-1], dtype, 1e-290)


@pytest.mark.parametrize("name", PARAMETERS)
def test_scores_without_a_gradient_are_those_with_one(name):
    plain, differentiated, y = both(name, torch.float64)
    size = plain.stddev + (y - plain.mean).abs()
    numbers, operations = plain.crps(y), differentiated.crps(y).detach()
    alike = (numbers == operations) | (numbers - operations).isnan()
    assert (alike | ((numbers - operations).abs() <= 1e-12 * size)).all()
    assert numbers[y.isfinite() & operations.isfinite()].isfinite().all()


@pytest.mark.parametrize("name", PARAMETERS)
def test_answers_take_rows_that_are_spread_over_memory(name):
    """Transposed, expanded, of every second row, scalars and none at all."""
    plain, _, y = both(name, torch.float64)
    answers = torch.stack([plain.cdf(y), plain.log_cdf(y), plain.log_survival(y), plain.crps(y)])
    levels = torch.linspace(0.01, 0.99, len(y), dtype=torch.float64)
    quantiles = plain.icdf(levels)
    some = len(y) // 2 * 2
    folded = lambda part: part[:some].reshape(2, -1).T  # noqa: E731
    dist, points = plain.map(folded), folded(y)
    results = [dist.cdf(points), dist.log_cdf(points), dist.log_survival(points), dist.crps(points)]
    for part, answer in zip(results, answers, strict=True):
        assert torch.equal(part.nan_to_num(7), folded(answer).nan_to_num(7))
    assert torch.equal(dist.icdf(folded(levels)), folded(quantiles))
    assert torch.equal(plain[::2].cdf(y[::2]).nan_to_num(7), answers[0][::2].nan_to_num(7))
    one = plain[5]
    assert one.cdf(y[5]).shape == one.icdf(levels[5]).shape == one.crps(y[5]).shape == ()
    assert torch.equal(
        one.icdf(levels[5].expand(3)), quantiles[5].new_tensor([one.icdf(levels[5]).item()] * 3)
    )
    assert (
        plain[:0].cdf(y[:0]).shape
        == plain[:0].icdf(levels[:0]).shape
        == plain[:0].crps(y[:0]).shape
        == (0,)
    )


def test_scales_that_underflowed_come_back_from_their_logarithms_wherever_they_lie_in_memory():
    log_scale = torch.tensor([[-100.0, -1.0], [0.0, -101.0]])
    y = torch.zeros(2, 2, dtype=torch.float64)
    expected = log_scale.double().exp() * (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert torch.allclose(Normal(0.0, log_scale=log_scale).crps(y), expected, rtol=1e-6, atol=0.0)
    assert torch.allclose(
        Normal(0.0, log_scale=log_scale.T).crps(y), expected.T, rtol=1e-6, atol=0.0
    )
