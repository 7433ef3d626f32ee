"""Divergences between two predicted distributions, one number for each row."""

from collections.abc import Callable

import torch
from torch import Tensor, distributions
from torch.distributions import kl_divergence

from disthead.atlas import find
from disthead.distributions.affine import Affine
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.discrete import Discrete, log_mass
from disthead.distributions.independent import Independent
from disthead.errors import pick
from disthead.families.counterparts import counterpart
from disthead.families.gaussian import Gaussian
from disthead.families.normal import Normal
from disthead.special import tanh_sinh

__all__ = ["NAMES", "divergence"]


def divergence(name: str, p: distributions.Distribution, q: distributions.Distribution) -> Tensor:
    """The divergence of two distributions over the same targets, shape batch.

    - "kl": KL(p, q) = E_p[log p(Y) - log q(Y)], in nats, which is the cross-entropy of q less the
      entropy of p. It is infinite where q excludes what p allows. A student q that minimises it
      covers all of a teacher p.
    - "reverse_kl": KL(q, p). A student q that minimises it keeps to one peak of p.
    - "jensen_shannon": (KL(p, m) + KL(q, m)) / 2 with m = (p + q) / 2, symmetric, from 0 to log 2
      (Lin 1991).
    - "hellinger": the distance sqrt(1 - integral of sqrt(p q)), symmetric, from 0 to 1.
    - "wasserstein": the 2-Wasserstein distance, in the units of the target: the root of the mean
      squared difference of equal quantiles. Of multivariate normals it is the formula of Dowson
      and Landau (1982).

    Of numbers those without a closed form are by quadrature over quantiles, exact to about six
    digits where both densities are smooth.

    Args:
        name: of the divergence.
        p: the distribution of which the expectation is taken, such as a teacher's; of this library,
            or one of torch or Pyro that has a counterpart among the families.
        q: the other one, such as a student's. Both have the same batch_shape, or one has fewer
            dimensions and counts for all of the other's: an ensemble's members (M, N) against its
            mixture (N,).

    Raises:
        ValueError: for an unknown name, and for numbers of rows or shapes of targets that do not
            fit.
        TypeError: for what is no distribution.
        NotImplementedError: where the distributions have no such divergence, with the reason.

    >>> from disthead import get_family
    >>> normal = get_family("normal").distribution
    >>> divergence("kl", normal(loc=0.0, scale=1.0), normal(loc=1.0, scale=1.0))
    tensor(0.5000)
    """
    loss = find(name) if isinstance(name, str) else None
    if loss is not None and loss.name in NAMES and name not in NAMES:
        raise ValueError(f"unknown divergence {name!r}; it is called {loss.name!r} here.")
    function = pick("divergence", name, _DIVERGENCES)
    p, q = _as_ours("p", p), _as_ours("q", q)
    _check_targets(name, p, q)
    _check_rows(p, q)
    return function(p, q)


def _as_ours(name: str, dist: object) -> Distribution:
    if not isinstance(dist, distributions.Distribution):
        raise TypeError(
            f"{name} must be a distribution, such as a head or "
            f"disthead.get_family(...).distribution(...) returns, got {type(dist).__name__}."
        )
    try:
        return counterpart(dist)
    except NotImplementedError as error:
        raise NotImplementedError(
            f"{name}: {error} Make it by disthead.get_family(...).distribution(...); "
            "`disthead families` lists them."
        ) from None


def _check_targets(name: str, p: Distribution, q: Distribution) -> None:
    """Refuse distributions over different targets."""
    if p.kind != q.kind and not {p.kind, q.kind} <= {"classes", "ordinal"}:
        raise NotImplementedError(
            f"{type(p).__name__} and {type(q).__name__} have no {name}: their targets are of two "
            f"kinds, {p.kind} and {q.kind}. Take a family over the same targets for both."
        )
    if isinstance(p, Independent) and isinstance(q, Independent):
        _check_targets(name, p.base, q.base)
    if p.event_shape != q.event_shape:
        raise ValueError(
            "p and q must be over targets of one shape, got the event_shape "
            f"{tuple(p.event_shape)} of {type(p).__name__} and {tuple(q.event_shape)} of "
            f"{type(q).__name__}. Independent outputs become one target by dist.to_event(1)."
        )
    classes = [getattr(dist, "num_classes", None) for dist in (p, q)]
    if classes[0] != classes[1]:
        raise ValueError(
            f"p and q must have the same classes, got {classes[0]} classes of p and {classes[1]} "
            "of q. Give a class that one of them does not know the probability 0 there."
        )


