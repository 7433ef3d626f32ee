"""The regularised incomplete gamma functions, their logarithms and their inverses.

Both tails are the integrand at x times an integral along u = |log(t / x)|,

    Q(a, x) = x^a e^-x / Gamma(a) * integral_0^inf exp(-[(x - a) u + x (e^u - 1 - u)]) du,
    P(a, x) = x^a e^-x / Gamma(a) * integral_0^inf exp(-[(a - x) u + x (e^-u - 1 + u)]) du,

where the bracket is convex and grows from 0, on the side of x away from the mode. 48 Gauss-Legendre
nodes up to the point where it reaches 38 give either integral to within rounding, for every a and
for x of about 1 and more; 12 nodes up to 12 suffice for the first steps of an inverse. The
remaining case, a and x below 1, is Kummer's integral (DLMF 8.2.7),

    P(a, x) = x^a / Gamma(1 + a) * [1 + a integral_0^1 s^(a - 1) (e^(-x s) - 1) ds].

The tail that is not integrated is the complement of the other. All of this consists of
differentiable operations: gradients are exact derivatives of the quadrature, and results in log
space do not underflow.

For concrete numbers (`Numeric`) SciPy computes the tails, which have a relative error of 1e-12
except in the rows that are replaced here. The first derivatives are the quadrature above with the
derivative of its integrand, in chunks that stay in the cache.
"""

import math

import torch

from .eager import are_plain_numbers, by_numpy, by_scipy, extent
from .inverse import Root, log_concave_root
from .numeric import Numeric, in_chunks, mend
from .operators import elementwise_operator, opaque_when_compiled
from .precision import in_float64
from .quadrature import gauss_legendre
from .stirling import expm1mx, lgamma1p, poisson_log_mass

FULL, COARSE = 48, 12  # nodes: errors of 1e-14 and of 1e-5
_NODES, _DEPTH = 28, 28.0  # of first derivatives: errors of 1e-10
NONE = 0  # no quadrature, but `log_hazard`
STEPS = (NONE, *(COARSE,) * 5, FULL)  # of an inverse
DEPTH = {FULL: 38.0, COARSE: 12.0}  # e^-38 of the integrand is omitted


def log1mexp(x):
    """log(1 - e^x) for x < 0."""
    if are_plain_numbers(x):
        probability = by_numpy("expm1", x.clone()).neg_()
        return mend(
            probability.log_(), x.detach().numpy() < -5, lambda x: torch.log1p(-torch.exp(x)), x
        )
    near = x > -0.6931471805599453
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1))),
        torch.log1p(-torch.exp(torch.where(near, -1, x))),
    )


@torch.no_grad()
def truncation_point(exponent, slope, curvature, depth, limit=None):
    """The u where a convex exponent(u) = slope u + curvature u^2 / 2 + ... reaches `depth`.

    exponent(u) returns the value and the derivative. Newton's method is applied to log exponent as
    a function of log u. `limit` bounds u where the exponent may overflow.
    """
    limit = torch.full_like(slope, torch.inf) if limit is None else limit
    u = torch.minimum(
        2 * depth / (slope + torch.hypot(slope, torch.sqrt(2 * depth * curvature))), limit
    )
    for _ in range(3):
        value, derivative = exponent(u)
        u = torch.minimum(u * torch.exp(torch.log(depth / value) * value / (u * derivative)), limit)
    return u


def log_hazard(slope, curvature):
    """Roughly log(density / tail) of a density like exp(-slope u - curvature u^2 / 2)."""
    return torch.log((slope + torch.hypot(slope, torch.sqrt(8 / math.pi * curvature))) / 2)


def endpoint_rule(count, like):
    """Nodes s and weights for integral_0^1 f(s) ds / s of an f like s^(1 + a) near 0.

    The substitution s = v^8 makes the integrand smooth.
    """
    v, weights = gauss_legendre(count, like)
    return v**8, 8 * weights / v


def _quick_expm1mx(x):
    """exp(x) - 1 - x to thirteen digits at a third of the cost, for inverses."""
    close = x * x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720)))))
    return torch.where(torch.abs(x) < 0.01, close, torch.expm1(x) - x)


