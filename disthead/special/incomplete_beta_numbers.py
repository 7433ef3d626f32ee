"""The incomplete beta function of concrete numbers and its first derivatives.

SciPy computes the values where it is exact, in a thirtieth of the time of
`incomplete_beta_operations`. The derivatives by the shapes are sums over the nodes of the
quadrature there: at the point t of the variable u, log(t / x) is the derivative of the integrand's
logarithm by a, and log((1 - t) / (1 - x)) that by b.
"""

import math

import torch

from .digamma import digamma_error
from .eager import by_scipy, extent
from .incomplete_beta_operations import (
    from_the_left,
    log_tails,
    pair_inverse,
    quick_cumulant,
    sides,
    truncation,
)
from .incomplete_gamma import endpoint_rule
from .numeric import in_chunks, mend
from .quadrature import gauss_legendre
from .stirling import normalize_pair

# a factor that moves a number by a unit in its last place or two, out of SciPy's special cases
NUDGE = 1 + 2.0**-52


def tail_by_scipy(a, b, x, y, upper, logarithm):
    """A tail of the incomplete beta function of concrete numbers, or its logarithm.

    It comes from SciPy's tail on that side of the mean on which x lies. Where the digits of 1 - x
    matter, x and y = 1 - x are both computed from the smaller one.
    """
    direct = not (upper or logarithm)
    steep = _steepest(a, b, direct) > 1000
    if direct and not steep:
        return by_scipy("betainc", a, b, x)
    if steep:
        x, y = normalize_pair(x, y)
    left = b * x <= a * y
    first, second, point = torch.where(left, a, b), torch.where(left, b, a), torch.where(left, x, y)
    known = by_scipy("betainc", first, second, point)
    # there the digits matter that 1 - x has and x lacks, which SciPy does not receive
    if steep:
        rows = (second.reciprocal().add_(1).mul_(first) > 100).logical_and_(point > 0.5)
        known = mend(
            known, rows, _with_complement, known, first, second, point, torch.where(left, y, x)
        )
    is_result = ~left if upper else left  # whether the known tail is the one to return
    if not extent(known)[1] <= 0.9:  # the smaller one of two tails has the digits
        large = known > 0.9
        large = large if logarithm else large & ~is_result
        known = mend(known, large, _slow_complement, first, second, point)
        is_result = is_result ^ large
    if not logarithm:
        return torch.where(is_result, known, 1 - known)
    logarithms = torch.log(known)
    result = torch.where(is_result, logarithms, known.neg_().log1p_())
    if not extent(result)[0] > -665:  # SciPy's value underflowed or is nan
        lost = ~(result > -665) & (x > 0) & (y > 0)
        result = mend(result, lost, lambda *rows: log_tails(*rows)[int(upper)], a, b, x, y)
    return result


def _steepest(a, b, direct):
    """A bound, up to a small factor, of the derivative by x near the mean of the tails' logarithms.

    With `direct`, of the lower tail's logarithm alone.
    """
    (least_a, most_a), (least_b, most_b) = extent(a), extent(b)
    least = least_b if direct else min(least_a, least_b)
    return (most_a + most_b) * (1 + 1 / least) if least > 0 else math.inf


def _with_complement(tail, a, b, x, y):
    """I_x(a, b) at x = 1 - y, from its value `tail` at the rounded x.

    y is the more exact of the two. The correction is a linear step along the density; where that is
    too long, SciPy computes the complement at y.
    """
    step = (1 - x) - y
    moved = torch.abs(step) * a * (1 + 1 / b)
    tail = mend(tail, moved > 1e-14, _after_step, tail, a, b, x, y, step)
    return mend(tail, moved > 1e-6, _slow_complement, b, a, y)


def _after_step(tail, a, b, x, y, step):
    log_beta = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return tail + step * torch.exp((a - 1) * torch.log(x) + (b - 1) * torch.log(y) - log_beta)


def _slow_complement(a, b, x):
    return by_scipy("betaincc", a, b, x)


def tail_slopes(a, b, x, y):
    """The derivatives of the logarithm of the tail that the quadrature integrates.

    Returns whether that is the upper tail, the derivatives by a and by b, and the absolute value of
    that by logit(x), each of shape (rows,). They have ten digits, except in the rows of
    `without_slopes`.
    """
    swap, small = sides(a, b, x, y)
    a, b, x, y = from_the_left(~swap, a, b, x, y)
    total = a + b
    lacking, lacking_all = digamma_error(b), digamma_error(total)
    by_a, by_b, by_logit = torch.empty_like(a), torch.empty_like(a), torch.empty_like(a)
    for rows, slopes in ((~small, _integral_slopes), (small, _series_slopes)):
        index = rows.nonzero()[:, 0]
        if len(index):
            chosen = (part[index] for part in (a, b, x, y, total, lacking, lacking_all))
            by_a[index], by_b[index], by_logit[index] = slopes(*chosen)
    return swap, torch.where(swap, by_b, by_a), torch.where(swap, by_a, by_b), by_logit


def _integral_slopes(a, b, x, y, total, lacking, lacking_all):
    """The derivatives by a, b and logit(x) of the logarithm of the integral.

    At the point t of u, log(t / x) = -y u - K and log((1 - t) / y) = x u - K. With
    G = log(1 + p (e^w - 1)) these are -u - G and -G if p = x, and -G and u - G if p = y.
    """
    left = x <= y
    p, sign = torch.where(left, x, y), torch.where(left, -1.0, 1.0).to(x.dtype)
    end = truncation(a, b, x, y, p, sign, 30.0, quick_cumulant)
    straight = torch.where(left, -a, b) * end
    whole, u, grown = in_chunks(_integral_sums, 40, p, sign * end, straight, total)
    u, grown = u * end / whole, grown / whole
    by_a = (
        torch.log(total * x / a) + digamma_error(a) - lacking_all - torch.where(left, u, 0) - grown
    )
    by_b = torch.log(total * y / b) + lacking - lacking_all + torch.where(left, 0, u) - grown
    return by_a, by_b, 1 / (end * whole)


