"""Distributions in other units: a negative scale is an error that says where."""

import pytest
import torch

import disthead as dh
from tests.cases import EVERYTHING, rows


@pytest.mark.parametrize("case", rows(EVERYTHING))
def test_a_negative_scale_is_refused(case):
    dist = case.dist()
    whole = torch.ones(dist.batch_shape + dist.event_shape, dtype=dist.dtype)
    with pytest.raises((ValueError, NotImplementedError), match=r"scale of affine|has no affine"):
        dist.affine(0 * whole, -whole)


def test_the_error_names_rows():
    dist = dh.get_family("gamma").distribution(concentration=torch.ones(3), rate=torch.ones(3))
    with pytest.raises(ValueError, match=r"got 1 of 3 values: -2 at row 1\. For the dist"):
        dist.affine(torch.zeros(3), torch.tensor([1.0, -2.0, 3.0]))


@pytest.mark.parametrize("name", ["normal", "gamma", "weibull", "poisson"])
def test_numbers_are_units(name):
    family = dh.get_family(name)
    dist = family.from_raw(torch.zeros(family.width(), dtype=torch.float64))
    units = (torch.tensor(value, dtype=torch.float64) for value in (1.5, 2.0))
    torch.testing.assert_close(dist.affine(1.5, 2.0).mean, dist.affine(*units).mean)
