"""Links: how the raw outputs of a layer become the parameters of a distribution.

Raw outputs are unconstrained parameters, real numbers. A link maps them to the values that a
parameter may have; it is the inverse of the link function of a generalised linear model (Nelder and
Wedderburn 1972). Each link also computes its result in the space where it neither rounds nor
underflows: `log` for positive parameters and `logits` for probabilities. For example,
`log(softplus(-200))` is -200, while `softplus(-200)` is zero in single precision.
"""

import math
from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from typing import Any

import torch
from pyro.distributions.constraints import ordered_vector
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from disthead.errors import pick, warn
from disthead.special import fast
from disthead.special.fast import Direction, Positive
from disthead.special.normal import log_ndtr
from disthead.special.plain import ndtr, ndtri
from disthead.special.plain import softplus as plain_softplus
from disthead.special.sphere import UNIT_VECTOR, normalised

__all__ = ["LINKS", "Link", "get_link"]

Shape = tuple[int, ...]
# exp(-40) is under half a unit in the last place, in double precision too
_EVERYTHING_BELOW_IS_EXPONENTIAL = -40.0


def _no_log(raw: Tensor) -> Tensor:
    raise NotImplementedError("this link has values that are not positive, they have no logarithm")


def _no_logits(raw: Tensor) -> Tensor:
    raise NotImplementedError(
        "this link has values that are not probabilities, they have no logits"
    )