def _integral_sums(p, end, straight, total):
    """The integrals on (0, 1) of f, u f and log(1 + p (e^w - 1)) f, where f is the integrand."""
    nodes, weights = gauss_legendre(40, p)
    growth = (
        (end.unsqueeze(-1) * nodes).exp_().mul_(p.unsqueeze(-1)).add_(1 - p.unsqueeze(-1)).log_()
    )
    integrand = (
        (straight.unsqueeze(-1) * nodes).addcmul_(growth, total.unsqueeze(-1), value=-1).exp_()
    )
    return integrand @ weights, integrand @ (weights * nodes), growth.mul_(integrand) @ weights


def _series_slopes(a, b, x, y, total, lacking, lacking_all):
    correction, by_power, by_exponent = in_chunks(_series_sums, 24, a, b, x)
    whole = 1 + a * correction
    by_a = (
        torch.log(x * (total / (1 + a)))
        + digamma_error(1 + a)
        - lacking_all
        + (correction + a * by_power) / whole
    )
    by_b = torch.log1p(a / b) + lacking - lacking_all + a * by_exponent / whole
    return by_a, by_b, a * torch.exp(b * torch.log1p(-x)) / whole


def _series_sums(a, b, x):
    """The integral of s^(a - 1) ((1 - x s)^(b - 1) - 1), and its derivatives by a and b."""
    s, weights = endpoint_rule(24, x)
    log_s = torch.log(s)
    log_rest = (x.unsqueeze(-1) * -s).log1p_()
    power = (a.unsqueeze(-1) * log_s).exp_()
    integrand = ((b.unsqueeze(-1) - 1) * log_rest).exp_().mul_(power)
    excess = power.neg_().add_(integrand)
    return excess @ weights, excess @ (weights * log_s), integrand.mul_(log_rest) @ weights


def without_slopes(a, b, x, y):
    """A mask of the rows for which `tail_slopes` has less than nine digits."""
    shapes, points = torch.minimum(a, b), torch.minimum(x, y)
    return ~((shapes > 1e-4) & (a + b < 1e6) & (points > 1e-290))


def _lower_by_scipy(a, b, x, y):
    return tail_by_scipy(a, b, x, y, False, False)


def slopes_of_tail(result, a, b, x, y, upper, logarithm):
    """The derivatives of `tail_by_scipy`, whose value is `result`, by a, b, x and y.

    Returns them and a mask of the rows in which they are inexact.
    """
    known_upper, by_a, by_b, by_logit = tail_slopes(a, b, x, y)
    is_result = known_upper == upper
    if logarithm:
        factor = torch.where(is_result, 1, -torch.expm1(-result))
    else:
        known = torch.where(is_result, result, 1 - result)
        arguments = from_the_left(~known_upper, a, b, x, y)
        known = mend(known, ~is_result & (known < 1e-3), _lower_by_scipy, *arguments)
        factor = torch.where(is_result, known, -known)
    by_x = torch.where(known_upper, -factor, factor) * by_logit / (x * y)
    return (factor * by_a, factor * by_b, by_x, torch.zeros_like(by_x)), without_slopes(a, b, x, y)


def quantile_by_scipy(a, b, p, q):
    """The x with I_x(a, b) = p = 1 - q, of concrete numbers.

    It is SciPy's, except in deep tails, where that is wrong.
    """
    # For integer shapes SciPy sums series that lose digits (2e-11 at 2 and 1e6): neighbouring
    # numbers avoid these.
    x = by_scipy("betaincinv", a * NUDGE, b * NUDGE, p)
    x = mend(x, q < 1e-3, _slow_complement_inverse, a, b, q)
    x = torch.where((p <= 0) | (x < 1e-300), 0, torch.where(q <= 0, 1, x))
    return mend(
        x,
        ~(torch.minimum(p, q) > 1e-15) & ~(p <= 0) & ~(q <= 0),
        lambda *rows: pair_inverse(*rows)[0],
        a,
        b,
        p,
        q,
    )


def _slow_complement_inverse(a, b, q):
    return by_scipy("betainccinv", a * NUDGE, b * NUDGE, q)


def slopes_of_quantile(x, a, b, p, q):
    """The derivatives of the quantile x by a, b, p and q.

    Returns them and a mask of the rows in which they are inexact.
    """
    y = mend(1 - x, x > 0.99, quantile_by_scipy, b, a, q, p)
    known_upper, by_a, by_b, by_logit = tail_slopes(a, b, x, y)
    by_p = x * y / (torch.where(known_upper, q, p) * by_logit)
    factor = torch.where(known_upper, 1.0, -1.0).to(x.dtype) * x * y / by_logit
    is_end = (x <= 0) | (y <= 0)  # 0 or 1, or too close to them for double precision
    by_q = torch.where(p > q, -by_p, 0)
    slopes = factor * by_a, factor * by_b, torch.where(p > q, 0, by_p), by_q
    inexact = without_slopes(a, b, x, y) & ~is_end
    return [torch.where(is_end, 0, slope) for slope in slopes], inexact
