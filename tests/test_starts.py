"""Starts are finite and inside their links' range, whatever the targets are; where that cannot be,
the error says why.
"""

import pytest
import torch

import disthead as dh
from disthead.distributions.scores import draw
from disthead.links import LINKS
from tests.cases import CASES, rows

NASTY = {
    "constant": lambda y: y[:1].expand(y.shape).clone(),
    "half at one value": lambda y: torch.where(
        (torch.arange(len(y)) % 2 == 0).reshape(-1, *(1,) * (y.ndim - 1)), y[:1], y
    ),
    "most at one value": lambda y: torch.where(
        (torch.arange(len(y)) % 5 > 0).reshape(-1, *(1,) * (y.ndim - 1)), y[:1], y
    ),
    "two values": lambda y: y[:2].repeat(len(y) // 2, *(1,) * (y.ndim - 1)),
    "one row": lambda y: y[:1],
}


def targets(case, count=40):
    return draw(case.dist(batch=(count,)), 1, torch.Generator().manual_seed(0))[0]


# An inflated value that no target has, or all have, is such a target.
@pytest.mark.filterwarnings("ignore:no target is", "ignore:all .* targets are 0")
@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("case", rows(CASES))
def test_starts_are_finite_and_so_are_their_likelihoods(case, nasty):
    y = NASTY[nasty](targets(case))
    head = case.head().initialize(y)
    assert all(parameter.isfinite().all() for parameter in head.parameters())
    with torch.no_grad():
        head.linear.weight.zero_()
    assert (
        head(torch.zeros(len(y), 3))
        .log_prob(y.to(torch.float32) if y.is_floating_point() else y)
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e9])
@pytest.mark.parametrize("family", ["normal", "laplace", "student_t", "normal_mixture"])
def test_a_scale_with_a_lower_bound_starts_above_it(family, unit):
    """docs/edges.md advises the bound; targets in small units have a smaller spread."""
    y = unit * torch.randn(100, generator=torch.Generator().manual_seed(0))
    head = dh.DistributionHead(
        family, 2, links={"scale": dh.get_link("softplus").shifted(1e-4)}
    ).initialize(y)
    assert all(parameter.isfinite().all() for parameter in head.parameters())
    with torch.no_grad():
        head.linear.weight.zero_()
    dist = head(torch.zeros(100, 2))
    assert (dist.stddev > 1e-4).all()
    assert dist.log_prob(y).isfinite().all()
    dist.log_prob(y).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize(
    "link, values",
    [
        (LINKS["softplus"], [0.0, 1e-300, 2.0, 1e300]),
        (LINKS["exp"], [0.0, 2.0, 1e300]),
        (LINKS["sigmoid"], [0.0, 0.3, 1.0]),
        (LINKS["probit"], [0.0, 0.3, 1.0]),
        (LINKS["softplus"].shifted(2.0), [-1.0, 0.0, 2.0, 2.5]),
        (LINKS["exp"].shifted(1e-6), [0.0, 1e-6, 3.0]),
    ],
    ids=lambda value: getattr(value, "formula", ""),
)
def test_values_that_a_link_cannot_give_are_moved_inside_its_range(link, values):
    values = torch.tensor(values, dtype=torch.float64)
    inside = link.inside(values)
    raw = link.inverse(inside)
    assert raw.isfinite().all()
    assert torch.allclose(link.forward(raw), inside, rtol=1e-9)
    kept = (
        link.codomain.check(values)
        & (values > 1.2 * getattr(link.codomain, "lower_bound", 0))
        & (values != 1)
    )
    assert torch.equal(inside[kept], values[kept])


def test_a_matrix_with_a_shifted_diagonal_starts_inside_too():
    link = LINKS["scale_tril"].shifted(0.5)
    matrix = torch.tensor([[0.2, 0.0], [0.7, 3.0]], dtype=torch.float64)
    inside = link.inside(matrix)
    assert torch.allclose(link.forward(link.inverse(inside)), inside)
    assert inside.tolist() == [[pytest.approx(0.505), 0.0], [0.7, 3.0]]


def test_a_shifted_diagonal_is_in_the_likelihood():
    """The one pass takes the triangle as it is, without the shift."""
    head = dh.DistributionHead(
        "multivariate_normal",
        2,
        event_shape=(3,),
        links={"scale_tril": LINKS["scale_tril"].shifted(0.5)},
    )
    x, y = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(7, 3)
    values = head.params(x)
    expected = torch.distributions.MultivariateNormal(
        values["loc"], scale_tril=values["scale_tril"]
    ).log_prob(y)
    assert torch.allclose(head(x).log_prob(y), expected, atol=1e-5)


def test_targets_whose_start_no_head_can_have_are_named():
    with pytest.raises(
        ValueError,
        match=r"exponential has no finite start .* raw output of rate .* at row 1.*other units",
    ):
        dh.DistributionHead("exponential", 2).initialize(
            torch.tensor([1e-40, 2e-40], dtype=torch.float64)
        )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ("normal", "gamma", "poisson", "categorical")]
)
def test_a_row_of_weight_2_starts_as_two_rows(case):
    y = targets(case)
    weight = 1.0 + torch.arange(len(y)) % 2
    heads = (
        case.head().initialize(y, weight=weight),
        case.head().initialize(y.repeat_interleave(weight.long(), 0)),
    )
    assert torch.allclose(heads[0].linear.bias, heads[1].linear.bias, atol=1e-3)
