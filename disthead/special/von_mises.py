"""The von Mises distribution: normaliser, mean resultant length, distribution function, quantile.

Angles are in radians, measured from the location, and lie in [-pi, pi]. The density is
exp(k cos t) / (2 pi I0(k)) with the concentration k >= 0 (Mardia and Jupp 2000, section 3.5.4). The
tail from |angle| to pi is the density at |angle| times

    integral_|angle|^pi exp(-2 k sin((t - |angle|) / 2) sin((t + |angle|) / 2)) dt,

by fixed Gauss-Legendre nodes up to pi or to where the exponent reaches 34, without a series in k or
a normal approximation. For concrete numbers (`Numeric`) the tails and their first derivatives use
the same nodes, in chunks that stay in the cache, or a Fourier series where that is short, and the
quantiles Halley's method in the rows that have not converged.
"""

import functools
import math

import torch

from .eager import are_plain_numbers
from .elementwise import Elementwise
from .inverse import implicit
from .numeric import Numeric, in_chunks, mend
from .operators import elementwise_operator
from .precision import horner, in_float64
from .quadrature import gauss_legendre

_LARGE = 30.0
_DEPTH = 34.0  # e^-34 of the integrand is omitted
_NODES = 28
_TERMS = 24  # of the Fourier series
# distance from 0 of the nearest zeros of I0, on the imaginary axis, which limit a Chebyshev series
_NEAREST_ZERO = 2.4


def _ratio_coefficients(count):
    """The c_n of the Bessel ratio r(k) = sum c_n k^-n for large k, by r' = 1 - r / k - r^2."""
    c = [1.0]
    for n in range(1, count):
        # the coefficient of k^-n: (n - 1) * -c[n-1] on the left, -c[n-1] - sum c[i] c[n-i] on the
        # right
        c.append(((n - 2) * c[n - 1] - sum(c[i] * c[n - i] for i in range(1, n))) / 2)
    return c


_RATIO = _ratio_coefficients(20)


class _LogI0e(Elementwise):
    @staticmethod
    def forward(k):
        return torch.log(torch.special.i0e(k))

    @staticmethod
    def backward(ctx, grad):
        return grad * _ratio_minus_one(ctx.saved_tensors[0])


class _SmallRatio(Elementwise):
    """The ratio r = I1(k) / I0(k) for k < 30, where its derivative 1 - r / k - r^2 is accurate."""

    @staticmethod
    def forward(k):
        return torch.special.i1e(k) / torch.special.i0e(k)

    @staticmethod
    def backward(ctx, grad):
        (k,) = ctx.saved_tensors
        tiny = k < 1e-4
        safe = torch.where(tiny, 1, k)
        ratio = _SmallRatio.apply(k)
        over = torch.where(tiny, 0.5 - k * k / 16, ratio / safe)
        return grad * (1 - over - ratio * ratio)


def _ratio_minus_one(k):
    large = k > _LARGE
    inverse = 1 / torch.where(large, k, _LARGE)
    return torch.where(
        large,
        inverse * horner(inverse, _RATIO[1:]),
        _SmallRatio.apply(torch.where(large, 1, k)) - 1,
    )


@in_float64
def bessel_ratio(concentration):
    """The ratio r = I1(k) / I0(k) of Bessel functions, elementwise for a concentration k >= 0.

    It is the mean resultant length of the von Mises distribution. It and its derivatives are
    accurate for every k; above 30, where the derivative 1 - r / k - r^2 would cancel, it is an
    asymptotic series. Raises TypeError if k is not a tensor. Source: Mardia and Jupp (2000).

    >>> round(bessel_ratio(torch.tensor(1e6, dtype=torch.float64)).item(), 12)
    0.9999995
    """
    large = concentration > _LARGE
    small = _SmallRatio.apply(torch.where(large, 1, concentration))
    return torch.where(
        large, 1 + _ratio_minus_one(torch.where(large, concentration, _LARGE)), small
    )


@in_float64
def bessel_ratio_complement(concentration):
    """The complement 1 - I1(k) / I0(k), elementwise for k >= 0, with all its digits.

    It falls like 1 / (2 k). Raises TypeError if k is not a tensor. See `bessel_ratio`.

    >>> round(bessel_ratio_complement(torch.tensor(1e6, dtype=torch.float64)).item() * 1e6, 9)
    0.500000125
    """
    return -_ratio_minus_one(concentration)


