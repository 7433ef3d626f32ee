"""Densities and tail probabilities of all components of many mixtures, as NumPy arrays.

A quantile, a mode or an integral evaluates the same components at many points. What depends on the
parameters alone is computed once, and the density and the tail share the standardised distance.
Components come before rows in all arrays: (K, n).
"""

import inspect
import math
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from disthead.distributions.components import rows_of
from disthead.special import student_t_cdf
from disthead.special.fast import Positive

__all__ = [
    "ABOVE",
    "BELOW",
    "FAR_BELOW",
    "Array",
    "ComponentCurves",
    "NormalCurves",
    "StudentTCurves",
    "component_curves",
]

BELOW, FAR_BELOW, ABOVE = range(3)  # P(Y <= y); the same where it is small; P(Y > y)
Array = np.ndarray[Any, Any]
# A scale up to twice the least normal number counts as underflowed (`to_double`, `ratio`).
_LEAST_SCALE = 3 * torch.finfo(torch.float64).tiny
_LEAST_TAIL = 1e-280  # the least probability for which SciPy has all digits
_MOST_DF = 1e15  # above, t and normal distribution agree to rounding


class ComponentCurves:
    """Densities and tail probabilities of the K components of n mixtures, with their weights.

    Args:
        weights: shape (K, n).
        parts: what the components are computed from, each of shape (K, n).
    """

    def __init__(self, weights: Array, *parts: Array):
        self.weights, self.parts = weights, parts

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        """The curves of weights (K, n) and components of batch_shape (n, K).

        None where a parameter is out of the range in which the formulas of this class are exact.
        """
        raise NotImplementedError

    @property
    def reach(self) -> Array | None:
        """The distance over which the density is smooth, (n,); None where it may have kinks."""
        return None

    def take(self, rows: Array) -> Self:
        """The curves of some rows."""
        return type(self)(*(np.take(part, rows, 1) for part in (self.weights, *self.parts)))

    def chunk(self, rows: slice) -> Self:
        """The curves of neighbouring rows, without a copy where possible."""
        return type(self)(
            *(np.ascontiguousarray(part[:, rows]) for part in (self.weights, *self.parts))
        )

    def densities(self, y: Array) -> Array:
        """The components' densities (..., K, n) at points (..., n)."""
        raise NotImplementedError

    def tails_and_densities(self, y: Array, side: Array | None) -> tuple[Array, Array]:
        """The components' tail probabilities and densities (..., K, n) at points (..., n)."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """The number of mixtures."""
        return self.weights.shape[1]

    def log_density(self, y: Array) -> Array:
        """The log-density of the mixtures at points (points, n), of the same shape."""
        result = np.empty(y.shape)
        with np.errstate(all="ignore"):
            for place, points in enumerate(y):  # one by one: intermediate results fit the cache
                result[place] = np.log(_mean(self.weights, self.densities(points)))
        return result

    def tail_and_density(self, y: Array, side: Array | None = None) -> tuple[Array, Array]:
        """The mixtures' probability on one side of the points, and their density, both (..., n).

        Args:
            y: points, shape (..., n).
            side: `BELOW`, `FAR_BELOW` or `ABOVE` for each point; None is `BELOW` everywhere.
        """
        with np.errstate(all="ignore"):  # infinities and nan are answers
            tails, densities = self.tails_and_densities(y, side)
        return _mean(self.weights, tails), _mean(self.weights, densities)


class NormalCurves(ComponentCurves):
    """Curves of normal components; parts are the locations and sqrt(2) times the scales."""

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        loc, scale = _parameters(components, "loc", "scale")
        return cls(weights, loc, math.sqrt(2) * scale) if _is_well_scaled(scale) else None

    @property
    def reach(self) -> Array:
        return self.parts[1].min(0)

    def _standardised(self, y: Array) -> Array:
        loc, width = self.parts
        z = y[..., None, :] - loc
        z /= width
        return z

    def _of_squares(self, squares: Array) -> Array:
        np.negative(squares, out=squares)
        np.exp(squares, out=squares)
        squares /= math.sqrt(math.pi) * self.parts[1]
        return squares

    def densities(self, y: Array) -> Array:
        z = self._standardised(y)
        z *= z
        return self._of_squares(z)

    def tails_and_densities(self, y: Array, side: Array | None) -> tuple[Array, Array]:
        z = self._standardised(y)
        densities = self._of_squares(z * z)
        if side is None:
            np.negative(z, out=z)
        else:
            z *= np.where(side == ABOVE, 1.0, -1.0)[..., None, :]
        tails = torch.from_numpy(z)  # torch's erfc takes a tenth of SciPy's time
        torch.erfc(tails, out=tails)
        z *= 0.5
        return z, densities


class StudentTCurves(ComponentCurves):
    """Curves of Student's t components.

    Parts are the degrees of freedom, the locations, the scales, scale * sqrt(df), and the densities
    at the locations.
    """

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        df, loc, scale = _parameters(components, "df", "loc", "scale")
        if not _is_well_scaled(scale) or not df.max(initial=0.0) < _MOST_DF:
            return None
        height = components.log_prob(components.loc).exp().numpy().T
        return cls(weights, df, loc, scale, scale * np.sqrt(df), np.ascontiguousarray(height))

    @property
    def reach(self) -> Array:
        return np.minimum(self.parts[2], self.parts[3]).min(0)

    def densities(self, y: Array) -> Array:
        df, loc, _, width, height = self.parts
        z = y[..., None, :] - loc
        z /= width
        z *= z
        np.log1p(z, out=z)
        z *= -0.5 * (df + 1)
        np.exp(z, out=z)
        z *= height
        return z

    def tails_and_densities(self, y: Array, side: Array | None) -> tuple[Array, Array]:
        df, loc, scale, _, _ = self.parts
        z = y[..., None, :] - loc
        z /= scale
        if side is not None:
            z *= np.where(side == ABOVE, -1.0, 1.0)[..., None, :]
        tails = student_t_cdf(torch.from_numpy(df), torch.from_numpy(z)).numpy()
        return tails, self.densities(y)


class _GenericCurves(ComponentCurves):
    """Curves of any components, computed by the methods of a distribution of batch_shape (n, K).

    Densities come from `log_prob_and_grad` where the class has it, which costs less than
    `log_prob`: a search takes no more than its slope from them.
    """

    def __init__(self, weights: Array, components: Any):
        super().__init__(weights)
        self.components = components
        self.log_prob_and_grad = getattr(type(components), "log_prob_and_grad", None)
        self.inputs: list[Any] = []
        if self.log_prob_and_grad is not None:
            self.inputs = _inputs(components, self.log_prob_and_grad)

    def take(self, rows: Array) -> Self:
        return type(self)(
            np.take(self.weights, rows, 1), rows_of(self.components, torch.from_numpy(rows))
        )

    def chunk(self, rows: slice) -> Self:
        return type(self)(self.weights[:, rows], rows_of(self.components, rows))

    def densities(self, y: Array) -> Array:
        if self.log_prob_and_grad is None:
            return _in_front(
                self.components.log_prob(torch.from_numpy(y).unsqueeze(-1)).exp_().numpy()
            )
        log_density, *_ = self.log_prob_and_grad(torch.from_numpy(y[..., None, :]), *self.inputs)
        return log_density.exp_().numpy()

    def tails_and_densities(self, y: Array, side: Array | None) -> tuple[Array, Array]:
        if side is None:
            return _in_front(
                self.components.cdf(torch.from_numpy(y).unsqueeze(-1)).numpy()
            ), self.densities(y)
        tails = np.empty((y.size, len(self.weights)))
        for value, question in ((BELOW, "cdf"), (FAR_BELOW, "log_cdf"), (ABOVE, "log_survival")):
            chosen = np.flatnonzero(side == value)
            if len(chosen):
                components = rows_of(self.components, torch.from_numpy(chosen % y.shape[-1]))
                some = getattr(components, question)(
                    torch.from_numpy(y.ravel()[chosen]).unsqueeze(-1)
                )
                tails[chosen] = (some if question == "cdf" else some.exp_()).numpy()
        return _in_front(tails.reshape(*y.shape, -1)), self.densities(y)


def _inputs(components: Any, log_prob_and_grad: Any) -> list[Any]:
    """The components' parameters (K, n) as `log_prob_and_grad` takes them."""
    inputs: list[Any] = []
    for name in list(inspect.signature(log_prob_and_grad).parameters)[1:]:
        value = getattr(components, name).mT
        if f"log_{name}" in components._names:
            log_value = getattr(components, f"log_{name}").mT
            inputs.append(Positive(value, 0.0, log_value))
        else:
            inputs.append(value)
    return inputs


def component_curves(
    log_weights: Tensor, components: Any, least: float = _LEAST_TAIL
) -> ComponentCurves:
    """The curves of the components of mixtures in double precision.

    Args:
        log_weights: shape (n, K).
        components: a distribution of batch_shape (n, K).
        least: the smallest tail probability that will be needed.
    """
    weights = np.ascontiguousarray(log_weights.exp().numpy().T)
    kind = getattr(components, "curves", None)
    curves = kind.of(weights, components) if kind is not None and least >= _LEAST_TAIL else None
    return _GenericCurves(weights, components) if curves is None else curves


def _parameters(components: Any, *names: str) -> list[Array]:
    return [np.ascontiguousarray(getattr(components, name).numpy().T) for name in names]


def _is_well_scaled(scale: Array) -> bool:
    return bool(scale.min(initial=np.inf) >= _LEAST_SCALE and scale.max(initial=0.0) < np.inf)


def _in_front(values: Array) -> Array:
    """The values with the components, which are last, moved before the rows."""
    return values.swapaxes(-1, -2)


def _mean(weights: Array, values: Array) -> Array:
    return np.einsum("kn,...kn->...n", weights, values)