@dataclass(frozen=True)
class Link:
    """A smooth map from raw outputs to parameter values, with its inverse.

    Attributes:
        name: the name by which heads and configurations choose it.
        formula: the map in words.
        codomain: the possible values, a constraint of `torch.distributions`.
        forward: raw outputs -> values. Shapes are equal, except for `direction` and `scale_tril`.
        inverse: values -> raw outputs, so that a layer can start at given values.
        log: raw outputs -> log(values), for positive values.
        logits: raw outputs -> log(p / (1 - p)) for probabilities, unnormalised log-probabilities
            for softmax.
        raw_shape: shape of a parameter -> shape of its raw outputs.
        value_and_slope: raw outputs -> the arguments of `Family.log_prob_and_grad`: positive values
            with their logarithms and slopes, logits of probabilities, unit vectors of directions;
            None where a link has no such map.

    >>> softplus = get_link("softplus")
    >>> softplus.forward(torch.tensor(0.0)), softplus.inverse(torch.tensor(2.0).log())
    (tensor(0.6931), tensor(0.))
    """

    name: str
    formula: str
    codomain: constraints.Constraint
    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    log: Callable[[Tensor], Tensor] = _no_log
    logits: Callable[[Tensor], Tensor] = _no_logits
    raw_shape: Callable[[Shape], Shape] = tuple
    value_and_slope: Callable[[Tensor], Any] | None = None
    quick: InitVar[Callable[[Tensor], Any] | None] = None  # the former name of value_and_slope

    def __post_init__(self, quick: Callable[[Tensor], Any] | None) -> None:
        if quick is not None:
            warn(
                "Link(quick=...) is called value_and_slope now; the former name goes with the "
                "next version.",
                DeprecationWarning,
            )
            object.__setattr__(self, "value_and_slope", quick)

    @property
    def is_positive(self) -> bool:
        """Whether the values are positive, so that `log` is defined."""
        return self.log is not _no_log

    @property
    def has_logits(self) -> bool:
        """Whether `logits` is defined."""
        return self.logits is not _no_logits

    @property
    def is_constant(self) -> bool:
        """Whether it takes no raw outputs (`constant`)."""
        return isinstance(self.raw_shape, _Nothing)

    @property
    def fixed_value(self) -> float | None:
        """The value of a constant link; None of any other."""
        return self.raw_shape.value if isinstance(self.raw_shape, _Nothing) else None

    def gives_logits(self, name: str) -> bool:
        """Whether `value_and_slope` of the parameter of that name returns logits."""
        return name == "logits" or self.codomain is constraints.unit_interval

    @property
    def lower(self) -> float:
        """The lower bound of the values, or of the diagonal of a matrix; 0 where there is none."""
        return getattr(self.forward, "lower", getattr(self.codomain, "lower_bound", 0.0))

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy of a link in the table is that link itself: constraints are compared by identity.
        if isinstance(self.raw_shape, _Nothing):
            return self.raw_shape.link.constant, (self.raw_shape.value,)
        in_table = LINKS.get(self.name) is self
        return (get_link, (self.name,)) if in_table else super().__reduce_ex__(protocol)

    def constant(self, value: float) -> "Link":
        """The link of a parameter that is fixed at a value; it takes no raw outputs.

        It maps raw outputs (..., 0) to values (...).

        >>> get_link("softplus").constant(2.0).forward(torch.zeros(3, 0))
        tensor([2., 2., 2.])
        """
        is_probability = self.codomain is constraints.unit_interval
        logit = torch.tensor(value, dtype=torch.float64).logit().item() if is_probability else value
        value_and_slope: Any = _Constant(logit)
        if self.raw_shape is _two_per_angle:
            value_and_slope = _ConstantAngle(value)
        elif self.is_positive and not is_probability:
            value_and_slope = _ConstantPositive(value)
        return replace(
            self,
            name="constant",
            formula=f"{value:g}",
            forward=_Filled(value),
            inverse=_left_out,
            log=_Filled(math.log(value) if value else -math.inf) if self.is_positive else _no_log,
            logits=_Filled(logit) if self.has_logits else _no_logits,
            raw_shape=_Nothing(self, value),
            value_and_slope=self.value_and_slope and value_and_slope,
        )

    @property
    def as_given(self) -> "Link | None":
        """The link of a parameter whose values stand in place of its raw outputs; None where none.

        >>> get_link("softplus").as_given.forward(torch.tensor(2.0))
        tensor(2.)
        """
        if self.codomain is constraints.real and self.raw_shape is tuple:
            return LINKS["identity"]
        if (
            not self.is_positive
            or self.codomain is constraints.unit_interval
            or self.value_and_slope is None
        ):
            return None
        return replace(
            self,
            name="given",
            formula="x",
            forward=_same,
            inverse=_same,
            log=torch.log,
            value_and_slope=fast.given,
        )

    def inside(self, values: Tensor) -> Tensor:
        """The values, moved inside the range of the link, so that a layer can start there.

        They exceed a lower bound other than zero by at least a hundredth of it, since the gradient
        vanishes at the bound.

        >>> get_link("softplus").shifted(1e-4).inside(torch.tensor([0.0, 3.0]))
        tensor([1.0100e-04, 3.0000e+00])
        """
        if self.codomain is constraints.lower_cholesky:
            diagonal = values.diagonal(dim1=-2, dim2=-1)
            moved = _between(diagonal, getattr(self.inverse, "lower", 0.0), math.inf)
            return values + (moved - diagonal).diag_embed()
        if self.codomain is constraints.simplex:
            return _between(values, 0.0, 1.0)
        lower = getattr(self.codomain, "lower_bound", -math.inf)
        return _between(values, lower, getattr(self.codomain, "upper_bound", math.inf))

    def shifted(self, lower: float) -> "Link":
        """The link plus `lower`, for parameters with a lower bound above zero.

        It adds to the diagonal of a matrix.
        """
        if self.codomain is constraints.lower_cholesky:
            return replace(
                self,
                formula=f"{lower:g} I + {self.formula}",
                forward=_ShiftedDiagonal(self, lower),
                inverse=_UnshiftedDiagonal(self, lower),
                value_and_slope=None,  # which takes the rows of the triangle as they are
            )
        return replace(
            self,
            formula=f"{lower:g} + {self.formula}",
            codomain=constraints.greater_than(lower),
            forward=_Shifted(self, lower),
            inverse=_Unshifted(self, lower),
            log=_ShiftedLog(self, lower),
            value_and_slope=self.value_and_slope and _ShiftedSlope(self.value_and_slope, lower),
        )


def _between(values: Tensor, lower: float, upper: float) -> Tensor:
    limits = torch.finfo(values.dtype)
    if math.isinf(lower) and math.isinf(upper):
        return values
    if math.isinf(lower) or math.isinf(upper):
        least = lower + max(0.01 * abs(lower), limits.tiny) if math.isfinite(lower) else -limits.max
        most = upper - max(0.01 * abs(upper), limits.tiny) if math.isfinite(upper) else limits.max
    else:
        least, most = lower + limits.eps * (upper - lower), upper - limits.eps * (upper - lower)
    return values.clamp(least, most)


@dataclass(frozen=True)
class _Shifted:
    link: Link
    lower: float

    def __call__(self, values: Tensor) -> Tensor:
        return self.lower + self.link.forward(values)


class _Unshifted(_Shifted):
    def __call__(self, values: Tensor) -> Tensor:
        return self.link.inverse(values - self.lower)


