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


def truncated_normal_log_prob(loc, scale, y):
    """Of y >= 0."""
    return normal_log_prob(loc, scale, y) - mp.log(normal_cdf(0, scale, loc))


def truncated_normal_cdf(loc, scale, y):
    return 1 - normal_cdf(0, scale, loc - y) / normal_cdf(0, scale, loc)


def discretised_normal_log_prob(loc, scale, y):
    """Of whole numbers, the nearest ones; from the tail on the side of y."""
    half, sign = mp.mpf(1) / 2, 1 if y < loc else -1
    far, near = (normal_cdf(0, scale, sign * (y - loc) + end) for end in (-half, half))
    return mp.log(near - far)


def half_normal_crps(scale, y):
    z = y / scale
    distance = y * (2 * mp.erf(z / mp.sqrt(2)) - 1) + scale * mp.sqrt(2 / mp.pi) * (
        2 * mp.exp(-z * z / 2) - 1
    )
    return distance - scale * (2 / mp.sqrt(mp.pi) - mp.sqrt(2 / mp.pi))


def log_logistic_crps(scale, k, y):
    if k <= 1:
        return None
    power, share = 1 / k, sigmoid(k * mp.log(y / scale))
    mean = scale * mp.pi * power / mp.sin(mp.pi * power)
    taken = beta_cdf(1 + power, 1 - power, share)
    return y * (2 * share - 1) + mean * (1 - power - 2 * taken)


def generalized_gamma_crps(scale, a, power, y):
    x, b, half = mp.exp(min(power * mp.log(y / scale), mp.mpf(30))), a + 1 / power, mp.mpf(1) / 2
    mean = scale * mp.exp(mp.loggamma(b) - mp.loggamma(a))
    taken = gamma_cdf(b, x) + beta_cdf(a, b, half)
    return y * (2 * gamma_cdf(a, x) - 1) + 2 * mean * (1 - taken)


def inverse_gamma_crps(a, rate, y):
    if a <= 1:
        return None
    below, taken = 1 - gamma_cdf(a, rate / y), 1 - gamma_cdf(a - 1, rate / y)
    half = mp.mpf(1) / 2
    pair = mp.exp(log_beta(half, a - half)) / mp.pi
    return y * (2 * below - 1) + rate / (a - 1) * (1 - 2 * taken - pair)


def inverse_gaussian_log_prob(mean, c, y):
    return (mp.log(c / (2 * mp.pi * y**3)) - c * (y - mean) ** 2 / (mean**2 * y)) / 2


def inverse_gaussian_cdf(mean, c, y):
    with mp.workdps(140):  # exp(2 c / mean) meets a tail that is as small
        root = mp.sqrt(c / y)
        a, b = root * (y / mean - 1), root * (y / mean + 1)
        return mp.ncdf(a) + mp.exp(2 * c / mean) * mp.ncdf(-b)


def inverse_gaussian_entropy(mean, c):
    k = 2 * c / mean
    scaled = mp.exp(k) * mp.e1(k) if k < 1e5 else (1 - 1 / k + 2 / k**2 - 6 / k**3 + 24 / k**4) / k
    return (1 + mp.log(2 * mp.pi * mean**3 / c) - 3 * scaled) / 2


def laplace_cdf(loc, scale, y):
    z = (y - loc) / scale
    return mp.exp(z) / 2 if z < 0 else 1 - mp.exp(-z) / 2


def laplace_crps(loc, scale, y):
    z = abs(y - loc) / scale
    return scale * (z + mp.exp(-z) - mp.mpf(3) / 4)


def cauchy_log_prob(loc, scale, y):
    return -mp.log(mp.pi * scale * (1 + ((y - loc) / scale) ** 2))


def cauchy_crps(loc, scale, y):
    z = (y - loc) / scale
    return scale * (2 * z * mp.atan(z) - mp.log1p(z * z) + 2 * mp.log(2)) / mp.pi


