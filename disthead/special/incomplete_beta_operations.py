"""The logarithms of the incomplete beta function's tails, and its inverse, in plain operations.

With p the smaller of x and 1 - x, the tail on the side of x away from the mode is the integrand at
x times an integral along u = |logit t - logit x|,

    I_x(a, b) = x^a (1 - x)^b / B(a, b) * integral_0^inf exp(-[m u + (a + b) K(u)]) du,
    m = a (1 - x) - b x >= 0,
    K(u) = log(1 + p (e^w - 1)) - p w with w = -u if p = x, else w = u,

where K, the cumulant function of a centred Bernoulli variable, is convex. Fixed Gauss-Legendre
nodes up to the point where the bracket reaches 38 give it to within rounding if a >= 1 or the
integrand is at its steep part. The remaining case, a < 1 and x (a + b) of order 1, is

    I_x(a, b) = x^a / (a B(a, b)) * [1 + a integral_0^1 s^(a - 1) ((1 - x s)^(b - 1) - 1) ds].

The other tail follows from I_x(a, b) = 1 - I_(1-x)(b, a). Everything consists of differentiable
operations.
"""

import torch

from .incomplete_gamma import (
    DEPTH,
    FULL,
    NONE,
    STEPS,
    endpoint_rule,
    log1mexp,
    log_hazard,
    truncation_point,
)
from .inverse import Root, log_concave_root
from .operators import elementwise_operator, opaque_when_compiled
from .quadrature import gauss_legendre
from .stirling import (
    beta_log_kernel,
    expm1mx,
    lgamma,
    lgamma1p,
    log1pmx,
    log_gamma_ratio,
    normalize_pair,
)


def _cumulant(p, w):
    """log(1 + p (e^w - 1)) - p w for p <= 1/2, and its derivative in w."""
    growth = p * torch.expm1(w)
    near = growth < 1
    inner = torch.where(near, w, 0)
    close = log1pmx(p * torch.expm1(inner)) + p * expm1mx(inner)
    return torch.where(near, close, torch.log1p(growth) - p * w), growth * (1 - p) / (1 + growth)


def quick_cumulant(p, w):
    """`_cumulant` to thirteen digits at a third of its cost, by the cumulants of Bernoulli(p)."""
    variance, skew = p * (1 - p), 1 - 2 * p
    third, fourth, fifth = skew / 6, (1 - 6 * variance) / 24, skew * (1 - 12 * variance) / 120
    sixth = (1 - variance * (30 - 120 * variance)) / 720
    close = variance * w * w * (0.5 + w * (third + w * (fourth + w * (fifth + w * sixth))))
    growth = p * torch.expm1(w)
    value = torch.where(torch.abs(w) < 0.01, close, torch.log1p(growth) - p * w)
    return value, growth * (1 - p) / (1 + growth)


def sides(a, b, x, y):
    """Masks: whether to compute the upper tail, by symmetry, and whether to use the series."""
    small_left = (a < 1) & (x <= 0.5) & ((a + b) * x < 1.5)
    small_right = (b < 1) & (y <= 0.5) & ((a + b) * y < 1.5) & ~small_left
    small = small_left | small_right
    # integrate the tail beyond the mode, but never the one that starts with a shape below 1
    swap = torch.where((a < 1) == (b < 1), a * y < b * x, a < 1)
    return torch.where(small, small_right, swap), small


def from_the_left(left, a, b, x, y):
    """The arguments of the lower tail, or of the upper one as a lower tail, I_(1-x)(b, a)."""
    return (
        torch.where(left, a, b),
        torch.where(left, b, a),
        torch.where(left, x, y),
        torch.where(left, y, x),
    )


def truncation(a, b, x, y, p, sign, depth, cumulant):
    """The u at which the exponent in brackets above reaches `depth`."""
    slope, total = a * y - b * x, a + b

    def exponent(u):
        value, derivative = cumulant(p, sign * u)
        return slope * u + total * value, slope + total * sign * derivative

    return truncation_point(exponent, slope, total * x * y, depth)


