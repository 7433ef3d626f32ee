"""Inputs at which ordinary implementations fail in single precision, each with its finite, right
value and gradient.

The truths are the textbook formulas in mpmath, those of `tests/cases.py`; the gradients are theirs
too.
"""

from dataclasses import dataclass, field
from typing import Any

import mpmath as mp
import pytest
import torch

import disthead as dh
from benchmarks.accuracy import numbers
from disthead.errors import TargetError
from tests.cases import TRUTHS

FORMULAS = {truth.name: truth for truth in TRUTHS}


@dataclass(frozen=True)
class Trap:
    """A family at raw outputs or, `by_value`, at parameter values, with one target."""

    name: str
    truth: str
    inputs: tuple[float, ...]
    y: float
    by_value: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def expected(self) -> tuple[float, list[float]]:
        """The truth at the numbers that single precision makes of inputs and target."""
        formula = FORMULAS[self.truth]
        *inputs, y = torch.tensor([*self.inputs, self.y], dtype=torch.float32).tolist()
        if self.by_value:
            y, count, at = mp.mpf(y), range(len(inputs)), tuple(mp.mpf(value) for value in inputs)
            value = formula.log_prob(*at, y)
            slopes = [
                mp.diff(lambda *p: formula.log_prob(*p, y), at, tuple(int(k == j) for j in count))
                for k in count
            ]
        else:
            value, slopes = formula.ask("log_prob", inputs, y), formula.gradient(inputs, y)
        return float(value), [float(slope) for slope in slopes]

    def got(self) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.tensor(self.inputs, dtype=torch.float32, requires_grad=True)
        family = dh.get_family(
            FORMULAS[self.truth].family, **(FORMULAS[self.truth].options | self.options)
        )
        if self.by_value:
            dist = family.distribution(**dict(zip(self.by_value, inputs.unbind(), strict=True)))
        else:
            dist = family.from_raw(inputs)
        value = dist.log_prob(torch.tensor(self.y, dtype=torch.float32))
        (gradient,) = torch.autograd.grad(value, inputs)
        return value, gradient


TRAPS = [
    Trap("normal, scale underflows beside its mean", "normal", (0.0, -52.0), 0.0),
    Trap("normal, scale underflows for good", "normal", (0.0, -110.0), 0.0),
    Trap(
        "student_t, z^2 overflows",
        "student_t",
        (1.3132617, 0.0, 0.6931472),
        2e19,
        ("df", "loc", "scale"),
    ),
    Trap("student_t, df 1e6", "student_t", (1e6, 0.0, 1.0), 0.5, ("df", "loc", "scale")),
    Trap("student_t, raw df 1e6", "student_t", (1e6, 0.0, 0.541324854612918), 0.5),
    Trap("beta, both 1e6", "beta", (1e6, 1e6), 0.5, ("concentration1", "concentration0")),
    Trap("gamma, concentration 1e6", "gamma", (1e6, 1e3), 1e3, ("concentration", "rate")),
    Trap("poisson 1e6", "poisson", (1e6,), 1e6, ("rate",)),
    Trap("negative_binomial 1e6", "negative_binomial", (1e6, 0.0), 1e6, ("total_count", "logits")),
    Trap("von_mises, concentration near 0", "von_mises", (1.0, 0.0, -17.0), 0.5),
    Trap("von_mises, concentration 1e5", "von_mises", (1.0, 0.0, 1e5), 0.5),
    Trap("mixture, far component", "normal_mixture", (0.0, 0.0, 0.0, 0.0, -30.0, 0.0), 1.0),
    Trap(
        "mixture, component that underflows",
        "normal_mixture",
        (0.0, 0.0, 0.0, 0.0, -110.0, 0.0),
        1.0,
    ),
    Trap("exponential, rate e^-90", "exponential", (-90.0,), 0.0),
    Trap("log_normal, scale e^-50", "log_normal", (0.0, -50.0), 1.0),
    Trap("bernoulli, sure and wrong", "bernoulli", (-100.0,), 1.0),
    Trap("categorical, sure and wrong", "categorical", (20.0, -100.0, 0.0), 1.0),
]