def gumbel_log_prob(loc, scale, y):
    z = (y - loc) / scale
    return -z - mp.exp(-z) - mp.log(scale)


def gumbel_crps(loc, scale, y):
    z = (y - loc) / scale
    tail = mp.mpf(0) if z < -6 else mp.e1(mp.exp(-z))
    return scale * (mp.euler - mp.log(2) - z + 2 * tail)


def asymmetric_laplace_log_prob(loc, scale, logit, y):
    z = (y - loc) / scale
    loss = z * sigmoid(logit) if z > 0 else -z * sigmoid(-logit)
    return -loss - softplus(logit) - softplus(-logit) - mp.log(scale)


def asymmetric_laplace_cdf(loc, scale, logit, y):
    z, p, q = (y - loc) / scale, sigmoid(logit), sigmoid(-logit)
    return p * mp.exp(q * z) if z < 0 else 1 - q * mp.exp(-p * z)


def asymmetric_laplace_crps(loc, scale, logit, y):
    """By Y = loc + scale (B E / p - (1 - B) E / q) with E exponential and B = 1 with
    probability q.
    """
    z, p, q = (y - loc) / scale, sigmoid(logit), sigmoid(-logit)
    if z < 0:
        z, p, q = -z, q, p
    distance = z - (1 / p - 1 / q) + 2 * q * mp.exp(-p * z) / p
    return scale * (distance - (1 - p * p) / (2 * p) - (1 - q * q) / (2 * q))


def huber_constant(delta):
    core = mp.sqrt(2 * mp.pi) * mp.erf(delta / mp.sqrt(2))
    return core + 2 * mp.exp(-delta * delta / 2) / delta


def huber_log_prob(loc, scale, delta, y):
    z = abs(y - loc) / scale
    loss = z * z / 2 if z < delta else delta * z - delta * delta / 2
    return -loss - mp.log(scale * huber_constant(delta))


def huber_tail(delta, z):
    """P(Z > z) for z >= 0."""
    if z >= delta:
        area = mp.exp(delta * delta / 2 - delta * z) / delta
    else:
        between = mp.erfc(z / mp.sqrt(2)) - mp.erfc(delta / mp.sqrt(2))
        area = mp.exp(-delta * delta / 2) / delta + mp.sqrt(mp.pi / 2) * between
    return area / huber_constant(delta)


def huber_cdf(loc, scale, delta, y):
    z = (y - loc) / scale
    return huber_tail(delta, -z) if z < 0 else 1 - huber_tail(delta, z)


def huber_entropy(loc, scale, delta):
    total, edge = huber_constant(delta), mp.exp(-delta * delta / 2)
    core = mp.sqrt(mp.pi / 2) * mp.erf(delta / mp.sqrt(2)) + 2 * edge / delta
    return mp.log(scale * total) + core / total


def huber_crps(loc, scale, delta, y):
    """By the integral of the tail from |z| on, and of the product of both tails."""
    z, total = abs(y - loc) / scale, huber_constant(delta)

    def beyond(t):  # the integral of t p(t)
        edge = mp.exp(-delta * delta / 2)
        if t < delta:
            return (mp.exp(-t * t / 2) + edge / delta**2) / total
        return mp.exp(delta * delta / 2 - delta * t) * (t / delta + 1 / delta**2) / total

    def both(t):
        return huber_tail(delta, t) * (1 - huber_tail(delta, t))

    with mp.workdps(25):
        wide = min(delta, 15)
        ends = [0, wide / 4, wide / 2, wide, *([delta] if delta > wide else [])]
        half_difference = 2 * mp.quad(both, ends)
    edge = huber_tail(delta, delta)
    half_difference += 2 * (edge / delta - edge**2 / (2 * delta))
    distance = z * (1 - 2 * huber_tail(delta, z)) + 2 * beyond(z)
    return scale * (distance - half_difference)