@in_float64
def von_mises_log_normalizer(concentration):
    """The logarithm log(2 pi I0(k)) - k, elementwise for a concentration k >= 0.

    The log density of the angle t is -2 k sin^2(t / 2) minus this. The gradient I1(k) / I0(k) - 1
    is accurate for tiny and for huge k. Raises TypeError if k is not a tensor. Source: Mardia and
    Jupp (2000), section 3.5.4.

    >>> log_normalizer = von_mises_log_normalizer(torch.tensor(0.0, dtype=torch.float64))
    >>> round(log_normalizer.exp().item(), 12)  # 2 pi
    6.28318530718
    """
    return _LogI0e.apply(concentration) + math.log(2 * math.pi)


def _density(k, angle):
    return torch.exp(-2 * k * torch.sin(angle / 2) ** 2) / (2 * math.pi * torch.special.i0e(k))


def _log_density(k, angle):
    return -2 * k * torch.sin(angle / 2) ** 2 - _LogI0e.apply(k) - math.log(2 * math.pi)


@torch.no_grad()
def _tail_width(k, distance):
    """The length of the interval from `distance` to pi, or to where the integrand is negligible."""
    rest = (math.pi - distance).clamp(min=0)
    # where the exponent reaches 34: the squared cosine of half the angle has fallen by 17 / k
    height = torch.sin(rest / 2) ** 2 - _DEPTH / 2 / k
    open_end = ~(height > 0)
    return torch.where(
        open_end, rest, rest - 2 * torch.asin(torch.sqrt(torch.where(open_end, 0.5, height)))
    )


def _tail_rule(k, distance):
    """Steps beyond `distance`, and weights times the density relative to that at `distance`.

    The steps end at pi, or where the density is negligible.
    """
    rest = math.pi - distance
    fraction = _tail_width(k.detach(), distance.detach()) / rest.detach()
    nodes, weights = gauss_legendre(_NODES, k)
    width = (rest * fraction).unsqueeze(-1)
    step = width * nodes
    exponent = (
        2 * k.unsqueeze(-1) * torch.sin(step / 2) * torch.sin(distance.unsqueeze(-1) + step / 2)
    )
    return step, width * weights * torch.exp(-exponent)


def _log_tail(k, distance):
    """The log probability from `distance` to pi on one side, for 0 <= distance <= pi."""
    empty = distance >= math.pi
    integral = _tail_rule(k, torch.where(empty, math.pi - 1, distance))[1].sum(-1)
    return torch.where(empty, -torch.inf, _log_density(k, distance) + torch.log(integral))


def _tail_and_moments(k, distance, moments):
    """The tail divided by the density at `distance`, of concrete numbers, and means over the tail.

    With 0 in `moments` the mean of the step beyond `distance` follows, with 1 that of twice the
    squared sine of half the angle.
    """
    nodes, weights = (part.unsqueeze(-1) for part in gauss_legendre(_NODES, k))
    rules = torch.cat([weights, weights * nodes], 1).T

    def chunk(k, distance, width):
        half = nodes * (width / 2)
        angle = half + distance
        density = torch.sin(half).mul_(torch.sin(angle)).mul_(-2 * k).exp_()
        total, steps = rules @ density
        results = [width * total]
        if 0 in moments:
            results.append(width * steps / total)
        if 1 in moments:
            squares = torch.sin(angle.sub_(distance / 2)).square_().mul_(2)
            results.append(rules[0] @ density.mul_(squares) / total)
        return results

    width = mend((math.pi - distance).clamp(min=0), k > _DEPTH / 2, _tail_width, k, distance)
    return in_chunks(chunk, _NODES, k, distance, width)


def _tail_by_quadrature(k, distance):
    return _tail_and_moments(k, distance, ())[0] * _density(k, distance)


def _log_tail_by_quadrature(k, distance):
    return torch.log(_tail_and_moments(k, distance, ())[0]) + _log_density(k, distance)


