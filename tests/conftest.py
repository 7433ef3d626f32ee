"""Settings that every test shares."""

import os
import sys

import pytest
import torch
from hypothesis import settings

from disthead.families import family as declarations
from disthead.special import blocks

# It declares a family of which other tests must not know.
collect_ignore = ["broken_family.py"]

# Kernels for a GPU are run without one, by an interpreter; Triton asks when it is first imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The workers of pytest-xdist already fill the cores.
torch.set_num_threads(1)

# The same examples on every run, and no time limit: the first call of an operator may be slow.
settings.register_profile("disthead", deadline=None, derandomize=True)
settings.load_profile("disthead")


@pytest.fixture
def generator() -> torch.Generator:
    """A source of random numbers that gives each test the same ones, whichever tests ran before."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=["C", "torch"])
def engine(request, monkeypatch) -> str:
    """Both ways of the one pass on a CPU: torch's is that of formulas without a kernel, and of
    machines without a compiler.
    """
    if request.param == "C" and not blocks.AVAILABLE:
        pytest.skip("needs the library in C")
    if request.param == "torch":
        monkeypatch.setattr(blocks, "log_prob", lambda *arguments: False)
        monkeypatch.setattr(blocks, "AVAILABLE", False)
    return request.param


@pytest.fixture(autouse=True)
def _families_from_outside_are_forgotten():
    """Other tests look at all families that there are, and find those of the library."""
    yield
    for family in declarations._descendants(declarations.Family):
        if not family.__module__.startswith("disthead.") and "name" in vars(family):
            del family.name
            if ".test_" not in family.__module__:
                sys.modules.pop(family.__module__, None)  # so that it is declared when asked again
