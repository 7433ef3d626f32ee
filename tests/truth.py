"""The truths of the families: densities, distribution functions, entropies and scores from their
textbook formulas.

They are computed by mpmath at 50 digits, on a grid of reachable extremes: raw outputs of a layer
from -110 to 50, positive parameters to 1e6, targets in the bulk, deep in the tails and near the
edge. Every number of the grid is one that single precision holds exactly, so that both precisions
are asked the same question. Rows of `tests/cases.py` name what is theirs, `benchmarks/accuracy.py`
and `tests/test_accuracy.py` measure.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp
import numpy as np
import torch

import disthead as dh

mp.mp.dps = 60  # fifty, and some to lose
Number = Any  # mpmath's mpf; floats and integers are welcome too


# Links and special functions


def identity(x: Number) -> Number:
    return x


def softplus(x: Number) -> Number:
    return max(x, 0) + mp.log1p(mp.exp(-abs(x)))


def sigmoid(x: Number) -> Number:
    return mp.exp(-softplus(-x))


def log_beta(a: Number, b: Number) -> Number:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def continued_fraction(terms: Iterable[tuple[Number, Number]]) -> Number:
    """b0 + a1 / (b1 + a2 / (b2 + ...)) for terms (b0, nothing), (b1, a1), (b2, a2) ..., by Lentz's
    method.
    """
    terms = iter(terms)
    value, _ = next(terms)
    value = c = value or mp.mpf("1e-300")
    d = mp.mpf(0)
    for b, a in terms:
        d, c = 1 / (b + a * d), b + a / c
        value *= c * d
        if abs(c * d - 1) < mp.mpf(10) ** -30:
            break
    return value


def beta_cdf(a: Number, b: Number, x: Number) -> Number:
    """Regularised incomplete beta function (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return mp.mpf(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(b, a, 1 - x)

    def terms():
        yield mp.mpf(1), None
        for m in itertools.count():
            if m:
                yield mp.mpf(1), m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            yield mp.mpf(1), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))

    front = mp.exp(a * mp.log(x) + b * mp.log1p(-x) - log_beta(a, b)) / a
    return front / continued_fraction(terms())


