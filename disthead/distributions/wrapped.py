"""`Wrapped`: a distribution of one number that is made from another one, its base."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution, Wrapper, tensors
from disthead.distributions.tails import Indices
from disthead.distributions.univariate import Univariate

__all__ = ["Wrapped"]


class Wrapped(Wrapper, Univariate):
    """A distribution of one number that is made from a base distribution of one number.

    Its classes derive from this and from the kind of their targets, `Continuous` or `Discrete`.
    They call `_wrap` in `__init__`. Parameters of their own, beside those of the base, are
    attributes, and so are their options; `_remade` makes the same distribution from other ones.
    """

    base: Any

    def _wrap(self, base: Distribution, **own: Any) -> None:
        """Set the base and the own parameters as attributes, broadcast over the batch.

        Args:
            base: a distribution with batch_shape batch, or one that broadcasts to it.
            own: tensors of shape batch by name; None and numbers of Python stay as they are.
        """
        names = [name for name, value in own.items() if isinstance(value, Tensor)]
        values = [value.to(base.device) for value in tensors(*(own[name] for name in names))]
        shape = torch.broadcast_shapes(base.batch_shape, *(value.shape for value in values))
        self.base = base if base.batch_shape == shape else base.expand(shape)
        dtypes = [base.dtype, *(value.dtype for value in values)]
        self._own_dtype = dtypes[0] if len(dtypes) == 1 else _widest(dtypes)
        for name, value in own.items():
            setattr(self, name, value)
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value.expand(shape))
        self._names = tuple(names)
        Distribution.__init__(self, shape, validate_args=False)

    def _remade(self, function: Callable[[Tensor], Tensor], base: Distribution) -> Any:
        """The distribution of another base, with `function` applied to the own parameters."""
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._linked = None
        # options are no parameters, and so they are attributes that stay
        new._wrap(base, **{name: function(getattr(self, name)) for name in self._names})
        return new

    def map(self, function: Callable[[Tensor], Tensor]) -> Any:
        mapped = self._remade(function, self.base.map(function))
        return mapped._linked_to(self._linked and self._linked.map(function))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return Univariate.expand(self, batch_shape)

    def _in_double(self) -> Any:
        if self.dtype == torch.float64 or self.device.type == "mps":
            return self
        if self._linked is not None:
            return self._linked.in_double()
        return self._remade(Tensor.double, self.base._in_double())

    @property
    def dtype(self) -> torch.dtype:
        return self._own_dtype if self._linked is None else self._linked.dtype

    @property
    def own_parameters(self) -> dict[str, Tensor]:
        """The parameters beside those of the base, by name."""
        return {}

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.base.parameters | self.own_parameters

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return dict(self.base.arg_constraints)

    def __repr__(self) -> str:
        own = "".join(
            f", {name}: {list(value.shape)}" for name, value in self.own_parameters.items()
        )
        return f"{type(self).__name__}({self.base!r}{own})"

    def _tail_indices(self) -> Indices:
        return self.base._tail_indices()

    def _constant(self, value: float) -> Tensor:
        return self.base._constant(value)


def _widest(dtypes: list[torch.dtype]) -> torch.dtype:
    widest = dtypes[0]
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, dtype)
    return widest