def _log_tail_integral(a, b, x, y, count, cumulant):
    """The logarithm of the integral above, for x at or below the mean a / (a + b)."""
    slope, total = a * y - b * x, a + b
    left = x <= y
    p, sign = torch.where(left, x, y), torch.where(left, -1.0, 1.0).to(x.dtype)
    end = truncation(a, b, x, y, p, sign, DEPTH[count], cumulant).unsqueeze(-1)
    nodes, weights = gauss_legendre(count, x)
    u = end * nodes
    bracket = (
        slope.unsqueeze(-1) * u
        + total.unsqueeze(-1) * cumulant(p.unsqueeze(-1), sign.unsqueeze(-1) * u)[0]
    )
    return torch.log((end * weights * torch.exp(-bracket)).sum(-1))


def _log_lower_small(a, b, x, log_a_beta, count):
    """The logarithm of I_x(a, b) for a < 1 and small x (a + b), accurate also near 0."""
    s, weights = endpoint_rule(count, x)
    a_, b_, x_ = a.unsqueeze(-1), b.unsqueeze(-1), x.unsqueeze(-1)
    correction = (weights * s**a_ * torch.expm1((b_ - 1) * torch.log1p(-x_ * s))).sum(-1)
    return a * torch.log(x) - log_a_beta + torch.log1p(a * correction)


def _log_a_beta(a, b):
    """log(a B(a, b)) = lgamma(1 + a) + lgamma(b) - lgamma(a + b), relatively accurate as a -> 0."""
    ordered = a <= b
    a1, b1 = torch.where(ordered, a, 0.5), torch.where(ordered, b, 1)
    a2, b2 = torch.where(ordered, 1, a), torch.where(ordered, 0.5, b)
    # b < a: lgamma(1 + a) + [lgamma(1 + b) - lgamma(a + b) - log b], each bracket of order one or
    # large
    swapped = lgamma1p(a2) + lgamma(b2) - lgamma(a2) - log_gamma_ratio(a2, b2)
    return torch.where(ordered, lgamma1p(a1) - log_gamma_ratio(b1, a1), swapped)


def log_tails(a, b, x, y):
    """(log I_x(a, b), log I_y(b, a)) for y = 1 - x in float64."""
    return _log_tails(a, b, *normalize_pair(x, y))


@opaque_when_compiled("log_betainc_tails", outputs=2)
def _log_tails(a, b, x, y):
    return _tails(a, b, x, y, FULL)


def _tails(a, b, x, y, count, constants=None):
    """`_log_tails` with `count` nodes.

    With `constants`, the logarithms of x^a y^b / B(a, b), of a B(a, b) and of b B(a, b), it takes
    less time and has twelve digits.
    """
    empty, full = x <= 0, y <= 0
    x, y = torch.where(empty | full, 0.5, x), torch.where(empty | full, 0.5, y)
    swap, small = sides(a, b, x, y)
    a, b, x, y = from_the_left(~swap, a, b, x, y)
    a1, b1 = torch.where(small, 2, a), torch.where(small, 2, b)
    x1, y1 = torch.where(small, 0.5, x), torch.where(small, 0.5, y)
    a2, b2, x2 = torch.where(small, a, 0.5), torch.where(small, b, 0.5), torch.where(small, x, 0.25)
    if constants is None:
        cumulant = _cumulant
        log_kernel, log_a_beta = beta_log_kernel(a1, b1, x1, y1), _log_a_beta(a2, b2)
    else:
        cumulant = quick_cumulant
        log_kernel, log_a_beta, log_b_beta = constants
        log_a_beta = torch.where(swap, log_b_beta, log_a_beta)
    integrated = log_kernel + _log_tail_integral(a1, b1, x1, y1, count, cumulant)
    series = _log_lower_small(a2, b2, x2, log_a_beta, count)
    known = torch.where(small, series, integrated)
    other = log1mexp(known)
    lower, upper = torch.where(swap, other, known), torch.where(swap, known, other)
    lower = torch.where(empty, -torch.inf, torch.where(full, 0, lower))
    return lower, torch.where(full, -torch.inf, torch.where(empty, 0, upper))


