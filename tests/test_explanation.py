"""Families in words: their options can be copied into YAML."""

import inspect
import re

import pytest
import torch
import yaml

from disthead import explain, explanation, families, get_family
from disthead.errors import TargetError
from disthead.families.family import _find, takes_classes, takes_vectors

INDENT = "\n" + " " * 14


@pytest.mark.parametrize("name", families())
def test_options_are_shown_as_yaml_takes_them(name):
    """The defaults that are printed make the same family, and each option has a meaning."""
    options = inspect.signature(_find(name)).parameters.keys() - {"event_shape"}
    text = re.split(r"\n  \w", explain(name).partition("\n  options     ")[2])[0]
    assert bool(options) == bool(text)
    if not options:
        return
    first, *lines = text.split(INDENT)
    defaults = yaml.safe_load(first)
    needed = {"num_classes": 3} if takes_classes(name) else {}
    shape = (3,) if takes_vectors(name) else ()
    family = get_family(name, event_shape=shape, **defaults | needed)
    default = get_family(name, event_shape=shape, **needed)
    assert repr(family) == repr(default)
    for option in options:
        label = option if option in defaults else "others"
        assert any(re.match(rf'{label}: ["\w]', line) for line in lines), option


def test_quantities_of_rows_have_both_names_of_an_exposure():
    assert "\n  per row     exposure (or offset, its logarithm)\n" in explain("poisson")
    assert "\n  per row     lower, upper\n" in explain("truncated")


@pytest.mark.parametrize("name", families())
def test_the_density_names_all_parameters(name):
    """By their names, and not only by a letter that stands for one; or it names another family's.

    The spline of quantile_function is said in words.
    """
    family = explanation.example(name)
    if re.search(r"p_base|p_k|F_base|f_i|of the base|spline", family.density):
        return
    for parameter in family.parameters:
        assert re.search(rf"\b{parameter}(?![a-z])", family.density), parameter


def test_the_edge_of_a_shifted_family_is_at_its_shift():
    family = get_family("shifted", base="gamma", loc=0.25)
    with pytest.raises(TargetError, match="take inflated with value=loc"):
        family.check_target(torch.tensor([0.25, 1.0]))
    with pytest.raises(TargetError) as raised:
        family.check_target(torch.tensor([0.0, 1.0]))  # beyond the end, and not at it
    assert family.edge_remedy not in str(raised.value)
    assert "inflated" not in explain("censored").partition("at the edge")[2]
    inflated = get_family("inflated", base=family, value=0.25)  # as the text says
    inflated.check_target(torch.tensor([0.25, 1.0]))
    get_family("censored").check_target(torch.tensor([[-torch.inf, 0.1], [1.0, 1.0]]))
