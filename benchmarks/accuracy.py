"""How exact is each answer? Worst errors against mpmath at 50 digits, beside torch.distributions and Pyro.

    python -m benchmarks.accuracy [--rows 100]

Prints a Markdown table, family x question. The truths live here, and `tests/test_accuracy.py` holds the library to
them: densities, distribution functions, entropies and scores written from their textbook formulas at 50 digits, on a
grid of reachable extremes: raw outputs of a layer from -110 to 50, positive parameters to 1e6, targets in the bulk,
deep in the tails and near the edge. Every number of the grid is one that single precision holds exactly, so that both
precisions are asked the same question.

Errors are |got - truth| / max(1, |truth|), absolute for the cdf, and relative to |y| for icdf(cdf(y)), there only
where rounding the cdf does not by itself move y by a fiftieth of the bound.
"""

import argparse
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

BOUNDS = {  # question -> worst error allowed in single and in double precision
    "log_prob": {torch.float32: 2e-6, torch.float64: 1e-12},
    "gradient": {torch.float32: 1e-4, torch.float64: 1e-9},
    "cdf": {torch.float32: 1e-6, torch.float64: 1e-12},
    "icdf": {torch.float32: 1e-5, torch.float64: 1e-10},
    "entropy": {torch.float32: 2e-6, torch.float64: 1e-12},
    "crps": {torch.float32: 2e-6, torch.float64: 1e-6},
}


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
    """b0 + a1 / (b1 + a2 / (b2 + ...)) for terms (b0, nothing), (b1, a1), (b2, a2) ..., by Lentz's method."""
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
    """Regularised lower incomplete gamma function: its series below a, its continued fraction above."""
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


# Densities, distribution functions, entropies and scores: functions of the parameters first, the target last


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
        return mp.mpf(1) / 2 + mp.sign(z) * beta_cdf(mp.mpf(1) / 2, df / 2, z * z / (df + z * z)) / 2
    tail = beta_cdf(df / 2, mp.mpf(1) / 2, df / (df + z * z)) / 2
    return tail if z < 0 else 1 - tail


def student_t_entropy(df, loc, scale):
    half = df / 2
    digammas = mp.digamma(half + mp.mpf(1) / 2) - mp.digamma(half)
    return (df + 1) / 2 * digammas + mp.log(df) / 2 + log_beta(half, mp.mpf(1) / 2) + mp.log(scale)


def student_t_crps(df, loc, scale, y):
    z, half = (y - loc) / scale, mp.mpf(1) / 2
    density = mp.exp(student_t_log_prob(df, 0, 1, z))
    pair = 2 * mp.sqrt(df) / (df - 1) * mp.exp(log_beta(half, df - half) - 2 * log_beta(half, df / 2))
    return scale * (z * (2 * student_t_cdf(df, 0, 1, z) - 1) + 2 * density * (df + z * z) / (df - 1) - pair)


def gamma_log_prob(a, rate, y):
    return a * mp.log(rate * y) - rate * y - mp.loggamma(a) - mp.log(y)


def gamma_entropy(a, rate):
    return a - mp.log(rate) + mp.loggamma(a) + (1 - a) * mp.digamma(a)


def gamma_crps(a, rate, y):
    below, weighted = gamma_cdf(a, rate * y), gamma_cdf(a + 1, rate * y)
    return y * (2 * below - 1) - a / rate * (2 * weighted - 1) - mp.exp(-log_beta(mp.mpf(1) / 2, a)) / rate


def beta_log_prob(a, b, y):
    return (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y) - log_beta(a, b)


def beta_entropy(a, b):
    return log_beta(a, b) - (a - 1) * mp.digamma(a) - (b - 1) * mp.digamma(b) + ((a - 1) + (b - 1)) * mp.digamma(a + b)


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
    return y * (1 - 2 * mp.exp(-hazard)) + mean * (mp.mpf(2) ** (-1 / k) - 2 * gamma_cdf(1 + 1 / k, hazard))


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
    return sigmoid(w0 - w1) * normal_cdf(loc0, scale0, y) + sigmoid(w1 - w0) * normal_cdf(loc1, scale1, y)


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


