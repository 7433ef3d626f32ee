"""Student's t distribution: its distribution function, the logarithm, density and quantile.

The tail beyond |z| is I_x(df / 2, 1/2) / 2, by the incomplete beta function, with
x = df / (df + z^2) and 1 - x = z^2 / (df + z^2), both computed without cancellation (Johnson, Kotz
and Balakrishnan 1995, chapter 28).
"""

import math

import torch

from .digamma import digamma_error
from .eager import by_scipy
from .incomplete_beta_numbers import NUDGE, tail_slopes, without_slopes
from .incomplete_beta_operations import log_tails, pair_inverse
from .inverse import Root
from .normal import log_ndtr
from .numeric import Numeric, in_chunks, mend
from .operators import opaque_when_compiled
from .plain import ndtri
from .precision import in_float64
from .quadrature import gauss_legendre
from .stirling import log_beta

_NORMAL = 1e15  # from here on t and the normal distribution agree to rounding


def _pair(df, z):
    """The pair x and 1 - x; the ratio is inverted where z^2 / df > 1, so that neither overflows."""
    root = torch.sqrt(df)
    outer = torch.abs(z) > root
    ratio = torch.where(outer, root / torch.where(outer, z, 1), z / root) ** 2
    near, far = 1 / (1 + ratio), ratio / (1 + ratio)
    return torch.where(outer, far, near), torch.where(outer, near, far)


def _log_cdf(df, z):
    df, z = torch.broadcast_tensors(df, z)
    normal, infinite = df > _NORMAL, torch.isinf(z)
    central = torch.abs(z) < 1e-12
    regular = ~(normal | infinite | central)
    df1, z1 = torch.where(normal, 1, df), torch.where(regular, z, 1)
    tail = log_tails(df1 / 2, torch.full_like(df1, 0.5), *_pair(df1, z1))[0] - math.log(2)
    result = torch.where(z1 < 0, tail, torch.log1p(-torch.exp(torch.where(z1 < 0, -1, tail))))
    # at the centre the distribution function is 1/2 + density(0) z to rounding, where the square of
    # z would lose the gradient
    z2 = torch.where(central, z, 0)
    middle = torch.log1p(2 * torch.exp(_log_density(df1, torch.zeros_like(z2))) * z2) - math.log(2)
    result = torch.where(central, middle, result)
    result = torch.where(normal, log_ndtr(torch.where(normal & ~infinite, z, 0)), result)
    return torch.where(infinite, torch.where(z > 0, 0, -torch.inf), result)


def _cdf_by_scipy(df, z):
    return by_scipy("stdtr", _beside(df, 1), z)


def _beside(df, *special):
    """The degrees of freedom, moved away from the special ones.

    For these SciPy has closed forms, whose errors around the centre are up to 3e-8.
    """
    for value in special:
        is_special = df == value
        if is_special.any():
            df = torch.where(is_special, df * NUDGE, df)
    return df


def _outside(df, z):
    """The probability beyond |z| on one side."""
    return _cdf_by_scipy(df, -torch.abs(z))


class _LogCdf(Numeric):
    operations = staticmethod(_log_cdf)

    @staticmethod
    def numbers(df, z):
        tail = _outside(df, z)
        result = torch.where(z < 0, torch.log(tail), torch.log1p(-tail))
        if result.numel() and not result.min() > -665:  # the tail underflowed or is nan
            result = mend(result, ~(result > -665) & (z > -torch.inf), _log_cdf, df, z)
        return result

    @classmethod
    def slopes(cls, result, df, z):
        below = z < 0
        tail = torch.where(below, torch.exp(result), -torch.expm1(result))
        part, by_df, by_size, is_inner, rows = _tail_slopes(df, z, tail)
        factor = torch.where(below & ~is_inner, 1, part / torch.where(below, tail, 1 - tail))
        slopes = factor * torch.where(below, by_df, -by_df), factor * by_size
        return cls.with_operations(slopes, rows, df, z)