class _ShiftedLog(_Shifted):
    def __call__(self, values: Tensor) -> Tensor:
        return (self.lower + self.link.forward(values)).log()


@dataclass(frozen=True)
class _ShiftedSlope:
    value_and_slope: Callable[[Tensor], Positive]
    lower: float

    def __call__(self, values: Tensor) -> Positive:
        parameter = self.value_and_slope(values)
        above = parameter.value + self.lower
        return Positive(above, parameter.slope * parameter.value / above)


class _ShiftedDiagonal(_Shifted):
    def __call__(self, values: Tensor) -> Tensor:
        matrix = self.link.forward(values)
        return matrix + self._identity(matrix)

    def _identity(self, matrix: Tensor) -> Tensor:
        return self.lower * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


class _UnshiftedDiagonal(_ShiftedDiagonal):
    def __call__(self, values: Tensor) -> Tensor:
        return self.link.inverse(values - self._identity(values))


@dataclass(frozen=True)
class _Filled:
    """Raw outputs (..., 0) -> (...), filled with a value."""

    value: float

    def __call__(self, raw: Tensor) -> Tensor:
        return raw.new_full(raw.shape[:-1], self.value)


@dataclass(frozen=True)
class _Constant:
    """Raw outputs (0, rows) -> the value (rows,)."""

    value: float

    def __call__(self, raw: Tensor) -> Any:
        return raw.sum(0) + self.value


class _ConstantPositive(_Constant):
    def __call__(self, raw: Tensor) -> Positive:
        return Positive(super().__call__(raw), 0.0)


class _ConstantAngle(_Constant):
    def __call__(self, raw: Tensor) -> Direction:
        zeros = raw.sum(0)
        return Direction(zeros + math.cos(self.value), zeros + math.sin(self.value), zeros + 1.0)


@dataclass(frozen=True)
class _Nothing:
    """The shape of no raw outputs, for a link that is constant."""

    link: Link
    value: float

    def __call__(self, shape: Shape) -> Shape:
        return (*shape, 0)


def _left_out(values: Tensor) -> Tensor:
    return values.new_empty((*values.shape, 0))


def _same(values: Tensor) -> Tensor:
    return values


def _representable(values: Tensor) -> Tensor:
    """The positive values, clamped to normal floating-point numbers; `log` stays exact."""
    limits = torch.finfo(values.dtype)
    return values.clamp(limits.tiny, limits.max)


def _softplus(raw: Tensor) -> Tensor:
    return _representable(plain_softplus(raw, threshold=-_EVERYTHING_BELOW_IS_EXPONENTIAL))


def _softplus_inverse(values: Tensor) -> Tensor:
    return values + torch.log(-torch.expm1(-values))


def _softplus_log(raw: Tensor) -> Tensor:
    # `where` on both sides, so that no nan gets into the gradient from the other branch. The tail
    # starts as early as the precision allows, since the gradient through the other branch is
    # divided by softplus and may overflow.
    tail = raw < (_EVERYTHING_BELOW_IS_EXPONENTIAL if raw.dtype == torch.float64 else -17.0)
    bulk = plain_softplus(torch.where(tail, 0.0, raw), threshold=-_EVERYTHING_BELOW_IS_EXPONENTIAL)
    return torch.where(tail, raw, bulk.log())


def _exp(raw: Tensor) -> Tensor:
    return _representable(raw.exp())


def _softmax(raw: Tensor) -> Tensor:
    return raw.softmax(-1)


def _probit_logits(raw: Tensor) -> Tensor:
    return _probit_log(raw) - _probit_log(-raw)


def _probit_log(raw: Tensor) -> Tensor:
    return log_ndtr(raw) if torch.compiler.is_exporting() else torch.special.log_ndtr(raw)


def _finite_exp(raw: Tensor) -> Tensor:
    return raw.clamp(max=709.0 if raw.dtype == torch.float64 else 88.0).exp()


def _cloglog(raw: Tensor) -> Tensor:
    return -torch.expm1(-_finite_exp(raw))


def _cloglog_inverse(values: Tensor) -> Tensor:
    return torch.log(-torch.log1p(-values))


def _cloglog_log(raw: Tensor) -> Tensor:
    """log(1 - exp(-exp(x))), which is x - exp(x) / 2 + exp(2 x) / 24 where that is exact."""
    rate = _finite_exp(raw)
    is_small = raw < (-9.0 if raw.dtype == torch.float64 else -4.0)
    small, large = torch.where(is_small, rate, 0.0), torch.where(is_small, 1.0, rate)
    return torch.where(
        is_small, raw - small / 2 + small.square() / 24, torch.log(-torch.expm1(-large))
    )