def plackett_luce_log_prob(*parameters):
    *scores, order = parameters
    left, total = set(range(len(scores))), mp.mpf(0)
    for item in (int(item) for item in order if item >= 0):
        total += scores[item] - log_sum_exp([scores[k] for k in left])
        left.remove(item)
    return total


# The grid

SPREADS = (-110.0, -50.0, -10.0, -1.0, 0.5, 5.0, 50.0, 1e3, 1e6)  # raw outputs of positive parameters
LOCATIONS = (-110.0, -1.0, 0.0, 0.3, 50.0, 1e6)
LOGITS = (-110.0, -40.0, -5.0, -0.5, 0.0, 2.0, 20.0, 50.0)
STEPS = (0.0, 1e-3, 0.5, -2.0, 30.0, -1e3, 1e8)


def around(loc, scale):
    return [loc + scale * step for step in STEPS] + [0, 1, -1e6]


def positive(typical):
    return [typical * factor for factor in (1e-20, 1e-3, 0.5, 1, 1.001, 3, 40)] + [1e-30, 1, 1e6]


def counts(mean, stddev=None):
    spread = mp.sqrt(mean) if stddev is None else stddev
    return [0, 1, 5, 1000, 1e6] + [min(mp.floor(mean + step * spread), 2**24) for step in (0, 3, -3)]


def proportions(a, b):
    return [1e-30, 1e-6, 0.01, 0.5, 0.999, 1 - 2.0**-24, a / (a + b)]


@dataclass(frozen=True, eq=False)
class Truth:
    """A family with everything known about it: functions of (*parameters, y), where a parameter vector is unrolled.

    Attributes:
        links: from raw outputs, each on its own, to the parameters of the functions.
        values: the raw outputs that the grid is made of, for each of them.
        targets: parameters -> targets of interest; those outside the support or the numbers of float32 are left out.
        peer: (module, raw) -> the same distribution of torch.distributions or pyro.distributions.
        limits: the ends of the support, or the numbers next to them.
        circular: whether y and y + 2 pi are the same.
        rounded: the parameter whose rounding to double precision alone breaks the bounds of double precision.
    """

    name: str
    family: str
    links: Sequence[Callable]
    values: Sequence[Sequence[float]]
    targets: Callable[..., Sequence]
    log_prob: Callable
    cdf: Callable | None = None
    entropy: Callable | None = None
    crps: Callable | None = None
    peer: Callable | None = None
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
        """The parameters at 50 digits; the one that is `rounded` is made larger by this share of itself."""
        values = list(self.convert(*(link(mp.mpf(x)) for link, x in zip(self.links, raw, strict=True))))
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
        raws = list(itertools.product(*([float(np.float32(x)) for x in some] for some in self.values)))
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
            if low <= value <= high and math.isfinite(value) and (value == 0 or abs(value) > 1.2e-38):
                found[value] = None
        return list(found)


def as_target(y):
    return tuple(mp.mpf(part) for part in y) if isinstance(y, tuple) else mp.mpf(y)


def tensor_softplus(raw):
    return torch.nn.functional.softplus(raw)


_JUST_ABOVE_0, _JUST_BELOW_1 = 1.2e-38, 1 - 2.0**-24