def _log_tail_integral(a, x, upper, count, excess):
    """The logarithm of the integral above, for the tail on the side of x away from the mode."""
    sign = torch.where(upper, 1.0, -1.0).to(x.dtype)
    slope = sign * (x - a)

    def exponent(u):
        return slope * u + x * excess(sign * u), slope + x * sign * torch.expm1(sign * u)

    end = truncation_point(exponent, slope, x, DEPTH[count])
    nodes, weights = gauss_legendre(count, x)
    u = end.unsqueeze(-1) * nodes
    bracket = slope.unsqueeze(-1) * u + x.unsqueeze(-1) * excess(sign.unsqueeze(-1) * u)
    return torch.log((weights * torch.exp(-bracket)).sum(-1) * end)


def _log_lower_small(a, x, count):
    """The logarithm of P for a and x below about 1."""
    s, weights = endpoint_rule(min(count, 24), x)
    a_, x_ = a.unsqueeze(-1), x.unsqueeze(-1)
    correction = (weights * s**a_ * torch.expm1(-x_ * s)).sum(-1)
    return a * torch.log(x) - lgamma1p(a) + torch.log1p(a * correction)


def _log_kernel(a, x):
    """The logarithm of x^a e^-x / Gamma(a), which is a times the Poisson mass of a at rate x."""
    return poisson_log_mass(a, x) + torch.log(a)


@opaque_when_compiled("log_gammainc_tails", outputs=2)
def _log_tails(a, x):
    """(log P, log Q)."""
    return _tails(a, x, FULL)


def _tails(a, x, count, log_kernel=None):
    """`_log_tails` with `count` nodes.

    With `log_kernel`, the logarithm of x^a e^-x / Gamma(a), it takes less time and has twelve
    digits.
    """
    empty, full = x == 0, torch.isinf(x)
    x = torch.where(empty | full, 1, x)
    small = (a < 1) & (x < 1)
    upper = x >= a
    a1, x1 = torch.where(small, 2, a), torch.where(small, 2, x)
    excess = expm1mx if log_kernel is None else _quick_expm1mx
    log_kernel = _log_kernel(a1, x1) if log_kernel is None else log_kernel
    tail = log_kernel + _log_tail_integral(a1, x1, upper | small, count, excess)
    lower_small = _log_lower_small(torch.where(small, a, 0.5), torch.where(small, x, 0.5), count)
    known = torch.where(small, lower_small, tail)
    other = log1mexp(known)
    upper = upper & ~small
    lower, upper = torch.where(upper, other, known), torch.where(upper, known, other)
    lower = torch.where(empty, -torch.inf, torch.where(full, 0, lower))
    return lower, torch.where(full, -torch.inf, torch.where(empty, 0, upper))


# SciPy sums at most 2,000 terms, which are too few beyond 4.5 standard deviations of a large shape.
_LARGE_SHAPE, _SUMMABLE_STDS = 1e5, 4.5
_UNDERFLOW = 1e-290


def _is_far(a, x):
    """Where SciPy's series do not converge."""
    return (a > _LARGE_SHAPE) & (torch.abs(x - a) > _SUMMABLE_STDS * torch.sqrt(a))


def _lower_number(a, x):
    lower = by_scipy("gammainc", a, x)
    least, greatest = extent(a)
    if not least >= 1e-5:  # SciPy's value exceeds 1 there
        lower = mend(lower, a < 1e-5, lambda *rows: 1 - _upper_number(*rows), a, x)
    if not greatest <= _LARGE_SHAPE:
        lower = mend(lower, _is_far(a, x), lambda *rows: torch.exp(_log_tails(*rows)[0]), a, x)
    return lower


def _upper_number(a, x):
    upper = by_scipy("gammaincc", a, x)
    if not extent(a)[1] <= _LARGE_SHAPE:
        upper = mend(upper, _is_far(a, x), lambda *rows: torch.exp(_log_tails(*rows)[1]), a, x)
    return upper