def hyperbolic_secant_crps(loc, scale, y):
    z = abs(y - loc) / scale
    inverse_tangent = mp.im(mp.polylog(2, mp.j * mp.exp(-z)))
    return scale * (z + 4 * inverse_tangent / mp.pi - 7 * mp.zeta(3) / mp.pi**2)


def generalized_normal_log_prob(loc, scale, shape, y):
    power = (abs(y - loc) / scale) ** shape
    return -power - mp.log(2 * scale) - mp.loggamma(1 + 1 / shape)


def generalized_normal_cdf(loc, scale, shape, y):
    z = (y - loc) / scale
    half = gamma_cdf(1 / shape, abs(z) ** shape) / 2
    return mp.mpf(1) / 2 + (half if z > 0 else -half)


def generalized_normal_crps(loc, scale, shape, y):
    a, z = 1 / shape, abs(y - loc) / scale
    mean = mp.exp(mp.loggamma(2 * a) - mp.loggamma(a))
    near = z * gamma_cdf(a, z**shape) - mean * gamma_cdf(2 * a, z**shape)
    return scale * (near + mean * beta_cdf(2 * a, a, mp.mpf(1) / 2))


def sinh_arcsinh_normal(loc, scale, skewness, tailweight, y):
    x = (y - loc) / scale * mp.sinh(tailweight * mp.asinh(2)) / 2
    return mp.sinh(mp.asinh(x) / tailweight - skewness)


def sinh_arcsinh_log_prob(loc, scale, skewness, tailweight, y):
    factor = mp.sinh(tailweight * mp.asinh(2)) / (2 * scale)
    x, w = factor * (y - loc), sinh_arcsinh_normal(loc, scale, skewness, tailweight, y)
    slope = factor / tailweight * mp.sqrt((1 + w * w) / (1 + x * x))
    return -w * w / 2 - mp.log(2 * mp.pi) / 2 + mp.log(slope)


def johnson_su_log_prob(loc, scale, skewness, tailweight, y):
    z = (y - loc) / scale
    w = skewness + tailweight * mp.asinh(z)
    slope = tailweight / (scale * mp.sqrt(1 + z * z))
    return -w * w / 2 - mp.log(2 * mp.pi) / 2 + mp.log(slope)


def kumaraswamy_log_prob(a, b, y):
    log_power = a * mp.log(y)
    rest = mp.log(-mp.expm1(log_power))
    return mp.log(a) + mp.log(b) + log_power - mp.log(y) + (b - 1) * rest


def kumaraswamy_crps(a, b, y):
    def mean(b):
        return b * mp.exp(log_beta(1 + 1 / a, b))

    below = -mp.expm1(b * mp.log1p(-(y**a)))
    return y * (2 * below - 1) - 2 * mean(b) * beta_cdf(1 + 1 / a, b, y**a) + mean(2 * b)


def continuous_bernoulli_log_mass(logit):
    return mp.log(mp.expm1(logit) / logit) if logit else mp.mpf(0)


def continuous_bernoulli_entropy(logit):
    if not logit:
        return mp.mpf(0)
    mean = -1 / mp.expm1(-logit) - 1 / logit
    return continuous_bernoulli_log_mass(logit) - logit * mean


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


def skew_normal_log_prob(loc, scale, shape, y):
    tail = mp.erfc(-shape * (y - loc) / scale / mp.sqrt(2))
    return normal_log_prob(loc, scale, y) + mp.log(tail)


def skew_cdf(z, shape, half, kernel):
    """From half, P(X < -|z|) at shape 0, and the angle between two lines, weighted with kernel."""
    if shape < 0:
        return 1 - skew_cdf(-z, -shape, half, kernel)
    width = mp.atan2(1, shape)
    ends = [mp.mpf(0)] + [width * mp.mpf(2) ** -k for k in range(38, -1, -2)]
    with mp.workdps(25):
        wedge = mp.quad(lambda u: kernel((z / mp.sin(u)) ** 2), ends) / mp.pi
    return wedge if z <= 0 else 1 - 2 * half + wedge


