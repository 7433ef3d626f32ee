"""Families in words: their options can be copied into YAML."""

import inspect
import re

import pytest
import yaml

from disthead import explain, families, get_family
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