def _tail_by_series(k, distance):
    """The tail of concrete numbers by its Fourier series, exact to 1e-14 for k <= 6.

    The coefficients are ratios of Bessel functions, by downward recurrence (G. W. Hill 1977).
    """
    side = torch.copysign(torch.ones_like(distance), math.pi / 2 - distance)
    # sin(n t) = -(-1)^n sin(n (pi - t)): the smaller angle keeps its digits
    near = torch.minimum(distance, math.pi - distance)
    over, two_cosines = 2 * side / k, 2 * torch.cos(near)
    sine, last = torch.sin(_TERMS * near), torch.sin((_TERMS + 1) * near)
    ratio, total = torch.zeros_like(over), torch.zeros_like(over)
    sign, last_sign = 1, 1  # of the two sines, which change so that the next one is one operation
    for n in range(_TERMS, 0, -1):
        ratio.add_(over, alpha=n).reciprocal_()  # I_n over I_(n - 1)
        total.add_(sine, alpha=sign / n).mul_(ratio)
        # sin((n - 1) t) = 2 cos(t) sin(n t) - sin((n + 1) t)
        last.addcmul_(two_cosines, sine, value=-sign * last_sign)
        sine, last, sign, last_sign = last, sine, -last_sign, sign
    return 0.5 - (distance / 2 + total * side) / math.pi


def _needs_quadrature(k, tail):
    """Where the series is too short, or 1/2 minus its sum has lost digits."""
    return ~((k <= 6) & (tail > 0.01))


@in_float64
def von_mises_excess(concentration, distance):
    """The expectation E[max(T - distance, 0)] of the angle T from the location, elementwise.

    T is in (-pi, pi], in radians. The concentration k >= 0 and 0 <= distance <= pi broadcast, with
    gradients in both. Raises TypeError if neither is a tensor. The circular CRPS (Grimit et al.
    2006) needs it.

    >>> excess = von_mises_excess(torch.tensor(0.0, dtype=torch.float64), 0.0)
    >>> round(excess.item(), 12)  # of the uniform distribution: pi / 4
    0.785398163397
    """
    k, distance = torch.broadcast_tensors(concentration, distance)
    if are_plain_numbers(k, distance):
        quotient, mean_step = _tail_and_moments(k, distance, (0,))
        return torch.exp(_log_density(k, distance)) * quotient * mean_step
    empty = distance >= math.pi
    inner = torch.where(empty, math.pi - 1, distance)
    step, weights = _tail_rule(k, inner)
    return torch.where(empty, 0, torch.exp(_log_density(k, inner)) * (step * weights).sum(-1))


@in_float64
def von_mises_mean_distance(concentration):
    """The mean angular distance E|T - T'| of two independent angles, elementwise, in radians.

    Both angles have the concentration k >= 0. Their difference t has the density
    I0(2 k cos(t / 2)) / (2 pi I0(k)^2) (Mardia and Jupp 2000). Raises TypeError if k is not a
    tensor.

    >>> distance = von_mises_mean_distance(torch.tensor(0.0, dtype=torch.float64))
    >>> round(distance.item(), 12)  # of the uniform distribution: pi / 2
    1.570796326795
    """
    return (
        _mean_distance_number(concentration)
        if are_plain_numbers(concentration)
        else _mean_distance(concentration)
    )


def _mean_distance(k):
    k = k.unsqueeze(-1)
    with torch.no_grad():
        # where the exponent 4 k sin^2(t / 4) reaches 34
        height = _DEPTH / 4 / k.detach()
        end = torch.where(
            height < 0.5, 4 * torch.asin(torch.sqrt(torch.clamp(height, max=0.5))), math.pi
        )
    nodes, weights = gauss_legendre(96, k)
    t = end * nodes
    log_density = (
        _LogI0e.apply(2 * k * torch.cos(t / 2))
        - 4 * k * torch.sin(t / 4) ** 2
        - 2 * _LogI0e.apply(k)
    )
    return (end * weights * t * torch.exp(log_density)).sum(-1) / math.pi


@functools.cache
def _mean_distance_series():
    """Chebyshev coefficients of the mean distance times sqrt(s), in x = c / s on [0, 1].

    Here s = sqrt(k^2 + c^2) with c = 2.4, so that the nearest zeros of I0, at 2.4 i, are mapped
    towards infinity.
    """
    count = 40
    turn = math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    size = 2 * _NEAREST_ZERO / (1 + torch.cos(turn))
    values = _mean_distance(torch.sqrt(size * size - _NEAREST_ZERO**2)) * torch.sqrt(size)
    modes = torch.cos(torch.arange(count).unsqueeze(-1) * turn) @ values * 2 / count
    modes[0] /= 2
    return modes.tolist()