class _Cdf(Numeric):
    numbers = staticmethod(_cdf_by_scipy)

    @staticmethod
    def operations(df, z):
        return torch.exp(_log_cdf(df, z))

    @classmethod
    def slopes(cls, result, df, z):
        below = z < 0
        tail = torch.where(below, result, 1 - result)
        tail = mend(tail, ~below & (tail < 1e-3), _outside, df, z)
        part, by_df, by_size, _, rows = _tail_slopes(df, z, tail)
        return cls.with_operations(
            (part * torch.where(below, by_df, -by_df), part * by_size), rows, df, z
        )


def _tail_slopes(df, z, tail):
    """The derivatives by df and by -|z| of the tail beyond |z|, whose probability is `tail`.

    All have shape (rows,). Around the centre they are computed from the probability between 0 and
    |z|, elsewhere from the tail's. Returns that probability, the derivatives divided by it, whether
    it is the one around the centre, and a mask of the rows in which they are inexact.
    """
    size = torch.clamp(torch.abs(z), min=1e-12)
    x, y = _pair(df, size)
    is_inner = (y < 0.8) & ((df + 1) * y < 10)
    by_half, by_logit = torch.empty_like(df), torch.empty_like(df)
    index = is_inner.nonzero()[:, 0]
    by_half[index], by_logit[index] = _centre_slopes(df[index], y[index])
    index = (~is_inner).nonzero()[:, 0]
    if len(index):
        half = 0.5 * df[index]
        is_inner[index], by_half[index], _, by_logit[index] = tail_slopes(
            half, torch.full_like(half, 0.5), x[index], y[index]
        )
    part = torch.where(is_inner, 0.5 - tail, tail)
    part = mend(part, is_inner & (size < 1e-3), _inside, df, y)
    by_df = torch.where(is_inner, -0.5, 0.5).to(df.dtype) * by_half + by_logit / df
    by_df *= torch.abs(z) / size  # 0 at the centre
    rows = without_slopes(0.5 * df, torch.full_like(df, 0.5), x, y) | torch.isinf(z)
    return part, by_df, 2 * by_logit / size, is_inner, rows


def _inside(df, y):
    """The probability between 0 and |z|."""
    return 0.5 * by_scipy("betainc", torch.full_like(df, 0.5), 0.5 * df, y)


def _centre_slopes(df, y):
    """The derivatives of log I_y(1/2, df / 2) by df / 2 and by logit(y).

    The function is proportional to sqrt(y) integral_0^1 (1 - y v^2)^(df / 2 - 1) dv.
    """
    half = 0.5 * df
    whole, by_half = in_chunks(_centre_sums, 24, half - 1, y)
    digammas = torch.log1p(0.5 / half) - digamma_error(half + 0.5) + digamma_error(half)
    return digammas + by_half / whole, 0.5 * torch.exp(half * torch.log1p(-y)) / whole


def _centre_sums(power, y):
    v, weights = gauss_legendre(24, y)
    logarithm = (y.unsqueeze(-1) * -v.square()).log1p_()
    integrand = (power.unsqueeze(-1) * logarithm).exp_()
    return integrand @ weights, integrand.mul_(logarithm) @ weights


def _log_density(df, z):
    normal = df > _NORMAL
    df1 = torch.where(normal, 1, df)
    root = torch.sqrt(df1)
    size = torch.abs(z) / root
    outer = torch.clamp(size, min=1)
    # log(1 + size^2) without overflow
    log_sum = torch.log1p((size / outer / outer) ** 2) + 2 * torch.log(outer)
    student = (
        -log_beta(df1 / 2, torch.full_like(df1, 0.5)) - torch.log(root) - (df1 + 1) / 2 * log_sum
    )
    return torch.where(
        normal, -0.5 * torch.where(normal, z, 0) ** 2 - 0.5 * math.log(2 * math.pi), student
    )


@in_float64
def student_t_log_density(df, z):
    """Logarithm of the density of Student's t with `df` degrees of freedom at z, elementwise.

    The density is (1 + z^2 / df)^(-(df + 1) / 2) / (sqrt(df) B(df / 2, 1/2)). df > 0 and z
    broadcast, without overflow of z^2; from df = 1e15 on, inf included, it is the standard normal
    density. Raises TypeError if neither argument is a tensor. Source: Student (1908).

    >>> log_density = student_t_log_density(torch.tensor(1.0, dtype=torch.float64), 0.0)
    >>> round(log_density.exp().item(), 12)  # 1/pi
    0.318309886184
    """
    return _log_density(df, z)  # terms of df alone are computed once for all z