def skew_normal_cdf(loc, scale, shape, y):
    z = (y - loc) / scale
    if abs(z) > 50:
        return mp.mpf(z > 0)
    half = mp.erfc(abs(z) / mp.sqrt(2)) / 2
    return skew_cdf(z, shape, half, lambda square: mp.exp(-square / 2))


def skew_t_log_prob(loc, scale, shape, df, y):
    z = (y - loc) / scale
    w = shape * z * mp.sqrt((df + 1) / (df + z * z))
    tail = student_t_cdf(df + 1, 0, 1, w)
    return mp.log(2 * tail) + student_t_log_prob(df, loc, scale, y)


def skew_t_cdf(loc, scale, shape, df, y):
    z = (y - loc) / scale
    half = student_t_cdf(df, 0, 1, -abs(z))
    return skew_cdf(z, shape, half, lambda square: (1 + square / df) ** (-df / 2))


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


def projected_normal_log_prob(first, second, y):
    along, squared = first * mp.cos(y) + second * mp.sin(y), first**2 + second**2
    density = mp.exp(-(along**2) / 2) / mp.sqrt(2 * mp.pi)
    ratio = mp.erfc(-along / mp.sqrt(2)) / 2 / density
    return mp.log1p(along * ratio) - squared / 2 - mp.log(2 * mp.pi)


def projected_normal_cdf(first, second, y):
    """By the definition: the normal vectors between the start and y, in polar coordinates."""
    loc, length = mp.atan2(second, first), mp.hypot(first, second)
    angle = y - loc
    angle -= 2 * mp.pi * mp.ceil(angle / (2 * mp.pi) - mp.mpf(1) / 2)

    def density(t):
        return mp.exp(projected_normal_log_prob(length, 0, t))

    # the narrow peak around 0 has edges of its own, and so does its foot at half a turn
    edges = [-mp.pi, -mp.pi / 2, -8 / (8 + length), -2 / (2 + length), 0]
    points = [edge for edge in edges if edge < -abs(angle)]
    tail = mp.quad(density, [*points, -abs(angle)])
    return tail if angle <= 0 else 1 - tail


def poisson_log_prob(rate, y):
    return y * mp.log(rate) - rate - mp.loggamma(y + 1)


def poisson_crps(rate, y):
    below, mass = 1 - gamma_cdf(y + 1, rate), mp.exp(poisson_log_prob(rate, y))
    pair = rate * mp.exp(-2 * rate) * (mp.besseli(0, 2 * rate) + mp.besseli(1, 2 * rate))
    return (y - rate) * (2 * below - 1) + 2 * rate * mass - pair


def zero_inflated_poisson_log_prob(rate, logit, y):
    if y > 0:
        return poisson_log_prob(rate, y) - softplus(logit)
    return mp.log(sigmoid(logit) + sigmoid(-logit) * mp.exp(-rate))


def zero_inflated_poisson_crps(rate, logit, y):
    """The sum of (F(k) - 1{k >= y})^2, by E|Y - y| - E|Y - Y'| / 2 of the parts."""
    rest, gate = sigmoid(-logit), sigmoid(logit)
    return rest * poisson_crps(rate, y) + gate * y - rest * gate * poisson_crps(rate, mp.mpf(0))


def hurdle_poisson_log_prob(rate, logit, y):
    if y > 0:
        return poisson_log_prob(rate, y) - mp.log(-mp.expm1(-rate)) - softplus(logit)
    return -softplus(-logit)


def negative_binomial_log_prob(r, logits, y):
    choices = mp.loggamma(y + r) - mp.loggamma(r) - mp.loggamma(y + 1)
    return choices - r * softplus(logits) - y * softplus(-logits)