def _mean_distance_number(k):
    size = torch.hypot(k, torch.full_like(k, _NEAREST_ZERO))
    x = 4 * _NEAREST_ZERO / size - 2
    this, last = torch.zeros_like(x), torch.zeros_like(x)
    constant, *others = _mean_distance_series()
    for mode in reversed(others):  # Clenshaw's recurrence
        this, last = torch.addcmul(mode - last, x, this), this
    return (torch.addcmul(constant - last, x, this, value=0.5)) / torch.sqrt(size)


class _LogCdf(Numeric):
    @staticmethod
    def operations(k, angle):
        left = angle <= 0
        tail = _log_tail(k, torch.where(left, -angle, angle))
        return torch.where(left, tail, torch.log1p(-torch.exp(torch.where(left, -1, tail))))

    @staticmethod
    def numbers(k, angle):
        distance = torch.abs(angle)
        tail = _tail_by_series(k, distance)
        tail = mend(
            torch.log(tail), _needs_quadrature(k, tail), _log_tail_by_quadrature, k, distance
        )
        return mend(tail, angle > 0, lambda tail: torch.log1p(-torch.exp(tail)), tail)

    @staticmethod
    def slopes(output, k, angle):
        distance = torch.abs(angle)
        quotient, mean_square = _tail_and_moments(k, distance, (1,))
        by_k = bessel_ratio_complement(k) - mean_square  # of the logarithm of the tail
        other = torch.where(angle > 0, torch.expm1(-output), 1)  # the tail over this probability
        other = torch.where(distance >= math.pi, 0, other)
        by_angle = other / torch.where(other == 0, 1, quotient)
        return torch.where(angle > 0, -other, other) * torch.where(other == 0, 0, by_k), by_angle


@in_float64
def von_mises_log_cdf(concentration, angle):
    """Logarithm of `von_mises_cdf`, elementwise, accurate in the far tail.

    Its value at -angle is the logarithm of the survival function. Arguments and the TypeError are
    those of `von_mises_cdf`.

    >>> round(von_mises_log_cdf(torch.tensor(1e4, dtype=torch.float64), -3.0).item(), 3)
    -19903.486
    """
    return _LogCdf.of(concentration, angle)


@in_float64
def von_mises_cdf(concentration, angle):
    """Distribution function of the von Mises distribution, elementwise: 0 at -pi and 1 at pi.

    The concentration k >= 0 and -pi <= angle <= pi, in radians from the location, broadcast, with
    gradients in both. Raises TypeError if neither is a tensor. Source: Hill (1977) for the series.

    >>> von_mises_cdf(torch.tensor([0.0, 2.0, 1e6]), 0.0).tolist()
    [0.5, 0.5, 0.5]
    """
    if not are_plain_numbers(concentration, angle):
        return torch.exp(_LogCdf.of(concentration, angle))
    k, angle = torch.broadcast_tensors(concentration, angle)
    distance = torch.abs(angle)
    tail = _tail_by_series(k, distance)
    tail = mend(tail, _needs_quadrature(k, tail), _tail_by_quadrature, k, distance)
    return (angle > 0).to(tail.dtype) + torch.copysign(tail, 0.0 - angle)


@elementwise_operator("von_mises_tail_inverse")
def _tail_inverse(k, log_p):
    """The distance in [0, pi] with log tail = log_p <= log(1/2), by safeguarded Newton steps."""
    lower, upper = torch.zeros_like(k), torch.full_like(k, math.pi)
    distance = torch.minimum(torch.sqrt(-2 * log_p / k), upper / 2)

    def steps(distance):
        value = _log_tail(k, distance)
        scale = torch.exp(value - _log_density(k, distance))
        # Newton's steps on the logarithm of the tail, and on the tail itself for distances near pi
        return (
            value,
            distance + (value - log_p) * scale,
            distance - torch.expm1(log_p - value) * scale,
        )

    for _ in range(24):
        value, by_log, by_tail = steps(distance)
        lower, upper = (
            torch.where(value > log_p, distance, lower),
            torch.where(value > log_p, upper, distance),
        )
        fallback = torch.where((by_tail > lower) & (by_tail < upper), by_tail, (lower + upper) / 2)
        distance = torch.where((by_log > lower) & (by_log < upper), by_log, fallback)
    for _ in range(2):
        by_log = steps(distance)[1]
        distance = torch.where(
            torch.isfinite(by_log), torch.minimum(torch.maximum(by_log, lower), upper), distance
        )
    return distance