TRUTHS = [
    Truth(
        "normal",
        "normal",
        (identity, softplus),
        (LOCATIONS, SPREADS),
        around,
        normal_log_prob,
        normal_cdf,
        lambda loc, scale: (1 + mp.log(2 * mp.pi)) / 2 + mp.log(scale),
        normal_crps,
        lambda of, raw: of.Normal(raw[..., 0], tensor_softplus(raw[..., 1])),
    ),
    Truth(
        "laplace",
        "laplace",
        (identity, softplus),
        (LOCATIONS, SPREADS),
        around,
        lambda loc, scale, y: -abs(y - loc) / scale - mp.log(2 * scale),
        laplace_cdf,
        lambda loc, scale: 1 + mp.log(2 * scale),
        laplace_crps,
        lambda of, raw: of.Laplace(raw[..., 0], tensor_softplus(raw[..., 1])),
    ),
    Truth(
        "student_t",
        "student_t",
        (lambda x: 2 + softplus(x), identity, softplus),
        (SPREADS, LOCATIONS, SPREADS),
        lambda df, loc, scale: around(loc, scale),
        student_t_log_prob,
        student_t_cdf,
        student_t_entropy,
        student_t_crps,
        lambda of, raw: of.StudentT(2 + tensor_softplus(raw[..., 0]), raw[..., 1], tensor_softplus(raw[..., 2])),
    ),
    Truth(
        "exponential",
        "exponential",
        (softplus,),
        (SPREADS,),
        lambda rate: [0, *positive(1 / rate)],
        lambda rate, y: mp.log(rate) - rate * y,
        lambda rate, y: -mp.expm1(-rate * y),
        lambda rate: 1 - mp.log(rate),
        lambda rate, y: y + 2 * mp.expm1(-rate * y) / rate + 1 / (2 * rate),
        lambda of, raw: of.Exponential(tensor_softplus(raw[..., 0])),
        limits=(0, math.inf),
    ),
    Truth(
        "gamma",
        "gamma",
        (softplus, softplus),
        (SPREADS, SPREADS),
        lambda a, rate: positive(a / rate),
        gamma_log_prob,
        lambda a, rate, y: gamma_cdf(a, rate * y),
        gamma_entropy,
        gamma_crps,
        lambda of, raw: of.Gamma(tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])),
        limits=(_JUST_ABOVE_0, math.inf),
    ),
    Truth(
        "gamma by mean",
        "gamma",
        (softplus, softplus),
        (SPREADS, SPREADS),
        lambda a, rate: positive(a / rate),
        gamma_log_prob,
        lambda a, rate, y: gamma_cdf(a, rate * y),
        gamma_entropy,
        gamma_crps,
        options={"parametrization": "mean"},
        convert=lambda mean, a: (a, a / mean),
        limits=(_JUST_ABOVE_0, math.inf),
    ),
    Truth(
        "beta",
        "beta",
        (softplus, softplus),
        (SPREADS, SPREADS),
        proportions,
        beta_log_prob,
        beta_cdf,
        beta_entropy,
        beta_crps,
        lambda of, raw: of.Beta(tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])),
        limits=(_JUST_ABOVE_0, _JUST_BELOW_1),
    ),
    Truth(
        "beta by mean",
        "beta",
        (identity, softplus),
        (LOGITS, SPREADS),
        proportions,
        beta_log_prob,
        beta_cdf,
        beta_entropy,
        beta_crps,
        options={"parametrization": "mean"},
        convert=lambda logit, precision: (sigmoid(logit) * precision, sigmoid(-logit) * precision),
        limits=(_JUST_ABOVE_0, _JUST_BELOW_1),
    ),
    Truth(
        "von_mises",
        "von_mises",
        (identity, identity, softplus),
        ((-110.0, -1.0, 1e-20, 0.3, 50.0), (-50.0, 0.2, 1e-10), SPREADS),
        lambda loc, k: [loc + step for step in (0, 1e-4, -1e-3, 0.5, 2, -3)] + [3.1415925, -3.1415925, 0],
        von_mises_log_prob,
        von_mises_cdf,
        von_mises_entropy,
        None,
        lambda of, raw: of.VonMises(torch.atan2(raw[..., 1], raw[..., 0]), tensor_softplus(raw[..., 2])),
        convert=lambda cosine, sine, k: (mp.atan2(sine, cosine), k),
        limits=(-3.1415926, 3.1415926),
        circular=True,
        rounded=0,  # the rounding of the angle, which gradients by a short raw vector magnify
    ),
    Truth(
        "bernoulli",
        "bernoulli",
        (identity,),
        (LOGITS,),
        lambda logit: [0, 1],
        lambda logit, y: -softplus(-logit) if y == 1 else -softplus(logit),
        lambda logit, y: mp.mpf(1) if y == 1 else sigmoid(-logit),
        lambda logit: sigmoid(logit) * softplus(-logit) + sigmoid(-logit) * softplus(logit),
        lambda logit, y: (y * sigmoid(-logit) - (1 - y) * sigmoid(logit)) ** 2,
        lambda of, raw: of.Bernoulli(logits=raw[..., 0]),
    ),
    Truth(
        "categorical",
        "categorical",
        (identity,) * 3,
        (LOGITS, LOGITS, LOGITS),
        lambda *logits: [0, 1, 2],
        lambda a, b, c, y: log_softmax([a, b, c])[int(y)],
        None,
        lambda *logits: -mp.fsum(mp.exp(term) * term for term in log_softmax(logits)),
        None,
        lambda of, raw: of.Categorical(logits=raw),
        options={"num_classes": 3},
    ),
    Truth(
        "poisson",
        "poisson",
        (softplus,),
        (SPREADS,),
        counts,
        poisson_log_prob,
        lambda rate, y: 1 - gamma_cdf(y + 1, rate),
        lambda rate: sum_over_counts(lambda k: poisson_log_prob(rate, k), rate, mp.sqrt(rate)),
        poisson_crps,
        lambda of, raw: of.Poisson(tensor_softplus(raw[..., 0])),
        limits=(0, math.inf),
    ),
    Truth(
        "negative_binomial",
        "negative_binomial",
        (softplus, identity),
        (SPREADS, LOGITS),
        lambda r, logits: counts(r * mp.exp(logits), mp.sqrt(r * mp.exp(logits) * (1 + mp.exp(logits)))),
        negative_binomial_log_prob,
        lambda r, logits, y: beta_cdf(r, y + 1, sigmoid(-logits)),
        lambda r, logits: sum_over_counts(
            lambda k: negative_binomial_log_prob(r, logits, k), r * mp.exp(logits), mp.sqrt(r) * mp.exp(logits) + 1
        ),
        None,
        lambda of, raw: of.NegativeBinomial(tensor_softplus(raw[..., 0]), logits=raw[..., 1]),
        limits=(0, math.inf),
    ),
    Truth(
        "negative_binomial by mean",
        "negative_binomial",
        (softplus, softplus),
        (SPREADS, SPREADS),
        lambda r, logits: counts(r * mp.exp(logits), mp.sqrt(r * mp.exp(logits) * (1 + mp.exp(logits)))),
        negative_binomial_log_prob,
        lambda r, logits, y: beta_cdf(r, y + 1, sigmoid(-logits)),
        options={"parametrization": "mean"},
        convert=lambda mean, r: (r, mp.log(mean / r)),
        limits=(0, math.inf),
    ),
    Truth(
        "log_normal",
        "log_normal",
        (identity, softplus),
        ((-50.0, -1.0, 0.0, 0.3, 50.0), SPREADS),
        lambda loc, scale: [mp.exp(loc + scale * step) for step in (0, 1e-3, 0.5, -2, 4)] + [1e-30, 1, 1e6],
        lambda loc, scale, y: normal_log_prob(loc, scale, mp.log(y)) - mp.log(y),
        lambda loc, scale, y: normal_cdf(loc, scale, mp.log(y)),
        lambda loc, scale: (1 + mp.log(2 * mp.pi)) / 2 + mp.log(scale) + loc,
        log_normal_crps,
        lambda of, raw: of.LogNormal(raw[..., 0], tensor_softplus(raw[..., 1])),
        rounded=0,  # log y - loc, where log y rounds as loc does
        limits=(_JUST_ABOVE_0, math.inf),
    ),
    Truth(
        "weibull",
        "weibull",
        (softplus, softplus),
        (SPREADS, SPREADS),
        lambda scale, k: positive(scale),
        weibull_log_prob,
        lambda scale, k, y: -mp.expm1(-min((y / scale) ** k, 10**4)),  # mpmath takes hours for exp(-10^100000)
        lambda scale, k: mp.euler * (1 - 1 / k) + mp.log(scale / k) + 1,
        weibull_crps,
        lambda of, raw: of.Weibull(tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])),
        rounded=0,  # the rounding of the scale, which a concentration of 1e6 magnifies
        limits=(_JUST_ABOVE_0, math.inf),
    ),
    Truth(
        "normal_mixture",
        "normal_mixture",
        (identity, identity, identity, identity, softplus, softplus),
        (
            (-110.0, 0.0, 50.0),
            (-20.0, 0.3),
            (-110.0, 0.0, 1e6),
            (-1.0, 50.0),
            (-110.0, -30.0, 0.5, 1e3),
            (-50.0, 0.0, 1e6),
        ),
        lambda w0, w1, loc0, loc1, scale0, scale1: around(loc0, scale0) + around(loc1, scale1),
        mixture_log_prob,
        mixture_cdf,
        None,
        mixture_crps,
        lambda of, raw: of.MixtureSameFamily(
            of.Categorical(logits=raw[..., :2]), of.Normal(raw[..., 2:4], tensor_softplus(raw[..., 4:]))
        ),
        options={"num_components": 2},
    ),
    Truth(
        "multivariate_normal",
        "multivariate_normal",
        (identity, identity, softplus, identity, softplus),
        ((-1.0, 50.0), (0.0, 1e6), (-110.0, -10.0, 0.5, 1e6), (-20.0, 0.3), (-50.0, 1.0, 50.0)),
        lambda loc0, loc1, a, b, c: [(-1.0, 0.0), (50.0, 1e6), (0.5, 3.0), (-100.0, 1e4)],
        multivariate_normal_log_prob,
        peer=lambda of, raw: of.MultivariateNormal(raw[..., :2], scale_tril=_triangle(raw[..., 2:])),
        event_shape=(2,),
    ),
    Truth(
        "plackett_luce",
        "plackett_luce",
        (identity,) * 4,
        ((-110.0, 0.0, 50.0), (-20.0, 0.3, 20.0), (-50.0, 1.0, 50.0), (0.0, -110.0)),
        lambda *scores: [(0, 1, 2, 3), (3, 1, 0, 2), (2, 0, -1, -1), (1, -1, -1, -1)],
        plackett_luce_log_prob,
        event_shape=(4,),
    ),
]