@pytest.mark.parametrize("trap", TRAPS, ids=str)
def test_value_and_gradient(trap):
    value, gradient = trap.got()
    expected, slopes = trap.expected()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert value.item() == pytest.approx(expected, rel=2e-6, abs=2e-6)
    assert gradient.tolist() == pytest.approx(slopes, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "narrow"])
def test_top_k_ranking(padded):
    """A partial ranking has no places of -inf in it whose gradient is nan."""
    order = (2, 0, -1, -1) if padded else (2, 0)
    formula, raw = FORMULAS["plackett_luce"], (0.25, -1.0, 2.0, -110.0)
    scores = torch.tensor(raw, requires_grad=True)
    value = formula.made.from_raw(scores).log_prob(torch.tensor(order))
    (gradient,) = torch.autograd.grad(value, scores)
    assert value.item() == pytest.approx(float(formula.ask("log_prob", raw, order)), rel=2e-6)
    assert gradient.tolist() == pytest.approx(
        [float(slope) for slope in formula.gradient(raw, order)], abs=1e-6
    )


@pytest.mark.parametrize(
    "name, family, edges", [("beta", "beta", [0.0, 1.0]), ("gamma", "gamma", [0.0])]
)
def test_targets_on_the_edge_are_refused_with_a_remedy(name, family, edges):
    """Their density is zero or infinite there, and its gradient useless: nothing is clamped in
    silence.
    """
    for edge in edges:
        with pytest.raises(TargetError, match="row 1") as error:
            dh.get_family(family).check_target(torch.tensor([0.5, edge, 0.25]))
        assert "hurdle" in str(error.value) or "inflated" in str(error.value)


LOW = [truth for truth in TRUTHS if not truth.event_shape]


@pytest.mark.parametrize("case", LOW, ids=str)
def test_low_precision_is_computed_in_single(case):
    """Under bf16 autocast a head multiplies, links and scores in single precision: not one digit
    less.
    """
    torch.manual_seed(0)
    head = dh.DistributionHead(case.family, 3, **case.options)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, 3, generator=generator).bfloat16()
    with torch.no_grad():
        head.linear.weight.copy_(torch.randn(head.linear.weight.shape, generator=generator))
        raw = torch.nn.functional.linear(features.float(), head.linear.weight, head.linear.bias)
        low, high = case.limits
        y = (
            case.made.from_raw(raw)
            .sample()
            .clamp(1e-3 if low > 0 else max(low, -1e30), min(high, 1e30))
        )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        dist = head(features)
        value = dist.log_prob(y)
        gradient = torch.autograd.grad(value.sum(), head.linear.bias)[0]
    expected = numbers(
        case.ask("log_prob", row, float(t)) for row, t in zip(raw.tolist(), y, strict=True)
    )
    slopes = torch.stack(
        [numbers(case.gradient(row, float(t))) for row, t in zip(raw.tolist(), y, strict=True)]
    )
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(gradient.double(), slopes.sum(0), rtol=1e-4, atol=1e-4)


def test_beta_targets_next_to_the_edge_are_finite():
    """The smallest and largest numbers inside the support are targets like others."""
    formula = FORMULAS["beta"]
    for y in (1.2e-38, 1 - 2.0**-24):
        y = torch.tensor(y).item()
        raw = torch.tensor([-110.0, 50.0], requires_grad=True)
        value = formula.made.from_raw(raw).log_prob(torch.tensor(y))
        (gradient,) = torch.autograd.grad(value, raw)
        assert value.item() == pytest.approx(
            float(formula.ask("log_prob", raw.tolist(), y)), rel=2e-6
        )
        slopes = [float(slope) for slope in formula.gradient(raw.tolist(), y)]
        assert gradient.tolist() == pytest.approx(slopes, rel=1e-4, abs=1e-4)
