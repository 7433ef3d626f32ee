"""Settings that every test shares."""

import os

import pytest
import torch
from hypothesis import settings

from disthead.special import blocks

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