class _LogLower(Numeric):
    @staticmethod
    def operations(a, x):
        return _log_tails(a, x)[0]

    @staticmethod
    def numbers(a, x):
        lower = _lower_number(a, x)
        none, most = lower < _UNDERFLOW, lower > 0.99
        result = mend(lower.log_(), none, _LogLower.operations, a, x)
        return mend(result, most, lambda *rows: torch.log1p(-_upper_number(*rows)), a, x)

    @staticmethod
    def slopes(output, a, x):
        by_a, by_x = _lower_slopes(a, x, output, True)
        return by_a, by_x


class _LogUpper(Numeric):
    @staticmethod
    def operations(a, x):
        return _log_tails(a, x)[1]

    @staticmethod
    def numbers(a, x):
        lower = _lower_number(a, x)
        most = lower > 0.99
        return mend(lower.neg_().log1p_(), most, _LogUpper._far_number, a, x)

    @staticmethod
    def _far_number(a, x):
        upper = _upper_number(a, x)
        none = upper < _UNDERFLOW
        return mend(upper.log_(), none, _LogUpper.operations, a, x)

    @staticmethod
    def slopes(output, a, x):
        by_a, by_x = _lower_slopes(a, x, output, False)
        return by_a, -by_x


def _lower_slopes(a, x, log_tail, is_lower):
    """The derivatives by a and by x, the latter without its sign, of the logarithm of a tail."""
    edge = (x == 0) | torch.isinf(x)
    x = torch.where(edge, 1, x)
    upper, quotient, by_a = _integrated_tail(a, x)
    # minus the other tail over this one
    factor = torch.where(upper == is_lower, -torch.expm1(-log_tail), 1)
    factor = torch.where(edge, 0, factor)
    return factor * by_a, torch.abs(factor) / (x * quotient)


def _integrated_tail(a, x):
    """The tail that `_tails` integrates and its derivative by a, for concrete numbers.

    Returns whether it is the upper tail, its probability divided by x times the density, and the
    derivative of its logarithm by a.
    """
    small = (a < 1) & (x < 1)
    upper = (x >= a) & ~small
    sign = upper.to(x.dtype).mul_(2).sub_(1)
    slope = torch.abs(x - a)

    def exponent(u):
        grown = torch.expm1(sign * u)
        return slope * u + x * (grown - sign * u), slope + x * sign * grown

    end = sign * truncation_point(exponent, slope, x, _DEPTH)
    total, moment = in_chunks(_integrals, _NODES, a, x, end)
    quotient, by_a = total * torch.abs(end), torch.log(x) - torch.digamma(a) + end * moment / total
    index = small.reshape(-1).nonzero().squeeze(-1)
    if len(index):
        few = _small_quotient_and_slope(a.reshape(-1)[index], x.reshape(-1)[index])
        for part, mended in zip((quotient, by_a), few, strict=True):
            part.view(-1)[index] = mended
    return upper, quotient, by_a


def _integrals(a, x, end):
    """The integrals of f and u f, of the integrand f and u = |log(t / x)| relative to its end."""
    nodes, weights = gauss_legendre(_NODES, x)
    t = nodes.unsqueeze(-1) * end
    # exp(t) - 1 takes a fifth of the time of expm1, with an error of the exponents below 1e-12 here
    is_quick = not x.numel() or x.amax() < 1e4
    rise = torch.exp(t).sub_(1) if is_quick else torch.expm1(t)
    integrand = rise.mul_(-x).add_(t.mul_(a)).exp_()
    return (torch.stack([weights, weights * nodes]) @ integrand).unbind(0)


def _small_quotient_and_slope(a, x):
    integral, derivative = in_chunks(_small_integrals, 24, a, x)
    whole = 1 + a * integral
    by_a = torch.log(x) - torch.digamma(1 + a) + (integral + a * derivative) / whole
    return torch.exp(x) * whole / a, by_a


def _small_integrals(a, x):
    """Kummer's integral and its derivative by a."""
    s, weights = endpoint_rule(24, x)
    log_s = torch.log(s)
    integrand = torch.exp(log_s.unsqueeze(-1) * a).mul_(torch.exp(s.unsqueeze(-1) * -x).sub_(1))
    return (torch.stack([weights, weights * log_s]) @ integrand).unbind(0)


