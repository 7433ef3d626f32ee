"""Functions of torch that other runtimes lack, for exported programs.

In a program that is exported they consist of elementary operations; elsewhere they are torch's own.
Each is elementwise, keeps the dtype of its tensor and raises nothing of its own. `lgamma` is in
`stirling` and `digamma` in `digamma`, next to their series.
"""

import math

import torch
from torch import Tensor

from .precision import horner

# Numerators and denominators of M. J. Wichura (1988), Algorithm AS 241, PPND16: of the centre, the
# tails and the far tails.
_CENTRE = (
    [
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ],
    [
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ],
)
_TAIL = (
    [
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ],
    [
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ],
)
_FAR_TAIL = (
    [
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ],
    [
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ],
)

# The series of erf(x) / x in x^2: omitted terms are below 1e-18 for x <= 1.
_ERF = [2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(19)]
# (1 + 2x) erfcx(x) as a polynomial in 1 - 8 / (x + 4), which maps x >= 0 to [-1, 1] (after Shepherd
# and Laframboise 1981): the first 25 terms of its Chebyshev series, from mpmath, in powers. The
# relative error of erfcx in double precision is at most 7e-16, 1e-16 on average.
_ERFCX = [
    1.2329951186255526,
    -0.1396211168405623,
    0.015379652102619604,
    0.06809705425466908,
    -0.10103906603630056,
    0.0937328349990944,
    -0.06633036581218697,
    0.03716751552655567,
    -0.016197734059799265,
    0.005031970067657489,
    -0.0007577732613730956,
    -0.00019925714661091188,
    0.0001506214900124047,
    -2.4397746422436416e-05,
    -1.1221287012353486e-05,
    5.706604414895734e-06,
    2.919733377963012e-07,
    -8.210939042560568e-07,
    7.746992727017941e-08,
    1.0633855618594884e-07,
    -2.05606492756992e-08,
    -1.234686604382353e-08,
    3.1695881915648173e-09,
    9.311744978232572e-10,
    -2.659599690242689e-10,
]


def _ratio(x: Tensor, coefficients: tuple[list[float], list[float]]) -> Tensor:
    numerator, denominator = coefficients
    return horner(x, numerator) / horner(x, denominator)


def _ndtri(p: Tensor) -> Tensor:
    distance = p - 0.5
    central = torch.abs(distance) <= 0.425
    centre = torch.where(central, distance, 0.0)
    inside = (p > 0) & (p < 1)
    tail = torch.where(central | ~inside, 0.05, torch.minimum(p, 1 - p))
    root = torch.sqrt(-torch.log(tail))
    size = torch.where(root <= 5, _ratio(root - 1.6, _TAIL), _ratio(root - 5, _FAR_TAIL))
    z = torch.where(
        central, centre * _ratio(0.425**2 - centre * centre, _CENTRE), torch.sign(distance) * size
    )
    edge = torch.where(p == 0, -torch.inf, torch.where(p == 1, torch.inf, torch.nan))
    return torch.where(inside, z, edge.to(p.dtype))


def _gauss(x: Tensor) -> Tensor:
    """exp(-x^2) for x >= 0; the square of x to four binary places is exact."""
    x = torch.clamp(x, max=30)  # where it is zero
    near = torch.round(16 * x) / 16
    return torch.exp(-near * near) * torch.exp((near - x) * (near + x))


def _positive_erfcx(x: Tensor) -> Tensor:
    return horner(1 - 8 / (x + 4), _ERFCX) / (1 + 2 * x)


def _erfcx(x: Tensor) -> Tensor:
    size = torch.abs(x)
    value = _positive_erfcx(size)
    return torch.where(x < 0, 2 / _gauss(size) - value, value)


def _erfc(x: Tensor) -> Tensor:
    size = torch.abs(x)
    value = _gauss(size) * _positive_erfcx(size)
    return torch.where(x < 0, 2 - value, value)


def _erf(x: Tensor) -> Tensor:
    near = torch.abs(x) < 1
    inner = torch.where(near, x, 0.0)
    return torch.where(
        near, inner * horner(inner * inner, _ERF), torch.sign(x) * (1 - _erfc(torch.abs(x)))
    )


def _softplus(x: Tensor) -> Tensor:
    return torch.clamp(x, min=0) + torch.log1p(torch.exp(-torch.abs(x)))


def ndtri(p: Tensor) -> Tensor:
    """The standard normal quantile: the z with ndtr(z) = p; nan unless 0 <= p <= 1.

    Source of the exported form: Wichura (1988).

    >>> round(ndtri(torch.tensor(0.975, dtype=torch.float64)).item(), 9)
    1.959963985
    """
    return _ndtri(p) if torch.compiler.is_exporting() else torch.special.ndtri(p)


def erf(x: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x (DLMF 7.2.1).

    >>> round(erf(torch.tensor(0.5, dtype=torch.float64)).item(), 9)
    0.520499878
    """
    return _erf(x) if torch.compiler.is_exporting() else torch.erf(x)


def erfc(x: Tensor) -> Tensor:
    """The complementary error function 1 - erf(x), accurate in its upper tail (DLMF 7.2.2).

    >>> round(erfc(torch.tensor(0.5, dtype=torch.float64)).item(), 9)
    0.479500122
    """
    return _erfc(x) if torch.compiler.is_exporting() else torch.erfc(x)


def erfcx(x: Tensor) -> Tensor:
    """The scaled complementary error function exp(x^2) erfc(x), which falls like 1 / x.

    Source of the exported form: Shepherd and Laframboise (1981).

    >>> round(erfcx(torch.tensor(0.5, dtype=torch.float64)).item(), 9)
    0.615690344
    """
    return _erfcx(x) if torch.compiler.is_exporting() else torch.special.erfcx(x)


def ndtr(z: Tensor) -> Tensor:
    """The standard normal distribution function erfc(-z / sqrt(2)) / 2, accurate in its lower tail.

    `torch.special.ndtr` loses that tail.

    >>> ndtr(torch.tensor(-10.0)).item() > 0
    True
    """
    return 0.5 * erfc(-z / 2**0.5)


def softplus(x: Tensor, threshold: float = 20.0) -> Tensor:
    """The function log(1 + e^x); above `threshold` torch returns x itself.

    >>> round(softplus(torch.tensor(0.0, dtype=torch.float64)).item(), 9)    # log 2
    0.693147181
    """
    return (
        _softplus(x)
        if torch.compiler.is_exporting()
        else torch.nn.functional.softplus(x, threshold=threshold)
    )
