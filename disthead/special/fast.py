"""Links and special functions of the fused log-likelihoods of heads (`likelihood/fused.py`).

Each is a short run of torch's operations, which kernels in C are printed from. Relative errors are
below 1e-11 in double precision, and below 1e-6 in single precision for parameters between 1e-6 and
32, which is where they are called in that precision. The rational functions were fitted to mpmath
at 40 digits or more by iterated linear least squares (Sanathanan and Koerner 1963);
`tests/special/test_fast.py` holds them to it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from disthead.special.eager import is_tracing
from disthead.special.precision import horner

__all__ = [
    "Direction",
    "Positive",
    "digamma_remainder",
    "direction",
    "exponential",
    "gamma_half_step",
    "gamma_remainder",
    "given",
    "log_ratio_less",
    "sigmoids",
    "softplus",
    "von_mises_terms",
]


class Positive:
    """A positive parameter, its logarithm, and the derivative of that logarithm by the raw output.

    Args:
        value: the parameter.
        slope: the derivative of its logarithm.
        log: the logarithm, where it is known; otherwise it is computed when a formula asks for it.
    """

    def __init__(self, value: Tensor, slope: Tensor | float, log: Tensor | None = None):
        self.value, self.slope, self._log = value, slope, log

    @property
    def log(self) -> Tensor:
        """The logarithm of the parameter."""
        if self._log is None:
            self._log = torch.log(self.value)
        return self._log

    def by_raw(self, slope: Tensor) -> Tensor:
        """The derivative by the raw output, from that by the logarithm."""
        return slope * self.slope

    def over(self, other: "Positive") -> "Positive":
        """The ratio of two parameters; derivatives are by either of them, not by the ratio."""
        return Positive(self.value / other.value, 0.0, self.log - other.log)

    def times(self, share: Tensor) -> "Positive":
        """The product with positive numbers."""
        return Positive(self.value * share, 0.0)


class Direction(NamedTuple):
    """A direction by its unit vector, which does not round as an angle does.

    Attributes:
        cosine: of the angle.
        sine: of the angle.
        length: of the raw vector.
    """

    cosine: Tensor
    sine: Tensor
    length: Tensor

    def by_raw(self, slope: Tensor) -> Tensor:
        """The derivatives by the raw vector (..., 2, n), from that by the angle (..., n)."""
        turn = slope / self.length
        return torch.stack([-self.sine * turn, self.cosine * turn], -2)


def softplus(raw: Tensor) -> Positive:
    """log(1 + exp(raw)).

    In double precision `raw` may be any number; the value is bounded below by exp(-700), and the
    logarithm is not.
    """
    is_double = _is_double(raw)
    odds = torch.exp(torch.clamp(raw, *((-700.0, 700.0) if is_double else (-87.0, 80.0))))
    value = torch.maximum(torch.log1p(odds), raw)
    log = torch.minimum(torch.log(value), raw) if is_double else None
    return Positive(value, odds / (1 + odds) / value, log)


def given(raw: Tensor) -> Positive:
    """The raw output itself, which is positive."""
    return Positive(raw, 1 / raw)


def exponential(raw: Tensor) -> Positive:
    """exp(raw); the value is bounded to what double precision holds, and the logarithm is not."""
    return Positive(torch.exp(torch.clamp(raw, -700.0, 700.0)), 1.0, raw)


def direction(raw: Tensor) -> Direction:
    """The direction of a vector (..., 2, n).

    That of a zero vector is the angle 0, as `torch.atan2` has it, without a derivative.
    """
    x, y = raw[..., 0, :], raw[..., 1, :]
    length = torch.sqrt(x * x + y * y)
    if _is_double(raw):
        nowhere = length == 0
        length = torch.where(nowhere, torch.inf, length)
        return Direction(torch.where(nowhere, 1.0, x / length), y / length, length)
    return Direction(x / length, y / length, length)


def gamma_remainder(x: Tensor) -> Tensor:
    """The rest log Gamma(1 + x) - (w log w - w + log(2 pi) / 2), w = x + 1/2, for x >= 0.

    It is what is left once w log w - w has joined that against which it cancels; unlike the error
    of Stirling's formula it is smooth down to x = 0.
    """
    return _rational(x, _GAMMA if _is_double(x) else _GAMMA_SINGLE)


def digamma_remainder(x: Tensor) -> Tensor:
    """The derivative of `gamma_remainder`, psi(1 + x) - log(x + 1/2), for x >= 0."""
    return _rational(x, _DIGAMMA if _is_double(x) else _DIGAMMA_SINGLE)


def log_ratio_less(ratio: Tensor, excess: Tensor) -> Tensor:
    """log(ratio) - excess for excess = ratio - 1, which is known to its own digits.

    The difference would lose these digits near 0. Within a quarter of 0 it is
    s (2 s^2 (1/3 + s^2/5 + ...) - excess) for s = excess / (2 + excess), since
    log(ratio) = 2 artanh(s).
    """
    s = excess / (2 + excess)
    square = s * s
    tail = [1 / (2 * k + 3) for k in range(9 if _is_double(excess) else 3)]
    near = s * (2 * square * _polynomials(square, tail[::-1])[0] - excess)
    return torch.where(abs(excess) < 0.25, near, torch.log(ratio) - excess)


def gamma_half_step(x: Tensor) -> tuple[Tensor, Tensor]:
    """(Gamma(1 + x) / Gamma(1/2 + x))^2 and its derivative, for x >= 0.

    It is x + 1/4 and a little more (Watson 1959).
    """
    more, slope = _with_slope(x, _HALF_STEP if _is_double(x) else _HALF_STEP_SINGLE)
    return x + 0.25 + more, 1 + slope


def von_mises_terms(k: Tensor) -> tuple[Tensor, Tensor]:
    """log(2 pi I0(k)) - k and 1 - I1(k) / I0(k), for k >= 0.

    They are the normaliser of a von Mises density and minus its derivative.
    log(2 pi I0(k)) - s + log(s) / 2 is smooth in 1 / s for s = sqrt(k^2 + 2.4^2), down to k = 0 and
    up to infinity, since the zeros of I0 lie on the imaginary axis beyond 2.4 i.
    """
    s = torch.sqrt(k * k + _BESSEL_BRANCH**2)
    x = _BESSEL_BRANCH / s
    smooth, slope = _with_slope(x, _BESSEL if _is_double(k) else _BESSEL_SINGLE)
    excess = _BESSEL_BRANCH**2 / (s + k)  # s - k
    return smooth + excess - 0.5 * torch.log(s), (excess + k / s * (0.5 + x * slope)) / s


# Numerator and denominator, from the highest power down.
_Coefficients = tuple[Sequence[float], Sequence[float]]
_GAMMA = (
    [
        -0.027601227229881346,
        -0.15759380974629195,
        -0.3853224978373486,
        -0.4837483801380896,
        -0.3031839559915322,
        -0.07236494292470008,
    ],
    [
        0.6624294528587534,
        4.1134662162301625,
        11.17750588192358,
        16.43516145072218,
        13.510064718345744,
        5.791692146986994,
        1.0,
    ],
)  # absolute error 3e-13
_GAMMA_SINGLE = (
    [-0.059857205921064145, -0.11938844095410837, -0.07236494292470008],
    [1.4365711803780448, 3.5837345187043734, 3.2518377950942923, 1.0],
)  # 2e-8
_DIGAMMA = (
    [
        0.07449541448507938,
        0.32113590747378706,
        0.5695009358337707,
        0.45215565872312896,
        0.11593151565841245,
    ],
    [
        1.787891861130509,
        9.495090659914014,
        22.135891635232223,
        27.790237351005867,
        19.354983842902307,
        6.962917617035035,
        1.0,
    ],
)  # 2e-11
_DIGAMMA_SINGLE = (
    [0.09906583664163492, 0.11593151565841245],
    [2.3854313977361117, 5.110746590596114, 3.917450204729086, 1.0],
)  # 7e-7, enough for a gradient
_HALF_STEP = (
    [
        0.008893333695926191,
        0.052326039618298154,
        0.12517970110151988,
        0.1436833216105295,
        0.06830988618379068,
    ],
    [
        0.28458646297076273,
        1.74558732133127,
        4.464279140982963,
        5.825521749004998,
        3.822886198799914,
        1.0,
    ],
)  # 4e-12
_HALF_STEP_SINGLE = (
    [0.03736131382300594, 0.09008998188527516, 0.06830988618379068],
    [1.194681403583262, 3.1905798459804005, 3.03833646462278, 1.0],
)  # 4e-8
_BESSEL_BRANCH = 2.4
_BESSEL = (
    [
        -2.4723322741655185,
        -209.72622996673823,
        246.29927760477332,
        -313.8170141361141,
        357.5282771021123,
        -255.1774551584425,
        180.82803701220035,
        -76.8029197391843,
        29.144149904717626,
        -5.849315238759456,
        0.9189385332037554,
    ],
    [
        38.5842611656543,
        153.0007052494803,
        -3.3141246585402713,
        210.54822493059729,
        -99.1176490463545,
        124.8719886295706,
        -50.55295142816297,
        25.04021832652103,
        -5.116118655554474,
        1.0,
    ],
)  # 1e-12
_BESSEL_SINGLE = (
    [
        -4.307326339519763,
        5.279074581080994,
        -5.964709055917625,
        5.573719463452966,
        -2.3747408761623725,
        0.9189384966523093,
    ],
    [
        0.6808751672963121,
        3.2639503975865543,
        -0.6893608445481874,
        4.1143522973927436,
        -1.3350563270400584,
        1.0,
    ],
)  # 4e-8


def sigmoids(x: Tensor) -> tuple[Tensor, Tensor]:
    """The probability 1 / (1 + exp(-x)) and that of the opposite, with one exponential.

    Both keep the digits of small probabilities.
    """
    odds = torch.exp(-abs(x))
    likely = 1 / (1 + odds)
    rest = odds * likely
    return torch.where(x < 0, rest, likely), torch.where(x < 0, likely, rest)


def _is_double(x: Tensor) -> bool:
    return x.dtype == torch.float64


def _rational(x: Tensor, coefficients: _Coefficients) -> Tensor:
    numerator, denominator = _polynomials(x, *coefficients)
    return numerator / denominator


def _with_slope(x: Tensor, coefficients: _Coefficients) -> tuple[Tensor, Tensor]:
    """The rational function and its derivative."""
    falling = [[(len(part) - 1 - k) * c for k, c in enumerate(part[:-1])] for part in coefficients]
    top, bottom, top_slope, bottom_slope = _polynomials(x, *coefficients, *falling)
    value = top / bottom
    return value, (top_slope - value * bottom_slope) / bottom


def _polynomials(x: Tensor, *several: Sequence[float]) -> list[Tensor]:
    """Polynomials at the same points, from their coefficients."""
    # a compiler makes one operation of each product with a sum
    if is_tracing():
        return [horner(x, coefficients[::-1]) for coefficients in several]
    square = x * x
    return [_by_pairs(x, square, coefficients) for coefficients in several]


def _by_pairs(x: Tensor, square: Tensor, coefficients: Sequence[float]) -> Tensor:
    """The polynomial by half as many operations, with pairs of terms c x + d as c (x + d / c)."""
    odd = len(coefficients) % 2
    (scale, last), *pairs = zip(coefficients[odd::2], coefficients[odd + 1 :: 2], strict=True)
    value = x + last / scale
    if odd:
        value = torch.add(value, square, alpha=coefficients[0] / scale)
    for c, d in pairs:
        value, scale = torch.addcmul(x + d / c, value, square, value=scale / c), c
    return value * scale