class _Distance(Numeric):
    """The distance in [0, pi] beyond which the tail on one side is `tail` <= 1/2."""

    @staticmethod
    def operations(k, tail):
        distance = _tail_inverse(k, torch.log(tail))
        opposite = distance >= math.pi
        inner = torch.where(opposite, 1, distance)
        log_tail = _log_tail(k, inner)
        slope = -torch.exp(_log_density(k, inner) - log_tail)
        return torch.where(opposite, math.pi, implicit(inner, log_tail - torch.log(tail), slope))

    @staticmethod
    def numbers(k, tail):
        """By Halley's method on the logarithm of the tail, within a shrinking bracket.

        Rows that have converged are not evaluated again.
        """
        shape, k, tail = k.shape, k.reshape(-1), tail.reshape(-1)
        # start: the normal approximation of G. W. Hill (1976), or that of the uniform distribution
        sine = -torch.special.ndtri(tail) * torch.special.i0e(k) * math.sqrt(math.pi / 2)
        distance = torch.where(
            k < 1, math.pi * (1 - 2 * tail), 2 * torch.asin(torch.clamp(sine, max=0.99))
        )
        rows, result, log_tail = torch.arange(len(k)), distance.clone(), torch.log(tail)
        lower, upper = torch.zeros_like(k), torch.full_like(k, math.pi)
        for _ in range(60):
            quotient = _tail_and_moments(k, distance, ())[0]
            excess = _log_density(k, distance) + torch.log(quotient) - log_tail
            above = excess > 0
            lower, upper = torch.where(above, distance, lower), torch.where(above, upper, distance)
            newton = excess * quotient
            correction = 1 + newton * (1 / quotient - k * torch.sin(distance)) / 2
            step = newton / torch.clamp(correction, 0.5, 2)
            after = distance + step
            # Halley's method cubes the error, so that nothing is left after a short step
            continues = ~(torch.abs(step) <= 1e-5 * quotient)
            # near pi, where the tail ends, Newton's step on the tail itself converges
            for other in (distance - torch.expm1(-excess) * quotient, (lower + upper) / 2):
                after = torch.where(
                    continues & ~((after >= lower) & (after <= upper)), other, after
                )
            result[rows] = after
            remaining = (
                (continues & (after < math.pi) & (upper - lower > 3e-16 * upper))
                .nonzero()
                .squeeze(-1)
            )
            if len(remaining) == 0:
                break
            rows, k, log_tail, distance = (part[remaining] for part in (rows, k, log_tail, after))
            lower, upper = lower[remaining], upper[remaining]
        return result.clamp_(0, math.pi).reshape(shape)

    @staticmethod
    def slopes(distance, k, tail):
        quotient, mean_square = _tail_and_moments(k, distance, (1,))
        return quotient * (bessel_ratio_complement(k) - mean_square), -quotient / tail


@in_float64
def von_mises_icdf(concentration, p):
    """Quantile of the von Mises distribution: the angle with von_mises_cdf(k, angle) = p.

    The angle is in [-pi, pi], in radians from the location. The concentration k >= 0 and
    0 <= p <= 1 broadcast. The first derivatives follow from the implicit function theorem; there
    are no second ones (see `implicit`). Raises TypeError if neither argument is a tensor.

    >>> angle = von_mises_icdf(torch.tensor(0.0, dtype=torch.float64), 0.75)
    >>> round(angle.item(), 12)  # of the uniform distribution: pi / 2
    1.570796326795
    """
    k, p = torch.broadcast_tensors(concentration, p)
    edge, upper = (p <= 0) | (p >= 1), p > 0.5
    tail = torch.where(edge, 0.25, torch.where(upper, 1 - p, p))
    distance = torch.where(edge, math.pi, _Distance.of(k, tail))
    return torch.where(upper, distance, -distance)