@in_float64
def log_gammainc(a, x):
    """Logarithm of the regularised lower incomplete gamma function P(a, x), elementwise.

    P(a, x) = integral_0^x t^(a - 1) e^-t dt / Gamma(a) (DLMF 8.2.4). a > 0 and x >= 0 broadcast.
    Raises TypeError if no argument is a tensor.

    Measured against mpmath (a from 1e-30 to 1e6, x from 1e-300 to 1e5): relative error of the
    logarithm 3e-13 (1e-11 between -1e-100 and 0) and of its gradients 1e-9, absolute error of the
    probability 5e-15.

    >>> log_gammainc(torch.tensor(10.0), torch.tensor(1e-30)).item()  # P itself underflows
    -705.8799438476562
    """
    return _LogLower.of(a, x)


@in_float64
def log_gammaincc(a, x):
    """Logarithm of the regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x).

    Arguments, accuracy and the TypeError are those of `log_gammainc`.

    >>> round(log_gammaincc(torch.tensor(1.0, dtype=torch.float64), 1e5).item(), 9)
    -100000.0
    """
    return _LogUpper.of(a, x)


@in_float64
def gammainc(a, x):
    """Regularised lower incomplete gamma function P(a, x), with gradients in both arguments.

    It is the distribution function of the gamma distribution with concentration a and rate 1.
    Definition, arguments, accuracy and the TypeError are those of `log_gammainc`.

    >>> round(gammainc(torch.tensor(1.0, dtype=torch.float64), 1.0).item(), 12)  # 1 - 1/e
    0.632120558829
    """
    return _lower_number(a, x) if are_plain_numbers(a, x) else torch.exp(_LogLower.of(a, x))


@in_float64
def gammaincc(a, x):
    """Regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x), with both gradients.

    Arguments, accuracy and the TypeError are those of `log_gammainc`.

    >>> round(gammaincc(torch.tensor(1.0, dtype=torch.float64), 1.0).item(), 12)  # 1/e
    0.367879441171
    """
    return _upper_number(a, x) if are_plain_numbers(a, x) else torch.exp(_LogUpper.of(a, x))


@elementwise_operator("log_gammainc_inverse")
def _inverse(a, log_p, upper):
    """The x with log P(a, x) = log_p, or log Q(a, x) = log_p where upper is 1.

    Both tails are log-concave in log x.
    """
    upper = upper > 0
    sign = torch.where(upper, -1.0, 1.0).to(a.dtype)
    peak, log_height = sign * torch.log(a), _log_kernel(a, a)

    def descent(u):
        """By how much the log kernel at a distance u below the peak is lower, and its slope."""
        return a * _quick_expm1mx(-sign * u), -a * sign * torch.expm1(-sign * u)

    def tail(v, count):
        x = torch.exp(sign * v)
        fallen, tilt = descent(peak - v)
        log_kernel = _log_kernel(a, x) if count == FULL else log_height - fallen
        if count == NONE:
            return log_kernel - log_hazard(tilt, x), log_kernel, tilt
        lower, other = _tails(a, x, count, log_kernel)
        return torch.where(upper, other, lower), log_kernel, tilt

    # Chernoff's bound, whose logarithm is minus that descent, gives a start beyond the root
    limit = torch.where(upper, torch.log1p(-log_p / a + torch.sqrt(-2 * log_p / a)), torch.inf)
    start = peak - truncation_point(descent, torch.zeros_like(a), a, -log_p, limit)
    return torch.exp(sign * log_concave_root(tail, log_p, start, STEPS))


class _Inverse(Root):
    solve = staticmethod(_inverse)

    @staticmethod
    def equation(x, a, log_p, upper):
        lost = x < 1e-300  # returned as 0
        safe = torch.where(lost, 1, x)
        sign = torch.where(upper > 0, -1.0, 1.0).to(x.dtype)
        lower_tail, upper_tail = _log_tails(a, safe)
        tail = torch.where(upper > 0, upper_tail, lower_tail)
        slope = sign * torch.exp(
            torch.where(lost, 0, _log_kernel(a, safe) - torch.log(safe) - tail)
        )
        return torch.where(lost, 0, tail - log_p), slope


