"""Inflated values and bounds that single precision rounds are the same in either precision."""

import pytest
import torch

import disthead as dh

DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, -9.99])
@pytest.mark.parametrize("of_y", DTYPES)
@pytest.mark.parametrize("of_parameters", DTYPES)
def test_the_value_has_its_probability(value, of_y, of_parameters):
    family = dh.get_family("inflated", base="normal", value=value)
    gate = torch.tensor(0.3, dtype=of_parameters)
    dist = family.distribution(loc=torch.zeros((), dtype=of_parameters), scale=20.0, gate=gate)
    y = torch.tensor([value, value + 1], dtype=of_y)
    for same in (y, y.to(torch.float64)):  # also as what single precision made of it
        family.check_target(same)
        assert dist.log_prob(same)[0].exp() == pytest.approx(0.3)
        assert dist.log_prob(same)[1].exp() < 0.1
        before, upto = dist.cdf_limits(same)
        torch.testing.assert_close((upto - before).double(), torch.tensor([0.3, 0.0]).double())
        assert dist.log_cdf(same)[0].exp() == pytest.approx(float(upto[0]))
        assert dist.log_survival(same)[0].exp() == pytest.approx(1 - float(upto[0]))


def test_rows_of_the_value_are_found_in_single_precision():
    y = torch.tensor([0.7, 0.7, 0.7, 1.0, 2.0, -1.0])
    gate = dh.marginal("inflated", y, base="normal", value=0.7).gate
    assert gate.item() == pytest.approx(0.5, abs=1e-3)  # and no warning that there are none
    head = dh.DistributionHead("inflated", 1, base="normal", value=0.7).initialize(y)
    nll = dh.nll(head(torch.zeros(6, 1)), y)
    twice = head.double()
    assert nll.item() == pytest.approx(
        dh.nll(twice(torch.zeros(6, 1).double()), y).item(), rel=1e-5
    )


@pytest.mark.parametrize("of_y", DTYPES)
@pytest.mark.parametrize("of_parameters", DTYPES)
def test_targets_at_a_bound_are_inside(of_y, of_parameters):
    family = dh.get_family("truncated", base="normal", lower=0.7, upper=1.1)
    dist = family.distribution(loc=torch.zeros((), dtype=of_parameters), scale=2.0)
    y = torch.tensor([0.7, 0.9, 1.1], dtype=of_y)
    for same in (y, y.double()):
        family.check_target(same)
        expected = torch.distributions.Normal(0.0, 2.0)
        total = expected.cdf(torch.tensor(1.1)) - expected.cdf(torch.tensor(0.7))
        torch.testing.assert_close(
            dist.log_prob(same).float(),
            expected.log_prob(y.float()) - total.log(),
            rtol=1e-4,
            atol=1e-5,
        )
    outside = torch.tensor([0.69, 1.11], dtype=of_y)
    assert dist.log_prob(outside).eq(-torch.inf).all()
    assert not family.support.check(outside).any()