@in_float64
def student_t_log_cdf(df, z):
    """Logarithm of the distribution function of Student's t at z, elementwise.

    Its value at -z is the logarithm of the survival function at z. df > 0 and z broadcast, with
    gradients in both; from df = 1e15 on, inf included, it is that of the standard normal
    distribution. Raises TypeError if neither argument is a tensor. Source: Johnson, Kotz and
    Balakrishnan (1995), chapter 28.

    >>> round(student_t_log_cdf(torch.tensor(1.0, dtype=torch.float64), -1.0).exp().item(), 12)
    0.25
    """
    return _LogCdf.of(df, z)


@in_float64
def student_t_cdf(df, z):
    """Distribution function of Student's t with `df` degrees of freedom at z, elementwise.

    Arguments, TypeError and source are those of `student_t_log_cdf`.

    >>> round(student_t_cdf(torch.tensor(1.0, dtype=torch.float64), 1.0).item(), 12)
    0.75
    """
    return _Cdf.of(df, z)


class _Inverse(Root):
    """The z <= 0 where the logarithm of the distribution function is log_p <= log(1/2)."""

    @staticmethod
    @torch.no_grad()
    def solve(df, log_p):
        normal, tail = df > _NORMAL, torch.exp(log_p)
        df1 = torch.where(normal, 1, df)
        x, y = pair_inverse(df1 / 2, torch.full_like(df1, 0.5), 2 * tail, 1 - 2 * tail)
        return torch.where(normal, ndtri(tail), -torch.sqrt(df1) * torch.sqrt(y) / torch.sqrt(x))

    @staticmethod
    def equation(z, df, log_p):
        lost = torch.isinf(z)
        safe = torch.where(lost, -1, z)
        log_cdf = _log_cdf(df, safe)
        slope = torch.exp(torch.where(lost, 0, _log_density(df, safe) - log_cdf))
        return torch.where(lost, 0, log_cdf - log_p), slope


@opaque_when_compiled("student_t_root")
def _root(df, log_p):
    return _Inverse.apply(df, log_p)


def _quantile(df, p):
    edge, upper = (p <= 0) | (p >= 1), p > 0.5
    tail = torch.where(edge, 0.25, torch.where(upper, 1 - p, p))
    z = _root(df, torch.log(tail))
    z = torch.where(upper, -z, z)
    return torch.where(p <= 0, -torch.inf, torch.where(p >= 1, torch.inf, z))


class _Quantile(Numeric):
    operations = staticmethod(_quantile)

    @staticmethod
    def numbers(df, p):
        """SciPy's quantile, replaced in deep tails and for tiny df, where SciPy's is wrong."""
        tail = torch.minimum(p, 1 - p)
        z = torch.copysign(by_scipy("stdtrit", _beside(df, 4, 6), tail), p - 0.5)
        far = ~((tail > 1e-50) & (torch.abs(z) < 1e150) & (df > 1e-3))
        if far.any():
            z = torch.copysign(torch.where(tail <= 0, torch.inf, z), p - 0.5)
            z = mend(z, far & ~(tail <= 0), _quantile, df, p)
        return z

    @classmethod
    def slopes(cls, z, df, p):
        part, by_df, by_size, _, rows = _tail_slopes(df, z, torch.where(p > 0.5, 1 - p, p))
        slopes = torch.where(p > 0.5, by_df, -by_df) / by_size, 1 / (part * by_size)
        return cls.with_operations(slopes, rows, df, p)


@in_float64
def student_t_icdf(df, p):
    """Quantile of Student's t, elementwise: the z with student_t_cdf(df, z) = p.

    df > 0 and 0 <= p <= 1 broadcast; p = 0 and p = 1 give -inf and inf. The gradients follow from
    the implicit function theorem. Raises TypeError if neither argument is a tensor.

    >>> round(student_t_icdf(torch.tensor(1.0, dtype=torch.float64), 0.75).item(), 12)
    1.0
    """
    return _Quantile.of(df, p)