def _cloglog_logits(raw: Tensor) -> Tensor:
    return _cloglog_log(raw) + _finite_exp(raw)


def _loglog(raw: Tensor) -> Tensor:
    return torch.exp(-_finite_exp(-raw))


def _loglog_inverse(values: Tensor) -> Tensor:
    return -torch.log(-torch.log(values))


def _loglog_log(raw: Tensor) -> Tensor:
    return -_finite_exp(-raw)


def _loglog_logits(raw: Tensor) -> Tensor:
    return -_cloglog_logits(-raw)


def _cauchit(raw: Tensor) -> Tensor:
    # 1/2 + atan(x) / pi, without its cancellation for negative x
    return torch.atan2(torch.ones_like(raw), -raw) / math.pi


def _cauchit_inverse(values: Tensor) -> Tensor:
    is_low = values < 0.5
    angle = math.pi * torch.where(is_low, values, 1 - values)
    return torch.where(is_low, -1.0, 1.0) * torch.cos(angle) / torch.sin(angle)


def _cauchit_log(raw: Tensor) -> Tensor:
    return _cauchit(raw).log()


def _cauchit_logits(raw: Tensor) -> Tensor:
    return _cauchit_log(raw) - _cauchit_log(-raw)


def _log1p(raw: Tensor) -> Tensor:
    return _representable(torch.log1p(_softplus(raw)))


def _log1p_inverse(values: Tensor) -> Tensor:
    return _softplus_inverse(torch.expm1(values))


def _log1p_log(raw: Tensor) -> Tensor:
    """log(log(1 + s)) with s = softplus(x), which is x where s is below all digits of 1 + s."""
    tail = raw < (_EVERYTHING_BELOW_IS_EXPONENTIAL if raw.dtype == torch.float64 else -17.0)
    bulk = torch.log(torch.log1p(_softplus(torch.where(tail, 0.0, raw))))
    return torch.where(tail, raw, bulk)


# Below it the reciprocal goes on along its tangent, so that every raw output has a positive value.
_LEAST_RECIPROCAL = 1e-6


def _reciprocal(raw: Tensor) -> Tensor:
    least = _LEAST_RECIPROCAL
    return torch.where(raw < least, (2 - raw / least) / least, 1 / raw.clamp(min=least))


def _reciprocal_inverse(values: Tensor) -> Tensor:
    least = _LEAST_RECIPROCAL
    return torch.where(values * least > 1, (2 - values * least) * least, 1 / values)


def _reciprocal_log(raw: Tensor) -> Tensor:
    return _reciprocal(raw).log()


def _angle(raw: Tensor) -> Tensor:
    cosine, sine = raw.unbind(-1)
    return torch.atan2(sine, cosine)