def _check_rows(p: Distribution, q: Distribution) -> None:
    few, many = sorted((p.batch_shape, q.batch_shape), key=len)
    if many[len(many) - len(few) :] != few:
        raise ValueError(
            f"p and q must have the same rows, got the batch_shape {tuple(p.batch_shape)} of p and "
            f"{tuple(q.batch_shape)} of q. Nothing is broadcast but a distribution of fewer "
            "dimensions over the first dimensions of the other: dist.expand(shape) repeats one."
        )


_NUMBERS = ("continuous", "count", "direction")


def _kl(p: Distribution, q: Distribution) -> Tensor:
    try:
        return kl_divergence(p, q)
    except NotImplementedError as error:
        if not str(error).startswith("No KL"):  # else it is the distribution's own reason
            raise
        raise _has_none("kl", p, q, "there is neither a closed form nor a quadrature") from None


def _reverse_kl(p: Distribution, q: Distribution) -> Tensor:
    return _kl(q, p)


def _jensen_shannon(p: Distribution, q: Distribution) -> Tensor:
    def from_middle(of: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
        return of - _log_middle(log_p, log_q)

    return 0.5 * (
        _expectation("jensen_shannon", p, q, lambda a, b: from_middle(a, a, b))
        + _expectation("jensen_shannon", q, p, lambda b, a: from_middle(b, a, b))
    )


def _hellinger(p: Distribution, q: Distribution) -> Tensor:
    if isinstance(p, Independent) and isinstance(q, Independent):
        outputs = _hellinger(p.base, q.base).square()
        return _root(-torch.expm1(p._add_up(torch.log1p(-outputs))))
    if isinstance(p, Gaussian) and isinstance(q, Gaussian):
        return _root(-torch.expm1(_log_overlap(p, q)))

    def squared(log_p: Tensor, log_q: Tensor) -> Tensor:
        middle = _log_middle(log_p, log_q)
        difference = torch.exp(0.5 * (log_p - middle)) - torch.exp(0.5 * (log_q - middle))
        return 0.5 * difference.square()

    half = _expectation("hellinger", p, q, squared) + _expectation("hellinger", q, p, squared)
    return _root(0.5 * half)


def _log_overlap(p: Gaussian, q: Gaussian) -> Tensor:
    """The logarithm of the integral of sqrt(p q)."""
    of_p, of_q = p.covariance.double(), q.covariance.double()
    middle = torch.linalg.cholesky((of_p + of_q) / 2)
    apart = (p.loc.double() - q.loc.double()).unsqueeze(-1)
    distance = torch.linalg.solve_triangular(middle, apart, upper=False).square().sum((-2, -1))
    log_det = middle.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_dets = torch.linalg.slogdet(of_p).logabsdet + torch.linalg.slogdet(of_q).logabsdet
    return (log_dets / 4 - log_det - distance / 8).to(torch.promote_types(p.dtype, q.dtype))


def _wasserstein(p: Distribution, q: Distribution) -> Tensor:
    if isinstance(p, Independent) and isinstance(q, Independent):
        return _root(p._add_up(_wasserstein(p.base, q.base).square()))
    if isinstance(p, Normal) and isinstance(q, Normal):
        return _root((p.loc - q.loc).square() + (p.scale - q.scale).square())
    if isinstance(p, Gaussian) and isinstance(q, Gaussian):
        return _between_gaussians(p, q)
    if p.kind != "continuous":
        raise _has_none("wasserstein", p, q, "it compares the quantiles of numbers with a density")
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    dtype, (p, q) = torch.promote_types(p.dtype, q.dtype), (p._in_double(), q._in_double())
    t, complement, weights = (
        part.reshape(-1, *(1,) * len(shape)) for part in tanh_sinh(81, p._constant(0.0))
    )
    near, far = 0.5 * t, 0.5 * (1 + complement)
    square = torch.zeros(())
    diverges = torch.zeros((), dtype=torch.bool)
    for ends in ((near, far), (far, near)):
        gap = p._quantile(*ends) - q._quantile(*ends)
        gap = torch.where(gap.isfinite(), gap, 0.0)  # quantiles beyond all numbers
        square = square + (0.5 * weights * gap.square()).sum(0)
        diverges = diverges | _grows_too_fast(p, q, ends[0] is far)
    return torch.where(diverges, torch.inf, _root(square)).to(dtype)


def _grows_too_fast(p: Distribution, q: Distribution, is_upper: bool) -> Tensor:
    """Whether the difference of quantiles grows as the root of 1 / tail, or faster.

    The integral of its square is infinite then.
    """
    tails = [p._constant(tail) for tail in (1e-6, 1e-12)]
    near, far = (
        (p._quantile(*ends) - q._quantile(*ends)).abs()
        for ends in ((1 - tail, tail) if is_upper else (tail, 1 - tail) for tail in tails)
    )
    return far >= 990 * near.clamp(min=torch.finfo(near.dtype).tiny)


def _have_the_same_units(p: Affine, q: Affine) -> bool:
    return bool(((p.loc == q.loc) & (p.scale == q.scale)).all())


def _between_gaussians(p: Gaussian, q: Gaussian) -> Tensor:
    of_p, of_q = p.covariance.double(), q.covariance.double()
    factor = torch.linalg.cholesky(of_p)
    both = torch.linalg.eigvalsh(factor.mT @ of_q @ factor).clamp(min=0)
    traces = (of_p + of_q).diagonal(dim1=-2, dim2=-1).sum(-1) - 2 * both.sqrt().sum(-1)
    apart = (p.loc - q.loc).double().square().sum(-1)
    return _root(apart + traces).to(torch.promote_types(p.dtype, q.dtype))


_DIVERGENCES: dict[str, Callable[[Distribution, Distribution], Tensor]] = {
    "kl": _kl,
    "reverse_kl": _reverse_kl,
    "jensen_shannon": _jensen_shannon,
    "hellinger": _hellinger,
    "wasserstein": _wasserstein,
}
NAMES = tuple(_DIVERGENCES)


def _log_middle(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log((p + q) / 2)."""
    return torch.logaddexp(log_p, log_q) - torch.log(log_p.new_tensor(2.0))


def _root(square: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0."""
    square = square.clamp(min=0)  # rounding may take it below
    return torch.where(square == 0, 0.0, torch.where(square == 0, 1.0, square).sqrt())


def _expectation(
    name: str,
    p: Distribution,
    q: Distribution,
    function: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """E_p[function(log p(Y), log q(Y))], by a sum over outcomes or by quadrature."""
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    p, q = p.expand(shape), q.expand(shape)
    if isinstance(p, Affine) and isinstance(q, Affine) and _have_the_same_units(p, q):
        return _expectation(name, p.base, q.base, function)
    if p.kind in CLASSES or p.kind == "ranking":
        y = p.enumerate_support()
        log_p = p.log_prob(y)
        terms = log_p.exp() * function(log_p, q.log_prob(y))
        return torch.where(log_p.isneginf(), 0.0, terms).sum(0)
    if p.kind not in _NUMBERS:
        raise _has_none(name, p, q, "it is computed of numbers, classes and rankings")
    if p.kind == "count" and not (isinstance(p, Discrete) and isinstance(q, Discrete)):
        raise _has_none(name, p, q, "counts in different units take different values")
    dtype = torch.promote_types(p.dtype, q.dtype)
    p, q = p._in_double(), q._in_double()
    if isinstance(p, Discrete) and isinstance(q, Discrete):
        return p._expectation(lambda k: function(p._log_mass(k), log_mass(q, k))).to(dtype)

    def integrand(y: Tensor) -> Tensor:
        log_p = p.log_prob(y)
        # a quantile next to the end of the support may be rounded to a number beyond it
        return torch.where(log_p.isneginf(), 0.0, function(log_p, q.log_prob(y)))

    return p._expectation(integrand).to(dtype)


def _has_none(name: str, p: Distribution, q: Distribution, reason: str) -> NotImplementedError:
    remedy = (
        "Average p.log_prob(y) - q.log_prob(y) over samples y of p."
        if name in ("kl", "reverse_kl")
        else "Try 'kl', of two distributions of one family."
    )
    return NotImplementedError(
        f"{type(p).__name__} and {type(q).__name__} have no {name}: {reason}. {remedy}"
    )