@opaque_when_compiled("gammainc_root")
def _root(a, log_p, upper):
    return _Inverse.evaluate(a, log_p, upper)


class _Quantile(Numeric):
    """The x with P(a, x) = p = 1 - q, solved in the smaller of p and q; neither is 0."""

    @staticmethod
    def operations(a, p, q):
        upper = p > q
        x = _root(a, torch.log(torch.where(upper, q, p)), upper.to(a.dtype))
        return torch.where(x < 1e-300, 0, x)

    @staticmethod
    def numbers(a, p, q):
        by_upper = p > (0.5 + 50 * a).clamp(max=0.999)  # where the rounding of p matters more
        x = mend(
            by_scipy("gammaincinv", a, p),
            by_upper,
            lambda a, q: by_scipy("gammainccinv", a, q),
            a,
            q,
        )
        x = mend(x, x < 1e-100, _Quantile.next_to_zero, a, p, q)
        tail = torch.minimum(p, q)
        lost = (
            ((tail < _UNDERFLOW) & (x > 1e-100))
            | ((a > _LARGE_SHAPE) & (tail < 1e-5))
            | torch.isnan(x)
        )
        return mend(x, lost, _Quantile.operations, a, p, q)

    @staticmethod
    def next_to_zero(a, p, q):
        """Where P(a, x) is x^a / Gamma(1 + a)."""
        x = torch.exp((torch.where(p > q, torch.log1p(-q), torch.log(p)) + lgamma1p(a)) / a)
        return torch.where(x < 1e-300, 0, x)

    @staticmethod
    def slopes(x, a, p, q):
        lost = x < 1e-300
        safe = torch.where(lost, 1, x)
        upper, quotient, by_a = _integrated_tail(a, safe)
        over_density = torch.where(lost, 0, safe * quotient)  # the tail over the density
        by_tail, below = over_density / torch.where(upper, q, p), p <= q
        by_a = torch.where(upper, over_density, -over_density) * by_a
        return by_a, torch.where(below, by_tail, 0), torch.where(below, 0, -by_tail)


def _quantile(a, p, q):
    """The x with P(a, x) = p = 1 - q."""
    a, p, q = torch.broadcast_tensors(a, p, q)
    empty, full = p <= 0, q <= 0
    edge = empty | full
    if are_plain_numbers(a, p, q) and not edge.any():
        return _Quantile.numbers(a, p, q)
    x = _Quantile.of(a, torch.where(edge, 0.5, p), torch.where(edge, 0.5, q))
    return torch.where(empty, 0, torch.where(full, torch.inf, x))


@in_float64
def gammaincinv(a, p, q=None):
    """The x with gammainc(a, x) = p: the quantile of the gamma distribution with rate 1.

    a > 0, the concentration, and 0 <= p <= 1 broadcast; q = 1 - p may be passed to keep its digits
    where p is near 1. The gradients follow from the implicit function theorem. gammainc(a, x)
    returns p to within 3e-13 absolute and 3e-11 relative; a quantile below 1e-300 is returned as 0.
    Raises TypeError if no argument is a tensor.

    >>> round(gammaincinv(torch.tensor(1.0, dtype=torch.float64), 0.5).item(), 12)  # log 2
    0.69314718056
    """
    return _quantile(a, p, 1 - p if q is None else q)


@in_float64
def gammainccinv(a, q):
    """The x with gammaincc(a, x) = q, for upper tails q too small to be written as 1 - p.

    a > 0 and 0 <= q <= 1 broadcast; accuracy and the TypeError are those of `gammaincinv`.

    >>> quantile = gammainccinv(torch.tensor(1.0, dtype=torch.float64), 1e-100)
    >>> round(quantile.item(), 9)  # 100 log 10
    230.258509299
    """
    return _quantile(a, 1 - q, q)