def tweedie_terms(mean, dispersion, power, y):
    """The mean number of amounts, their concentration and scale, and the numbers that matter."""
    rate = mean ** (2 - power) / (dispersion * (2 - power))
    a, unit = (2 - power) / (power - 1), dispersion * (power - 1) * mean ** (power - 1)
    center = rate * (y / (rate * a * unit)) ** (a / (1 + a))
    width = 20 * mp.sqrt(max(center, rate)) + 60
    first, last = min(center, rate) - width, max(center, rate) + width
    return rate, a, unit, range(max(1, int(first)), int(last))


def tweedie_log_prob(mean, dispersion, y, power=1.5):
    rate, a, unit, numbers = tweedie_terms(mean, dispersion, power, y)
    if y == 0:
        return -rate
    terms = [poisson_log_prob(rate, n) + gamma_log_prob(n * a, 1 / unit, y) for n in numbers]
    return log_sum_exp(terms)


def tweedie_cdf(mean, dispersion, y, power=1.5):
    rate, a, unit, numbers = tweedie_terms(mean, dispersion, power, y)
    parts = (mp.exp(poisson_log_prob(rate, n)) * gamma_cdf(n * a, y / unit) for n in numbers)
    return mp.exp(-rate) + mp.fsum(parts)


def log_choose(n, y):
    return mp.loggamma(n + 1) - mp.loggamma(y + 1) - mp.loggamma(n - y + 1)


def binomial_log_prob(n):
    """That of n trials, by their log-odds."""
    return lambda logit, y: log_choose(n, y) - y * softplus(-logit) - (n - y) * softplus(logit)


def binomial_cdf(n):
    return lambda logit, y: mp.mpf(1) if y >= n else beta_cdf(n - y, y + 1, sigmoid(-logit))


def beta_binomial_log_prob(n):
    return lambda a, b, y: log_choose(n, y) + log_beta(y + a, n - y + b) - log_beta(a, b)