def _triangle(raw):
    a, b, c = tensor_softplus(raw[..., 0]), raw[..., 1], tensor_softplus(raw[..., 2])
    return torch.stack([torch.stack([a, torch.zeros_like(a)], -1), torch.stack([b, c], -1)], -2)


# Measuring


def tensors_of(rows: Sequence[tuple], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    raw, y = zip(*rows, strict=True)
    return torch.tensor(raw, dtype=dtype), torch.tensor(y, dtype=dtype)


def numbers(truths: Iterable) -> torch.Tensor:
    """mpmath's numbers in double precision, whose rounding is far below any bound; nan for what is not known."""
    return torch.tensor([math.nan if truth is None else float(truth) for truth in truths], dtype=torch.float64)


def representable(truth: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return truth.abs() <= torch.finfo(dtype).max


def relative_error(got: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """|got - truth| / max(1, |truth|), inf for a nan; 0 where the truth is unknown or beyond this precision's numbers."""
    error = (got.double() - truth).abs() / truth.abs().clamp(min=1)
    error = torch.where(error.isnan(), math.inf, error)
    return torch.where(representable(truth, got.dtype), error, 0.0)


def log_prob_errors(make, truth: torch.Tensor, slope: torch.Tensor, rows, dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of log_prob and of each of its derivatives, for a distribution `make(raw)`."""
    raw, y = tensors_of(rows, dtype)
    raw.requires_grad_()
    value = make(raw).log_prob(y)
    # A row whose truth, or any of whose slopes, is too large for the precision does not count.
    wanted = representable(truth, dtype) & representable(slope, dtype).all(-1)
    (got,) = torch.autograd.grad(value.sum(), raw)
    return relative_error(value, truth), torch.where(wanted.unsqueeze(-1), relative_error(got, slope), 0.0)


def cdf_errors(make, truth: torch.Tensor, rows, dtype, circular: bool = False) -> torch.Tensor:
    """On a circle 0 and 1 are the same place, where the cdf starts."""
    raw, y = tensors_of(rows, dtype)
    error = (make(raw).cdf(y).double() - truth).abs()
    error = torch.minimum(error, (1 - error).abs()) if circular else error
    return torch.where(error.isnan(), math.inf, error)


def round_trips(case: Truth, cdf: torch.Tensor, log_prob: torch.Tensor, rows, dtype) -> torch.Tensor:
    """Whether icdf(cdf(y)) can return y: where rounding the cdf moves y by less than a fiftieth of the bound.

    Counts must come back exactly, so their mass must stand out of the rounding.
    """
    _, y = tensors_of(rows, torch.float64)
    limits = torch.finfo(dtype)
    inside = (cdf > limits.tiny) & (1 - cdf > limits.eps) & representable(log_prob, dtype)
    if case.made.is_discrete:
        return inside & (log_prob.exp() > 8 * limits.eps * cdf) & (1 - cdf > 8 * limits.eps)
    moved = limits.eps * cdf / log_prob.exp()
    return inside & (moved < 0.02 * BOUNDS["icdf"][dtype] * y.abs())


def round_trip_errors(make, possible: torch.Tensor, rows, dtype, circular: bool = False) -> torch.Tensor:
    raw, y = tensors_of(rows, dtype)
    dist = make(raw)
    difference = (dist.icdf(dist.cdf(y)).double() - y.double()).abs()
    difference = torch.minimum(difference, (2 * math.pi - difference).abs()) if circular else difference
    error = torch.where(y == 0, difference, difference / y.double().abs())
    return torch.where(possible, torch.where(error.isnan(), math.inf, error), 0.0)


def questions(case: Truth, rows: Sequence[tuple], scored: Sequence[tuple]) -> dict[str, Callable]:
    """Question -> the errors of a maker of distributions in a precision, for every question whose truth is known."""
    log_prob = numbers(case.ask("log_prob", *row) for row in rows)
    slope = torch.stack([numbers(case.gradient(*row)) for row in rows])
    answers: dict[str, Callable] = {
        "log_prob": lambda make, dtype: log_prob_errors(make, log_prob, slope, rows, dtype)[0],
        "gradient": lambda make, dtype: log_prob_errors(make, log_prob, slope, rows, dtype)[1],
    }
    if case.cdf:
        cdf = numbers(case.ask("cdf", *row) for row in rows)
        answers["cdf"] = lambda make, dtype: cdf_errors(make, cdf, rows, dtype, case.circular)
        answers["icdf"] = lambda make, dtype: round_trip_errors(
            make, round_trips(case, cdf, log_prob, rows, dtype), rows, dtype, case.circular
        )
    if case.entropy:
        entropy = numbers(case.ask("entropy", raw) for raw, _ in scored)
        answers["entropy"] = lambda make, dtype: relative_error(make(tensors_of(scored, dtype)[0]).entropy(), entropy)
    if case.crps:
        crps = numbers(case.ask("crps", *row) for row in scored)

        def crps_errors(make, dtype):
            raw, y = tensors_of(scored, dtype)
            return relative_error(make(raw).crps(y), crps)

        answers["crps"] = crps_errors
    return answers


def worst(errors: Callable[[Callable, torch.dtype], torch.Tensor], make: Callable | None, dtype: torch.dtype) -> str:
    """The worst error as a cell of the table."""
    if make is None:
        return "missing"
    try:
        error = float(errors(make, dtype).detach().max())
    except (NotImplementedError, AttributeError, RuntimeError):
        return "missing"
    return "nan or inf" if math.isinf(error) else f"{error:.0e}"


def table(row_count: int) -> str:
    """The Markdown table."""
    import pyro.distributions

    libraries = {"disthead": None, "torch": torch.distributions, "Pyro": pyro.distributions}
    columns = list(itertools.product(libraries, (torch.float32, torch.float64)))
    titles = [f"{library} {str(dtype).removeprefix('torch.')}" for library, dtype in columns]
    lines = ["| family | question | " + " | ".join(titles) + " |", "|---" * (2 + len(titles)) + "|"]
    for case in TRUTHS:
        rows = case.grid(row_count)
        makers = {name: case.peer and functools.partial(case.peer, module) for name, module in libraries.items()}
        makers["disthead"] = case.made.from_raw
        for question, errors in questions(case, rows, rows[: max(row_count // 5, 1)]).items():
            cells = [worst(errors, makers[library], dtype) for library, dtype in columns]
            lines.append(f"| {case} | {question} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100, help="rows of the grid for each family")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.distributions.Distribution.set_default_validate_args(False)
    print(table(arguments.rows))


if __name__ == "__main__":
    main()