def _unit_vector(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


def _two_per_angle(shape: Shape) -> Shape:
    return (*shape, 2)


def _ordered(raw: Tensor) -> Tensor:
    first, gaps = raw[..., :1], _softplus(raw[..., 1:])
    return torch.cat([first, gaps], -1).cumsum(-1)


def _ordered_inverse(values: Tensor) -> Tensor:
    return torch.cat([values[..., :1], _softplus_inverse(values.diff(dim=-1))], -1)


def _scale_tril(raw: Tensor) -> Tensor:
    size = (math.isqrt(8 * raw.shape[-1] + 1) - 1) // 2
    row, column = torch.tril_indices(size, size, device=raw.device)
    lower = torch.where(row == column, _softplus(raw), raw)
    position = torch.zeros(size, size, dtype=torch.long, device=raw.device)
    position[row, column] = torch.arange(row.numel(), device=raw.device)
    return lower[..., position].tril()


def _scale_tril_inverse(matrix: Tensor) -> Tensor:
    row, column = torch.tril_indices(matrix.shape[-1], matrix.shape[-1], device=matrix.device)
    lower = matrix[..., row, column]
    on_diagonal = row == column
    return torch.where(on_diagonal, _softplus_inverse(torch.where(on_diagonal, lower, 1.0)), lower)


def _triangle(shape: Shape) -> Shape:
    *batch, size, _ = shape
    return (*batch, size * (size + 1) // 2)


def _correlation_tril(raw: Tensor) -> Tensor:
    """The rows of the strict lower triangle, with 1 on the diagonal, divided by their lengths."""
    size = (1 + math.isqrt(8 * raw.shape[-1] + 1)) // 2
    row, column = torch.tril_indices(size, size, -1, device=raw.device)
    position = torch.zeros(size, size, dtype=torch.long, device=raw.device)
    position[row, column] = torch.arange(row.numel(), device=raw.device)
    identity = torch.eye(size, dtype=raw.dtype, device=raw.device)
    if size == 1:
        return identity.expand(*raw.shape[:-1], 1, 1)
    return normalised(raw[..., position].tril(-1) + identity)


def _correlation_tril_inverse(matrix: Tensor) -> Tensor:
    row, column = torch.tril_indices(matrix.shape[-1], matrix.shape[-1], -1, device=matrix.device)
    return matrix[..., row, column] / matrix[..., row, row]


def _strict_triangle(shape: Shape) -> Shape:
    *batch, size, _ = shape
    return (*batch, size * (size - 1) // 2)


LINKS: dict[str, Link] = {
    link.name: link
    for link in (
        Link("identity", "x", constraints.real, _same, _same, logits=_same, value_and_slope=_same),
        Link(
            "softplus",
            "log(1 + exp(x))",
            constraints.positive,
            _softplus,
            _softplus_inverse,
            log=_softplus_log,
            value_and_slope=fast.softplus,
        ),
        Link(
            "exp",
            "exp(x)",
            constraints.positive,
            _exp,
            torch.log,
            log=_same,
            value_and_slope=fast.exponential,
        ),
        Link(
            "log1p",
            "log(1 + log(1 + exp(x)))",
            constraints.positive,
            _log1p,
            _log1p_inverse,
            log=_log1p_log,
        ),
        Link(
            "reciprocal",
            "1 / x; its tangent for x < 1e-6",
            constraints.positive,
            _reciprocal,
            _reciprocal_inverse,
            log=_reciprocal_log,
        ),
        Link(
            "sigmoid",
            "1 / (1 + exp(-x))",
            constraints.unit_interval,
            torch.sigmoid,
            torch.logit,
            log=logsigmoid,
            logits=_same,
            value_and_slope=_same,
        ),
        Link(
            "probit",
            "normal cdf of x",
            constraints.unit_interval,
            ndtr,
            ndtri,
            log=_probit_log,
            logits=_probit_logits,
        ),
        Link(
            "cloglog",
            "1 - exp(-exp(x))",
            constraints.unit_interval,
            _cloglog,
            _cloglog_inverse,
            log=_cloglog_log,
            logits=_cloglog_logits,
        ),
        Link(
            "loglog",
            "exp(-exp(-x))",
            constraints.unit_interval,
            _loglog,
            _loglog_inverse,
            log=_loglog_log,
            logits=_loglog_logits,
        ),
        Link(
            "cauchit",
            "1/2 + atan(x) / pi",
            constraints.unit_interval,
            _cauchit,
            _cauchit_inverse,
            log=_cauchit_log,
            logits=_cauchit_logits,
        ),
        Link(
            "softmax",
            "exp(x_k) / sum exp(x)",
            constraints.simplex,
            _softmax,
            torch.log,
            logits=_same,
            value_and_slope=_same,
        ),
        Link(
            "direction",
            "atan2(x_2, x_1)",
            constraints.real,
            _angle,
            _unit_vector,
            raw_shape=_two_per_angle,
            value_and_slope=fast.direction,
        ),
        Link(
            "ordered",
            "x_1, x_1 + softplus(x_2), ... + softplus(x_k)",
            ordered_vector,
            _ordered,
            _ordered_inverse,
        ),
        Link(
            "correlation_tril",
            "strict lower triangle, 1 on its diagonal, rows divided by their lengths",
            constraints.corr_cholesky,
            _correlation_tril,
            _correlation_tril_inverse,
            raw_shape=_strict_triangle,
        ),
        Link("unit_vector", "x / |x|", UNIT_VECTOR, normalised, _same),
        Link(
            "scale_tril",
            "lower triangle, softplus on its diagonal",
            constraints.lower_cholesky,
            _scale_tril,
            _scale_tril_inverse,
            raw_shape=_triangle,
            # the rows of the triangle, as `MultivariateNormal.log_prob_and_grad` takes them
            value_and_slope=_same,
        ),
    )
}


def get_link(link: "str | Link") -> Link:
    """The link of that name; a `Link` is returned as is.

    Raises:
        ValueError: for an unknown name, with the nearest names.

    >>> get_link("exp").formula
    'exp(x)'
    """
    return link if isinstance(link, Link) else pick("link", link, LINKS)