def binomial_targets(n):
    return lambda logit: [0, 1, n // 3, n - 1, n, mp.floor(n * sigmoid(logit))]


def entropy_over_counts(log_prob, n):
    """-sum p log p over 0, ..., n."""

    def entropy(*parameters):
        terms = [log_prob(*parameters, mp.mpf(k)) for k in range(n + 1)]
        return -mp.fsum(mp.exp(term) * term for term in terms)

    return entropy


def crps_over_counts(log_prob, n):
    """E|Y - y| - E|Y - Y'| / 2 over 0, ..., n."""

    def crps(*parameters):
        *parameters, y = parameters
        masses = [mp.exp(log_prob(*parameters, mp.mpf(k))) for k in range(n + 1)]
        below = [mp.fsum(masses[: k + 1]) for k in range(n + 1)]
        above = [mp.fsum(masses[k + 1 :]) for k in range(n + 1)]
        distance = mp.fsum(mass * abs(k - y) for k, mass in enumerate(masses))
        return distance - mp.fsum(f * s for f, s in zip(below, above, strict=True))

    return crps


def generalized_poisson_weight(mean, dispersion, y):
    theta, slope = mean / mp.sqrt(dispersion), 1 - 1 / mp.sqrt(dispersion)
    t = theta + slope * y
    return mp.log(theta) + (y - 1) * mp.log(t) - t - mp.loggamma(y + 1)


def generalized_poisson_log_prob(mean, dispersion, y):
    if dispersion >= 1:
        return generalized_poisson_weight(mean, dispersion, y)
    end = mean / (1 - mp.sqrt(dispersion))
    if y >= end:
        return -mp.inf
    terms = [
        generalized_poisson_weight(mean, dispersion, mp.mpf(k))
        for k in range(min(int(mp.ceil(end)), 400))
    ]
    return generalized_poisson_weight(mean, dispersion, y) - log_sum_exp(terms)


@functools.cache
def conway_maxwell_poisson_log_normaliser(rate, nu):
    centre = rate ** (1 / nu)
    last = int(centre + 60 * mp.sqrt(centre / nu) + 60 / nu + 60)
    return log_sum_exp([k * mp.log(rate) - nu * mp.loggamma(k + 1) for k in range(last)])


def conway_maxwell_poisson_log_prob(rate, nu, y):
    weight = y * mp.log(rate) - nu * mp.loggamma(y + 1)
    return weight - conway_maxwell_poisson_log_normaliser(rate, nu)


def cdf_by_sum(log_prob):
    """The cdf of counts, a sum of their masses."""

    def cdf(*parameters):
        *parameters, y = parameters
        return mp.fsum(mp.exp(log_prob(*parameters, mp.mpf(k))) for k in range(int(y) + 1))

    return cdf


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


def pareto_hazard(z, c):
    """log(1 + c z) / c, None where 1 + c z <= 0."""
    if 1 + c * z <= 0:
        return None
    return mp.log1p(c * z) / c if c else z


def extreme_value_log_prob(loc, scale, c, y):
    s = pareto_hazard((y - loc) / scale, c)
    if s is None or s < -1e4:  # beyond the numbers of double precision
        return -mp.inf
    return -mp.log(scale) - (1 + c) * s - mp.exp(-s)


def extreme_value_cdf(loc, scale, c, y):
    s = pareto_hazard((y - loc) / scale, c)
    return mp.mpf(c < 0) if s is None else mp.exp(-mp.exp(-max(s, -1e4)))


def generalized_pareto_log_prob(scale, c, y):
    s = pareto_hazard(y / scale, c)
    return -mp.inf if s is None else -mp.log(scale) - (1 + c) * s


def generalized_pareto_cdf(scale, c, y):
    s = pareto_hazard(y / scale, c)
    return mp.mpf(1) if s is None else -mp.expm1(-s)


def generalized_pareto_crps(scale, c, y):
    rest, power = 1 - generalized_pareto_cdf(scale, c, y), 1 - c
    taken = (1 - rest**power) / power if power else -mp.log(rest)
    return y - 2 * scale * taken + scale / (2 - c)


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


def histogram_probs(*logits):
    return [
        mp.exp(log_prob) * mp.mpf(99) / 100 + mp.mpf(1) / 100 / len(logits)
        for log_prob in log_softmax(logits)
    ]


def histogram_log_prob(left, first, second, right, low, high, y):
    """Two bins with the edges -1, 1/2 and 2."""
    left, first, second, right = histogram_probs(left, first, second, right)
    if y <= -1:
        return mp.log(left / low) + (y + 1) / low
    if y > 2:
        return mp.log(right / high) - (y - 2) / high
    return mp.log((first if y <= 0.5 else second) / mp.mpf(1.5))


def histogram_cdf(left, first, second, right, low, high, y):
    left, first, second, right = histogram_probs(left, first, second, right)
    if y <= -1:
        return left * mp.exp((y + 1) / low)
    if y > 2:
        return 1 - right * mp.exp(-(y - 2) / high)
    shares = [min(max(y - start, 0) / mp.mpf(1.5), 1) for start in (-1, mp.mpf(0.5))]
    return left + first * shares[0] + second * shares[1]


def spline_log_odds(loc, scale, w0, w1, h0, h1, d0, d1, d2, y):
    """The log-odds z of the cdf, and the derivative of g there, of y = loc + scale g(z).

    g has two bins between (-4, -4) and (4, 4).
    """
    x, ends = (y - loc) / scale, mp.mpf(4)
    widths, heights = (
        [8 * (mp.exp(p) * mp.mpf(98) / 100 + mp.mpf(1) / 100) for p in log_softmax(pair)]
        for pair in ([w0, w1], [h0, h1])
    )
    if x < -ends:
        return -ends + (x + ends) / d0, d0
    if x > ends:
        return ends + (x - ends) / d2, d2
    in_first = x <= -ends + heights[0]
    (width, height), (left, right) = (
        ((widths[0], heights[0]), (d0, d1)) if in_first else ((widths[1], heights[1]), (d1, d2))
    )
    rise, start = (x + ends, -ends) if in_first else (x + ends - heights[0], -ends + widths[0])
    s = height / width
    bend = left + right - 2 * s
    a, b, c = height * (s - left) + rise * bend, height * left - rise * bend, -s * rise
    place = 2 * c / (-b - mp.sqrt(b * b - 4 * a * c))
    both = place * (1 - place)
    slopes = right * place**2 + 2 * s * both + left * (1 - place) ** 2
    return start + place * width, s * s * slopes / (s + bend * both) ** 2


def spline_log_prob(loc, scale, *parameters):
    z, slope = spline_log_odds(loc, scale, *parameters)
    return -softplus(z) - softplus(-z) - mp.log(slope * scale)


def multivariate_normal_log_prob(loc0, loc1, a, b, c, y):
    """Two dimensions, scale_tril = [[a, 0], [b, c]]."""
    z0 = (y[0] - loc0) / a
    z1 = (y[1] - loc1 - b * z0) / c
    return -(z0 * z0 + z1 * z1) / 2 - mp.log(a) - mp.log(c) - mp.log(2 * mp.pi)


def multinomial_log_prob(*parameters):
    *logits, y = parameters
    choices = mp.loggamma(mp.fsum(y) + 1) - mp.fsum(mp.loggamma(k + 1) for k in y)
    return choices + mp.fsum(k * p for k, p in zip(y, log_softmax(logits), strict=True))


def dirichlet_multinomial_log_prob(*parameters):
    *concentrations, y = parameters
    n, total = mp.fsum(y), mp.fsum(concentrations)
    terms = [
        mp.loggamma(k + a) - mp.loggamma(a) - mp.loggamma(k + 1)
        for k, a in zip(y, concentrations, strict=True)
    ]
    return mp.loggamma(n + 1) + mp.loggamma(total) - mp.loggamma(n + total) + mp.fsum(terms)


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


def plackett_luce_ties_log_prob(*parameters):
    """With at most two items at a place: the last parameter is the odds of a tie."""
    *scores, ties, order = parameters
    size, places = len(scores), []
    for item in (int(item) for item in order if item >= 0):
        if item >= size:
            places[-1].append(item - size)
        else:
            places.append([item])

    def worth(items):
        bonus = mp.log(ties) if len(items) == 2 else mp.mpf(0)
        return bonus + sum(scores[item] for item in items) / len(items)

    left, total = list(range(size)), mp.mpf(0)
    for items in places:
        sets = [[a] for a in left] + [[a, b] for a in left for b in left if a < b]
        total += worth(items) - log_sum_exp([worth(chosen) for chosen in sets])
        left = [item for item in left if item not in items]
    return total


def ordinal_cdf(loc, first, gap, y):
    """Three ordered classes with cutpoints first and first + gap, by the logit."""
    return mp.mpf(1) if y == 2 else sigmoid(first + y * gap - loc)


def ordinal_log_prob(loc, first, gap, y):
    lower, upper = first - loc, first + gap - loc
    if y == 1:
        return mp.log(-mp.expm1(-gap)) - softplus(-upper) - softplus(lower)
    return -softplus(upper) if y == 2 else -softplus(-lower)


# The grid

# raw outputs of positive parameters
SPREADS = (-110.0, -50.0, -10.0, -1.0, 0.5, 5.0, 50.0, 1e3, 1e6)
LOCATIONS = (-110.0, -1.0, 0.0, 0.3, 50.0, 1e6)
SHAPES = (-2.0, -0.5, -1e-3, 0.0, 1e-9, 0.015, 0.2, 1.0, 5.0)  # of generalised Pareto tails
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
