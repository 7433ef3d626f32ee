"""Scores in single precision at raw outputs whose parameters lie at the edge of its range."""

import pytest
import torch

from tests.cases import CASES, rows

NUMBERS = [
    case
    for case in CASES
    if case.kind in ("continuous", "mixed") and not (case.outputs or case.units)
]
SINGLE = torch.finfo(torch.float32)


@pytest.mark.parametrize("case", rows(NUMBERS))
def test_scores_are_those_of_double_precision(case):
    family, y = case.make_family(), torch.tensor(0.5)
    raw = torch.as_tensor(case.raw, dtype=torch.float64).reshape(-1)
    if not bool(family.support.check(y)) or raw.shape != (family.width(),):
        pytest.skip("0.5 is no target, or the row has further inputs")
    places = raw.repeat(2 * len(raw), 1)
    for i in range(len(raw)):
        places[2 * i, i], places[2 * i + 1, i] = -110.0, 60.0
    single = family.from_raw(places.float()).crps(y.expand(len(places)))
    double = family.from_raw(places).crps(y.double().expand(len(places)))
    in_range = double.abs() < SINGLE.max
    torch.testing.assert_close(
        single[in_range].double(), double[in_range], rtol=1e-4, atol=1e-30, equal_nan=True
    )