@elementwise_operator("logit_betainc_inverse")
def _logit_inverse(a, b, log_p):
    """The logit of the x with log I_x(a, b) = log_p for p <= 1/2; the tail is log-concave in it."""
    total = a + b
    left = a <= b
    p, sign = torch.where(left, a, b) / total, torch.where(left, -1.0, 1.0).to(a.dtype)
    peak, log_height = torch.log(a) - torch.log(b), beta_log_kernel(a, b, a / total, b / total)
    log_a_beta, log_b_beta = _log_a_beta(a, b), _log_a_beta(b, a)

    def descent(u):
        """By how much the log kernel at a distance u below the peak is lower, and its slope."""
        w = sign * u
        inner = torch.clamp(w, max=600)  # beyond, the logarithm is linear
        value, derivative = quick_cumulant(p, inner)
        return total * (value + (1 - p) * (w - inner)), total * sign * derivative

    def tail(v, count):
        x, y = normalize_pair(torch.sigmoid(v), torch.sigmoid(-v))
        fallen, tilt = descent(peak - v)
        log_kernel = beta_log_kernel(a, b, x, y) if count == FULL else log_height - fallen
        if count == NONE:
            return log_kernel - log_hazard(tilt, total * x * y), log_kernel, tilt
        log_tail = _tails(a, b, x, y, count, (log_kernel, log_a_beta, log_b_beta))[0]
        return log_tail, log_kernel, tilt

    # Chernoff's bound, whose logarithm is minus that descent, gives a start beyond the root
    narrow = torch.log1p(-log_p / b + torch.sqrt(-2 * log_p / b)) - log_p / a
    limit = torch.clamp(torch.where(left, torch.inf, narrow), max=690)
    distance = truncation_point(descent, torch.zeros_like(a), a * (b / total), -log_p, limit)
    return log_concave_root(tail, log_p, peak - distance, STEPS)


class _LogitInverse(Root):
    solve = staticmethod(_logit_inverse)

    @staticmethod
    def equation(logit, a, b, log_p):
        lost = torch.abs(logit) > 690  # 0 or 1 in double precision
        safe = torch.where(lost, 0, logit)
        x, y = torch.sigmoid(safe), torch.sigmoid(-safe)
        tail = log_tails(a, b, x, y)[0]
        slope = torch.exp(torch.where(lost, 0, beta_log_kernel(a, b, x, y) - tail))
        return torch.where(lost, 0, tail - log_p), slope


@opaque_when_compiled("logit_betainc_root")
def _logit_root(a, b, log_p):
    return _LogitInverse.apply(a, b, log_p)


def pair_inverse(a, b, p, q):
    """(x, 1 - x) with I_x(a, b) = p = 1 - q, solved in the smaller of p and q; in float64."""
    a, b, p, q = torch.broadcast_tensors(a, b, p, q)
    empty, full, upper = p <= 0, q <= 0, p > q
    log_p = torch.log(torch.where(empty | full, 0.5, torch.where(upper, q, p)))
    logit = _logit_root(torch.where(upper, b, a), torch.where(upper, a, b), log_p)
    logit = torch.where(torch.abs(logit) > 690, torch.sign(logit) * torch.inf, logit)
    logit = torch.where(upper, -logit, logit)
    x, y = torch.sigmoid(logit), torch.sigmoid(-logit)
    return tuple(
        torch.where(zero, 0, torch.where(one, 1, part))
        for part, zero, one in ((x, empty, full), (y, full, empty))
    )
