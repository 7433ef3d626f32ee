"""Options that fix a parameter: distributions made from values have it, too."""

import pytest
import torch

import disthead as dh

FIXED = [
    ("asymmetric_laplace", {"quantile": 0.9}, "asymmetry", 0.9, {"loc": 1.0, "scale": 2.0}),
    ("pareto", {"scale": 2.0}, "scale", 2.0, {"alpha": 3.0}),
    ("huber", {"delta": 2.0}, "delta", 2.0, {"loc": 1.0, "scale": 2.0}),
    ("tweedie", {"power": 1.3}, "power", 1.3, {"mean": 1.0, "dispersion": 2.0}),
]
each = pytest.mark.parametrize


@each("name, options, parameter, value, others", FIXED, ids=[row[0] for row in FIXED])
def test_an_option_fixes_the_parameter_of_a_distribution(name, options, parameter, value, others):
    family, y = dh.get_family(name, **options), torch.tensor([2.5, 4.0])
    dist = family.distribution(**others)
    torch.testing.assert_close(dist.parameters[parameter], torch.tensor(value))
    given = family.distribution(**others, **{parameter: value})
    torch.testing.assert_close(dist.log_prob(y), given.log_prob(y))
    with pytest.raises(ValueError, match=f"{parameter} of {name} is {value:g} by an option"):
        family.distribution(**others, **{parameter: torch.tensor([value, value + 0.05])})


@each("name, options, parameter, value, others", FIXED, ids=[row[0] for row in FIXED])
def test_a_default_option_leaves_values_free(name, options, parameter, value, others):
    dist = dh.get_family(name).distribution(**others, **{parameter: value})
    torch.testing.assert_close(dist.parameters[parameter], torch.tensor(value))


def test_options_of_a_base_and_of_components():
    wrapped = dh.get_family("hurdle", base="pareto", scale=2.0)
    assert wrapped.distribution(alpha=3.0, gate=0.5).mean == 1.5
    mixed = dh.get_family("mixture", component="pareto", scale=2.0)
    dist = mixed.distribution(probs=torch.tensor([0.5, 0.5]), alpha=torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(dist.mean, torch.tensor(3.5))
    for family, others in ((wrapped, {"gate": 0.5}), (mixed, {"probs": torch.tensor([1.0, 0.0])})):
        with pytest.raises(ValueError, match=r"scale of .* is 2 by an option"):
            family.distribution(alpha=torch.tensor([2.0, 3.0]), scale=1.0, **others)


def test_a_power_is_a_number():
    with pytest.raises(ValueError, match=r"power of tweedie must be between 1 and 2.*got '1\.5'"):
        dh.get_family("tweedie", power="1.5")