def gamma_cdf(a: Number, x: Number) -> Number:
    """Regularised lower incomplete gamma function: its series below a, its continued fraction
    above.
    """
    if x <= 0 or mp.isinf(x):
        return mp.mpf(x > 0)
    front = mp.exp(a * mp.log(x) - x - mp.loggamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in itertools.count(1):
            term *= x / (a + n)
            total += term
            if term < total * mp.mpf(10) ** -30:
                return front * total

    def terms():
        yield x + 1 - a, None
        for n in itertools.count(1):
            yield x + 1 - a + 2 * n, -n * (n - a)

    return 1 - front / continued_fraction(terms())


# Densities, distribution functions, entropies and scores: functions of the parameters first, the
# target last


def normal_log_prob(loc, scale, y):
    return -(((y - loc) / scale) ** 2) / 2 - mp.log(scale) - mp.log(2 * mp.pi) / 2


def normal_cdf(loc, scale, y):
    return mp.erfc(-(y - loc) / scale / mp.sqrt(2)) / 2


def normal_distance(loc, scale):
    """E|X| for X normal."""
    density = mp.exp(-((loc / scale) ** 2) / 2) / mp.sqrt(2 * mp.pi)
    return 2 * scale * density + loc * mp.erf(loc / scale / mp.sqrt(2))


def normal_crps(loc, scale, y):
    return normal_distance(y - loc, scale) - normal_distance(0, mp.sqrt(2) * scale) / 2


def laplace_cdf(loc, scale, y):
    z = (y - loc) / scale
    return mp.exp(z) / 2 if z < 0 else 1 - mp.exp(-z) / 2


def laplace_crps(loc, scale, y):
    z = abs(y - loc) / scale
    return scale * (z + mp.exp(-z) - mp.mpf(3) / 4)


def student_t_log_prob(df, loc, scale, y):
    z = (y - loc) / scale
    normaliser = log_beta(df / 2, mp.mpf(1) / 2) + mp.log(df) / 2 + mp.log(scale)
    return -(df + 1) / 2 * mp.log1p(z * z / df) - normaliser


def student_t_cdf(df, loc, scale, y):
    z = (y - loc) / scale
    if z * z < df:
        return (
            mp.mpf(1) / 2 + mp.sign(z) * beta_cdf(mp.mpf(1) / 2, df / 2, z * z / (df + z * z)) / 2
        )
    tail = beta_cdf(df / 2, mp.mpf(1) / 2, df / (df + z * z)) / 2
    return tail if z < 0 else 1 - tail


def student_t_entropy(df, loc, scale):
    half = df / 2
    digammas = mp.digamma(half + mp.mpf(1) / 2) - mp.digamma(half)
    return (df + 1) / 2 * digammas + mp.log(df) / 2 + log_beta(half, mp.mpf(1) / 2) + mp.log(scale)


def student_t_crps(df, loc, scale, y):
    z, half = (y - loc) / scale, mp.mpf(1) / 2
    density = mp.exp(student_t_log_prob(df, 0, 1, z))
    pair = (
        2 * mp.sqrt(df) / (df - 1) * mp.exp(log_beta(half, df - half) - 2 * log_beta(half, df / 2))
    )
    return scale * (
        z * (2 * student_t_cdf(df, 0, 1, z) - 1) + 2 * density * (df + z * z) / (df - 1) - pair
    )


def gamma_log_prob(a, rate, y):
    return a * mp.log(rate * y) - rate * y - mp.loggamma(a) - mp.log(y)


def gamma_entropy(a, rate):
    return a - mp.log(rate) + mp.loggamma(a) + (1 - a) * mp.digamma(a)


def gamma_crps(a, rate, y):
    below, weighted = gamma_cdf(a, rate * y), gamma_cdf(a + 1, rate * y)
    return (
        y * (2 * below - 1)
        - a / rate * (2 * weighted - 1)
        - mp.exp(-log_beta(mp.mpf(1) / 2, a)) / rate
    )


def beta_log_prob(a, b, y):
    return (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y) - log_beta(a, b)


def beta_entropy(a, b):
    return (
        log_beta(a, b)
        - (a - 1) * mp.digamma(a)
        - (b - 1) * mp.digamma(b)
        + ((a - 1) + (b - 1)) * mp.digamma(a + b)
    )


def beta_crps(a, b, y):
    pair = 2 * mp.exp(log_beta(2 * a, 2 * b) - 2 * log_beta(a, b)) / a
    return y * (2 * beta_cdf(a, b, y) - 1) + a / (a + b) * (1 - 2 * beta_cdf(a + 1, b, y) - pair)


def von_mises_log_prob(loc, k, y):
    return k * mp.cos(y - loc) - mp.log(2 * mp.pi * mp.besseli(0, k))


def von_mises_cdf(loc, k, y):
    angle = y - loc
    angle -= 2 * mp.pi * mp.ceil(angle / (2 * mp.pi) - mp.mpf(1) / 2)
    width = 1 / mp.sqrt(1 + k)
    ends = [width * 2**n for n in range(-1, 5) if width * 2**n < abs(angle)]
    with mp.workdps(25):
        area = mp.quad(lambda u: mp.exp(-2 * k * mp.sin(u / 2) ** 2), [0, *ends, abs(angle)])
    return mp.mpf(1) / 2 + mp.sign(angle) * area / (2 * mp.pi * mp.besseli(0, k) * mp.exp(-k))


def von_mises_entropy(loc, k):
    return mp.log(2 * mp.pi * mp.besseli(0, k)) - k * mp.besseli(1, k) / mp.besseli(0, k)


def log_sphere_integral(k, dimension):
    """log of the integral of exp(k cos t) over the unit sphere."""
    order = mp.mpf(dimension) / 2 - 1
    return (order + 1) * mp.log(2 * mp.pi) + mp.log(mp.besseli(order, k)) - order * mp.log(k)


def von_mises_fisher_log_prob(*parameters):
    *raw, k, y = parameters
    length = mp.sqrt(mp.fsum(x * x for x in raw))
    cosine = mp.fsum(x * share for x, share in zip(raw, y, strict=True)) / length
    return k * cosine - log_sphere_integral(k, len(raw))


def von_mises_fisher_entropy(*parameters):
    *raw, k = parameters
    order = mp.mpf(len(raw)) / 2 - 1
    mean_length = mp.besseli(order + 1, k) / mp.besseli(order, k)
    return log_sphere_integral(k, len(raw)) - k * mean_length


def wrapped_cauchy_log_prob(loc, logit, y):
    c, rest = sigmoid(logit), sigmoid(-logit)
    squared = rest**2 + 4 * c * mp.sin((y - loc) / 2) ** 2
    return mp.log((1 + c) * rest / squared) - mp.log(2 * mp.pi)


def wrapped_cauchy_cdf(loc, logit, y):
    angle = y - loc
    angle -= 2 * mp.pi * mp.ceil(angle / (2 * mp.pi) - mp.mpf(1) / 2)
    odds = (1 + sigmoid(logit)) / sigmoid(-logit)
    return mp.mpf(1) / 2 + mp.atan(odds * mp.tan(angle / 2)) / mp.pi


def wrapped_cauchy_crps(loc, logit, y):
    """By Legendre's chi function, from the Fourier series of the distance on the circle."""

    def distance(length, angle):
        z = length * mp.expjpi(angle / mp.pi)
        return mp.pi / 2 - 2 / mp.pi * mp.re(mp.polylog(2, z) - mp.polylog(2, -z))

    c = sigmoid(logit)
    return distance(c, y - loc) - distance(c * c, mp.mpf(0)) / 2


def poisson_log_prob(rate, y):
    return y * mp.log(rate) - rate - mp.loggamma(y + 1)


def poisson_crps(rate, y):
    below, mass = 1 - gamma_cdf(y + 1, rate), mp.exp(poisson_log_prob(rate, y))
    pair = rate * mp.exp(-2 * rate) * (mp.besseli(0, 2 * rate) + mp.besseli(1, 2 * rate))
    return (y - rate) * (2 * below - 1) + 2 * rate * mass - pair


def negative_binomial_log_prob(r, logits, y):
    choices = mp.loggamma(y + r) - mp.loggamma(r) - mp.loggamma(y + 1)
    return choices - r * softplus(logits) - y * softplus(-logits)


def sum_over_counts(log_mass: Callable[[Number], Number], mean: Number, stddev: Number) -> Number:
    """-sum p log p, None where there are too many terms to add up."""
    last = int(mean + 60 * stddev + 200)
    if last > 3000:
        return None
    terms = [log_mass(mp.mpf(k)) for k in range(last)]
    return -mp.fsum(mp.exp(term) * term for term in terms)


def weibull_log_prob(scale, k, y):
    log_ratio = mp.log(y / scale)
    return mp.log(k / scale) + (k - 1) * log_ratio - mp.exp(k * log_ratio)


def weibull_crps(scale, k, y):
    mean, hazard = scale * mp.gamma(1 + 1 / k), min((y / scale) ** k, 10**4)
    return y * (1 - 2 * mp.exp(-hazard)) + mean * (
        mp.mpf(2) ** (-1 / k) - 2 * gamma_cdf(1 + 1 / k, hazard)
    )


def log_normal_crps(loc, scale, y):
    z, mean = (mp.log(y) - loc) / scale, mp.exp(loc + scale**2 / 2)
    between = mp.ncdf(z - scale) - mp.erfc(scale / 2) / 2
    return y * (2 * mp.ncdf(z) - 1) - 2 * mean * between


def log_sum_exp(terms: Sequence[Number]) -> Number:
    top = max(terms)
    return top + mp.log(mp.fsum(mp.exp(term - top) for term in terms))


def log_softmax(logits: Sequence[Number]) -> list[Number]:
    total = log_sum_exp(logits)
    return [logit - total for logit in logits]


def mixture_log_prob(w0, w1, loc0, loc1, scale0, scale1, y):
    weights = log_softmax([w0, w1])
    parts = [normal_log_prob(loc0, scale0, y), normal_log_prob(loc1, scale1, y)]
    return log_sum_exp([weight + part for weight, part in zip(weights, parts, strict=True)])


def mixture_cdf(w0, w1, loc0, loc1, scale0, scale1, y):
    return sigmoid(w0 - w1) * normal_cdf(loc0, scale0, y) + sigmoid(w1 - w0) * normal_cdf(
        loc1, scale1, y
    )


def mixture_crps(w0, w1, loc0, loc1, scale0, scale1, y):
    parts = [(sigmoid(w0 - w1), loc0, scale0), (sigmoid(w1 - w0), loc1, scale1)]
    score = mp.fsum(w * normal_distance(y - loc, scale) for w, loc, scale in parts)
    for (w, loc, scale), (v, other, spread) in itertools.product(parts, parts):
        score -= w * v * normal_distance(loc - other, mp.sqrt(scale**2 + spread**2)) / 2
    return score


def multivariate_normal_log_prob(loc0, loc1, a, b, c, y):
    """Two dimensions, scale_tril = [[a, 0], [b, c]]."""
    z0 = (y[0] - loc0) / a
    z1 = (y[1] - loc1 - b * z0) / c
    return -(z0 * z0 + z1 * z1) / 2 - mp.log(a) - mp.log(c) - mp.log(2 * mp.pi)


def multivariate_student_t_log_prob(df, loc0, loc1, a, b, c, y):
    """Two dimensions, where the gamma functions leave df / 2; scale_tril = [[a, 0], [b, c]]."""
    z0 = (y[0] - loc0) / a
    z1 = (y[1] - loc1 - b * z0) / c
    return -(df + 2) / 2 * mp.log1p((z0 * z0 + z1 * z1) / df) - mp.log(2 * mp.pi * a * c)


def multivariate_student_t_entropy(df, loc0, loc1, a, b, c):
    return mp.log(2 * mp.pi * a * c) + (df + 2) / df


def gamma_copula_log_prob(a, b, rate_a, rate_b, raw, y):
    """Two gamma numbers; the correlation of their normal scores is raw / sqrt(1 + raw^2)."""
    pairs = ((a, rate_a, y[0]), (b, rate_b, y[1]))
    z0, z1 = (
        -mp.sqrt(2) * mp.erfinv(1 - 2 * gamma_cdf(shape, rate * part))
        for shape, rate, part in pairs
    )
    own = mp.fsum(gamma_log_prob(shape, rate, part) for shape, rate, part in pairs)
    scale = 1 / mp.sqrt(1 + raw * raw)
    x1 = (z1 - raw * scale * z0) / scale
    return own - (x1 * x1 - z1 * z1) / 2 - mp.log(scale)


def dirichlet_log_prob(*parameters):
    *a, y = parameters
    terms = [
        (part - 1) * mp.log(share) - mp.loggamma(part) for part, share in zip(a, y, strict=True)
    ]
    return mp.loggamma(mp.fsum(a)) + mp.fsum(terms)


def dirichlet_entropy(*a):
    total = mp.fsum(a)
    parts = [mp.loggamma(part) - (part - 1) * mp.digamma(part) for part in a]
    return mp.fsum(parts) - mp.loggamma(total) + (total - len(a)) * mp.digamma(total)


def plackett_luce_log_prob(*parameters):
    *scores, order = parameters
    left, total = set(range(len(scores))), mp.mpf(0)
    for item in (int(item) for item in order if item >= 0):
        total += scores[item] - log_sum_exp([scores[k] for k in left])
        left.remove(item)
    return total


# The grid

# raw outputs of positive parameters
SPREADS = (-110.0, -50.0, -10.0, -1.0, 0.5, 5.0, 50.0, 1e3, 1e6)
LOCATIONS = (-110.0, -1.0, 0.0, 0.3, 50.0, 1e6)
LOGITS = (-110.0, -40.0, -5.0, -0.5, 0.0, 2.0, 20.0, 50.0)
STEPS = (0.0, 1e-3, 0.5, -2.0, 30.0, -1e3, 1e8)


def around(loc, scale):
    return [loc + scale * step for step in STEPS] + [0, 1, -1e6]


def positive(typical):
    return [typical * factor for factor in (1e-20, 1e-3, 0.5, 1, 1.001, 3, 40)] + [1e-30, 1, 1e6]


def counts(mean, stddev=None):
    spread = mp.sqrt(mean) if stddev is None else stddev
    return [0, 1, 5, 1000, 1e6] + [
        min(mp.floor(mean + step * spread), 2**24) for step in (0, 3, -3)
    ]


def proportions(a, b):
    return [1e-30, 1e-6, 0.01, 0.5, 0.999, 1 - 2.0**-24, a / (a + b)]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a family: functions of (*parameters, y), where a parameter vector is
    unrolled.

    Attributes:
        options, event_shape: those of the truth, where they are not those of its row of
            `tests/cases.py`.
        links: from raw outputs, each on its own, to the parameters of the functions.
        values: the raw outputs that the grid is made of, for each of them.
        targets: parameters -> targets of interest; those outside the support or the numbers of
            float32 are left out.
        peer: (module, raw) -> the same distribution of torch.distributions or pyro.distributions.
        limits: the ends of the support, or the numbers next to them.
        circular: whether y and y + 2 pi are the same.
        rounded: the parameter whose rounding to double precision alone breaks the bounds of double
            precision.
    """

    links: Sequence[Callable]
    values: Sequence[Sequence[float]]
    targets: Callable[..., Sequence]
    log_prob: Callable = field(kw_only=True)
    cdf: Callable | None = None
    entropy: Callable | None = None
    crps: Callable | None = None
    peer: Callable | None = None
    name: str = ""
    family: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    event_shape: tuple[int, ...] = ()
    convert: Callable = lambda *parameters: parameters
    limits: tuple[float, float] = (-math.inf, math.inf)
    circular: bool = False
    rounded: int | None = None

    def __str__(self) -> str:
        return self.name

    @functools.cached_property
    def made(self) -> dh.Family:
        return dh.get_family(self.family, event_shape=self.event_shape, **self.options)

    def parameters(self, raw: Sequence[Number], unit: float = 0.0) -> list[Number]:
        """The parameters at 50 digits; the one that is `rounded` is made larger by this share of
        itself.
        """
        values = list(
            self.convert(*(link(mp.mpf(x)) for link, x in zip(self.links, raw, strict=True)))
        )
        if self.rounded is not None:
            values[self.rounded] *= 1 + mp.mpf(unit)
        return values

    def ask(self, question: str, raw: Sequence[float], y=None, unit: float = 0.0) -> Number:
        """The truth at 50 digits, None where it is not known."""
        given = () if y is None else (as_target(y),)
        return getattr(self, question)(*self.parameters(raw, unit), *given)

    def gradient(self, raw: Sequence[float], y, unit: float = 0.0) -> list[Number]:
        """The derivatives of log_prob by the raw outputs."""
        y = as_target(y)

        def through_links(*raw):
            return self.log_prob(*self.parameters(raw, unit), y)

        places = range(len(raw))
        at = tuple(mp.mpf(x) for x in raw)
        return [mp.diff(through_links, at, tuple(int(k == j) for j in places)) for k in places]

    def grid(self, rows: int | None = None) -> list[tuple]:
        """Rows (raw outputs, target), all of them or a fixed sample."""
        raws = list(
            itertools.product(*([float(np.float32(x)) for x in some] for some in self.values))
        )
        draw = random.Random(self.name)
        if rows is not None and len(raws) > rows:
            raws = draw.sample(raws, rows)
        rows_of = [[(raw, y) for y in self._targets(raw)] for raw in raws]
        if rows is None:
            return [row for some in rows_of for row in some]
        everything = [row for some in rows_of for row in some]
        return draw.sample(everything, min(rows, len(everything)))

    def _targets(self, raw) -> list:
        found = {}
        for y in self.targets(*self.parameters(raw)):
            if isinstance(y, tuple):
                found[y] = None
                continue
            value = float(np.float32(float(y))) if abs(y) < 3e38 else math.inf
            low, high = self.limits
            if (
                low <= value <= high
                and math.isfinite(value)
                and (value == 0 or abs(value) > 1.2e-38)
            ):
                found[value] = None
        return list(found)


def as_target(y):
    return tuple(mp.mpf(part) for part in y) if isinstance(y, tuple) else mp.mpf(y)


def tensor_softplus(raw):
    return torch.nn.functional.softplus(raw)


JUST_ABOVE_0, JUST_BELOW_1 = 1.2e-38, 1 - 2.0**-24


def triangle(raw):
    a, b, c = tensor_softplus(raw[..., 0]), raw[..., 1], tensor_softplus(raw[..., 2])
    return torch.stack([torch.stack([a, torch.zeros_like(a)], -1), torch.stack([b, c], -1)], -2)
