"""The densities and the tails of all components of many mixtures at once, as plain numbers, without what a call of each would repeat.

A quantile, a mode or an integral asks the same components at many points. What depends on their
parameters alone is computed once, and both answers share the distance from the middle. Arrays have
the components in front and the rows last.
"""

import math
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from disthead.distributions.components import rows_of
from disthead.special import student_t_cdf

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
# Up to twice the least normal number a scale counts as underflowed (`wide`, `ratio`).
_LEAST_SCALE = 3 * torch.finfo(torch.float64).tiny
_LEAST_TAIL = 1e-280  # where SciPy still has all digits
_MOST_DF = 1e15  # from here on t and the normal distribution agree to rounding


class ComponentCurves:
    """The components of n mixtures, with their weights.

    Args:
        weights: (K, n).
        parts: what the components are computed from, each (K, n).
    """

    def __init__(self, weights: Array, *parts: Array):
        self.weights, self.parts = weights, parts

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        """Of weights (K, n) and components of batch_shape (n, K); None where a parameter asks for more care than is taken here."""
        raise NotImplementedError

    @property
    def reach(self) -> Array | None:
        """How far all derivatives of the density tell what it does, (n,); None where it may have kinks."""
        return None

    def take(self, rows: Array) -> Self:
        """Those of some rows."""
        return type(self)(*(np.take(part, rows, 1) for part in (self.weights, *self.parts)))

    def piece(self, rows: slice) -> Self:
        """Those of neighbouring rows, which are not copied where that can be avoided."""
        return type(self)(
            *(np.ascontiguousarray(part[:, rows]) for part in (self.weights, *self.parts))
        )

    def densities(self, y: Array) -> Array:
        """The components' densities (..., K, n) at points (..., n)."""
        raise NotImplementedError

    def tails_and_densities(self, y: Array, side: Array | None) -> tuple[Array, Array]:
        """The components' probabilities on that side of the points (..., n), see `tail_and_density`, and their densities."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """The number of mixtures."""
        return self.weights.shape[1]

    def log_density(self, y: Array) -> Array:
        """The logarithm of the density of the mixtures (points, n), at points of that shape."""
        answer = np.empty(y.shape)
        with np.errstate(all="ignore"):
            for place, points in enumerate(y):  # whose numbers stay in the cache
                answer[place] = np.log(_mean(self.weights, self.densities(points)))
        return answer

    def tail_and_density(self, y: Array, side: Array | None = None) -> tuple[Array, Array]:
        """The probability of the mixtures on one side of the points (..., n), and their density there.

        Args:
            side: `BELOW`, `FAR_BELOW` or `ABOVE` for each point; None is `BELOW` everywhere.
        """
        with np.errstate(all="ignore"):  # infinities and nan are answers
            tails, densities = self.tails_and_densities(y, side)
        return _mean(self.weights, tails), _mean(self.weights, densities)


class NormalCurves(ComponentCurves):
    """Of locations and standard deviations times the root of 2."""

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        loc, scale = _parameters(components, "loc", "scale")
        return cls(weights, loc, math.sqrt(2) * scale) if _are_ordinary(scale) else None

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
        tails = torch.from_numpy(z)  # whose erfc takes a tenth of SciPy's time
        torch.erfc(tails, out=tails)
        z *= 0.5
        return z, densities


class StudentTCurves(ComponentCurves):
    """Of degrees of freedom, locations, scales, scales times the root of df, and the densities at the middle."""

    @classmethod
    def of(cls, weights: Array, components: Any) -> Self | None:
        df, loc, scale = _parameters(components, "df", "loc", "scale")
        if not _are_ordinary(scale) or not df.max(initial=0.0) < _MOST_DF:
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


class _OfAnyKind(ComponentCurves):
    """By the methods of the components, of batch_shape (n, K)."""

    def __init__(self, weights: Array, components: Any):
        super().__init__(weights)
        self.components = components

    def take(self, rows: Array) -> Self:
        return type(self)(
            np.take(self.weights, rows, 1), rows_of(self.components, torch.from_numpy(rows))
        )

    def piece(self, rows: slice) -> Self:
        return type(self)(self.weights[:, rows], rows_of(self.components, rows))

    def densities(self, y: Array) -> Array:
        return _in_front(self.components.log_prob(torch.from_numpy(y).unsqueeze(-1)).exp_().numpy())

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


def component_curves(
    log_weights: Tensor, components: Any, least: float = _LEAST_TAIL
) -> ComponentCurves:
    """The curves of mixtures in double precision: log-weights (n, K), and components of batch_shape (n, K).

    Args:
        least: the least probability that is asked for.
    """
    weights = np.ascontiguousarray(log_weights.exp().numpy().T)
    kind = getattr(components, "curves", None)
    found = kind.of(weights, components) if kind is not None and least >= _LEAST_TAIL else None
    return _OfAnyKind(weights, components) if found is None else found


def _parameters(components: Any, *names: str) -> list[Array]:
    return [np.ascontiguousarray(getattr(components, name).numpy().T) for name in names]


def _are_ordinary(scale: Array) -> bool:
    return bool(scale.min(initial=np.inf) >= _LEAST_SCALE and scale.max(initial=0.0) < np.inf)


def _in_front(values: Array) -> Array:
    """The components, which are last, before the rows."""
    return values.swapaxes(-1, -2)


def _mean(weights: Array, values: Array) -> Array:
    return np.einsum("kn,...kn->...n", weights, values)
