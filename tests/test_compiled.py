"""Programs that are compiled whole: up to date, and the same numbers as their steps one by one."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import compiled
from disthead.likelihood.program import STEP, Program
from disthead.special.blocks import AVAILABLE, OPERATIONS, is_compiled
from tests.one_pass import example

pytestmark = pytest.mark.skipif(
    not AVAILABLE and shutil.which("cc") is None, reason="needs a C compiler"
)
every_family = pytest.mark.parametrize("name", compiled.FAMILIES)


def step_by_step(program: Program) -> Program:
    """The same with a step more, which nobody needs and no compiler knows."""
    more = np.array(
        [(OPERATIONS.index("FILL"), program.places, 0, 0, 0, 0, 1.0, 0.0)], STEP
    ).tobytes()
    return replace(program, steps=program.steps + more, places=program.places + 1)


def ran(
    program: Program, raw: torch.Tensor, y: torch.Tensor
) -> tuple[bool, torch.Tensor, torch.Tensor]:
    value, slopes = torch.zeros(len(raw)), torch.zeros(raw.shape)
    return program.run(raw, y, value, slopes), value, slopes


def assert_same(program: Program, raw: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether it went through, as did its steps to the same numbers."""
    (went, *found), (expected, *results) = ran(program, raw, y), ran(step_by_step(program), raw, y)
    assert went == expected
    if went:
        for one, other in zip(found, results, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)
    return went


@every_family
def test_programs_are_compiled(name):
    program = compiled.program_of(name)
    assert is_compiled(program.steps)
    assert not is_compiled(step_by_step(program).steps)
    assert not is_compiled(program.steps[: -STEP.itemsize])
    assert not is_compiled(b"")


@every_family
@pytest.mark.parametrize("rows", [1, 15, 257, 5000])
def test_the_same_as_step_by_step(name, rows):
    _, raw, y = example(name, rows)
    assert assert_same(compiled.program_of(name), raw, y)


@every_family
@pytest.mark.parametrize(
    "number", [-1e30, -200.0, -80.0, -15.5, -1e-30, 0.0, 80.0, 200.0, 1e30, np.inf, -np.inf, np.nan]
)
def test_numbers_that_are_not_ordinary(name, number):
    """Among raw outputs and targets, in the first rows and in the last: the steps do what is left,
    or nobody does.
    """
    program = compiled.program_of(name)
    family, raw, y = example(name, 600)
    for row in (3, 599):
        for column in range(family.width()):
            changed = raw.clone()
            changed[row, column] = number
            assert_same(program, changed, y)
        target = y.clone()
        target[row] = number
        assert_same(program, raw, target)


def test_exponentials_that_only_steps_can_do():
    """(y / scale)^concentration, which underflows: rightly, but only by the function that looks at
    ends.
    """
    program = compiled.program_of("weibull")
    _, raw, y = example("weibull", 600)
    raw[5], y[5] = 5.0, 1e-20
    assert assert_same(program, raw, y)


@pytest.mark.parametrize("name", ["poisson", "normal"])
def test_tensors_that_lie_elsewhere(name):
    """In several pieces, in other precisions: by steps, to the same numbers."""
    program = compiled.program_of(name)
    family, raw, y = example(name, 600)
    width = family.width()
    _, value, slopes = ran(program, raw, y)
    table = torch.zeros(600, width + 1)
    table[:, 1:] = raw
    targets = [y.double(), torch.stack([y, y], 1)[:, 0], y]
    if family.is_discrete:
        targets.append(y.long())
    for outputs in (table[:, 1:], raw.double(), raw.t().contiguous().t()):
        for target in targets:
            _, other_value, other_slopes = ran(program, outputs, target)
            torch.testing.assert_close(other_value, value, rtol=2e-5, atol=2e-5)
            torch.testing.assert_close(other_slopes, slopes, rtol=2e-5, atol=2e-5)
    results = torch.zeros(1200, dtype=torch.float64)[::2], torch.zeros(width, 600).t()
    assert program.run(raw, y, *results)
    torch.testing.assert_close(results[0].float(), value, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(results[1], slopes, rtol=2e-5, atol=2e-5)
    part = torch.zeros(600), torch.zeros(600, width)
    assert program.run(raw, y, *part, start=100, stop=300)
    torch.testing.assert_close(part[0][100:300], value[100:300], rtol=2e-5, atol=2e-5)
    assert (part[0][:100] == 0).all()
    assert (part[1][300:] == 0).all()
