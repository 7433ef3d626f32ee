"""`WrapperFamily`: the base of families that are made from another family, their base."""

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution, Kind
from disthead.errors import unknown_name, warn
from disthead.families.family import Family, _table, get_family, takes_vectors
from disthead.links import Link

__all__ = ["WrapperFamily", "rows_without"]


class WrapperFamily(Family):
    """A family that is made from a base family of one number: truncated, zero-inflated ...

    The parameters are those of the base, by their own names and first, and then those that the
    wrapper adds, such as `gate`. So `links={"rate": "exp"}`, `fixed` and `shared` name the
    parameters of the base as for the base itself. Quantities of each row, such as `exposure`, are
    those of the base and those of the wrapper. A wrapper of one number can be a base itself.

    Subclasses declare `own_parameters` and `own_row_constants`, and define `wrap`, which makes the
    distribution, and `initial_estimate` where they have parameters of their own.

    Args:
        base: the family that is wrapped, a name or a `Family` of one number.
        base_options: options of the base, if it is given by name.

    Attributes:
        base: the base family.
        base_kinds: the kinds of targets that a base may have (`Distribution.kind`).
        takes_units: whether counts of the base may be in other units, loc + scale * k.
        own_parameters: the parameters that the wrapper adds, with their default links.
        own_row_constants: the row constants that it adds, with the constraint on their values.

    Raises:
        ValueError: for a base of vectors or of another kind, for an option that neither the wrapper
            nor its base has, and where both have a parameter or row constant of one name.
    """

    base_kinds: ClassVar[tuple[Kind, ...]] = ("continuous", "count")
    takes_units: ClassVar[bool] = True
    own_parameters: Mapping[str, Link] = {}
    own_row_constants: Mapping[str, constraints.Constraint] = {}

    def __init__(self, base: "str | Family" = "normal", **base_options: Any):
        self._check_options(base, base_options)
        self.base = get_family(base, **base_options)
        self._check_base()
        self.parameters = {**self.base.parameters, **self.own_parameters}
        self.shapes = dict(self.base.shapes)
        self.row_constants = {**self.base.row_constants, **self.own_row_constants}
        self.support = self.base.support
        self.edge_remedy = self.base.edge_remedy
        self.domain = self.base.domain

    def _check_options(self, base: "str | Family", options: Mapping[str, Any]) -> None:
        if not isinstance(base, str) or base not in _table():
            return
        if takes_vectors(base):
            raise self._wrong_base(base, "which has vectors for targets")
        of_base = inspect.signature(_table()[base]).parameters
        if any(option.kind is inspect.Parameter.VAR_KEYWORD for option in of_base.values()):
            return
        known = [*inspect.signature(type(self)).parameters, *of_base]
        known = [name for name in known if name != "base_options"]
        for option in options:
            if option not in known:
                raise unknown_name(f"option of {self.name} with base {base}", option, known)

    def _check_base(self) -> None:
        base = self.base
        if base.event_dim:
            raise self._wrong_base(base.name, "which has vectors for targets")
        if base.kind not in self.base_kinds:
            raise self._wrong_base(base.name, f"whose targets are of kind {base.kind!r}")
        if not self.takes_units and base.is_discrete and _has_units(base):
            raise ValueError(
                f"base of {self.name} must count in whole numbers from its own origin, got "
                f"{base.name}, whose counts are loc + scale * k. Take {self.name} as the base of "
                f"shifted instead, as in get_family('shifted', base=get_family({self.name!r}, "
                "base='poisson'), loc=3); divide targets in steps by their step, and take "
                "discretised with step=1."
            )
        of_base = {**base.parameters, **base.row_constants}
        for name in (*self.own_parameters, *self.own_row_constants):
            if name in of_base:
                raise ValueError(
                    f"{self.name} adds {name!r}, and its base {base.name} has {name!r}, too: one "
                    "name cannot stand for both. Take another base."
                )

    def _wrong_base(self, name: str, reason: str) -> ValueError:
        kinds = " or ".join(repr(kind) for kind in self.base_kinds)
        return ValueError(
            f"base of {self.name} must be a family of one number of kind {kinds}, got {name!r}, "
            f"{reason}. Try base='normal', 'gamma' or 'poisson'."
        )

    @abstractmethod
    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        """The distribution, from that of the base and the parameters that the wrapper adds.

        Args:
            base: the distribution that the base family makes.
            own: own parameters, with logarithms or logits as in `Family.make`, and own row
                constants.
        """

    def make(self, **parameters: Tensor) -> Distribution:
        own = {name: value for name, value in parameters.items() if self._is_own(name)}
        of_base = {name: value for name, value in parameters.items() if name not in own}
        return self.wrap(self.base.make(**of_base), **own)

    def _is_chosen(self, name: str) -> bool:
        own = name in self.own_parameters
        return super()._is_chosen(name) if own else self.base._is_chosen(name)

    def _is_own(self, name: str) -> bool:
        bare = name.removeprefix("logits_").removeprefix("log_")
        return bare in self.own_parameters or name in self.own_row_constants

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        of_base, own = self._split(raw)
        return self.base.constrain(of_base, links) | super().constrain(own, links)

    def unconstrain(
        self, values: Mapping[str, Tensor], links: Mapping[str, Link]
    ) -> dict[str, Tensor]:
        of_base, own = self._split(values)
        return self.base.unconstrain(of_base, links) | super().unconstrain(own, links)

    def _split(self, values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The values of the base's parameters, and those of the own ones, by name."""
        own = {name: part for name, part in values.items() if self._is_own(name)}
        return {name: part for name, part in values.items() if name not in own}, own

    def warn_of_none(self, is_value: Tensor, values: str) -> None:
        """Warn where no target of a column is a value that has a probability of its own.

        Args:
            is_value: which targets are, shape (N, ...).
            values: the values in words.
        """
        if not bool(is_value.any(0).all()):
            warn(
                f"no target is {values}, to which {self.name} gives a probability of its own: gate "
                f"is driven to 0, and its weights without end. Take {self.base.name} alone."
            )

    def check_beside(
        self, y: Tensor, constants: Mapping[str, Tensor], column: str = "the target"
    ) -> None:
        of_base = {name: part for name, part in constants.items() if not self._is_own(name)}
        self.base.check_beside(y, of_base, column)

    def with_default_constants(
        self, constants: Mapping[str, Tensor], y: Tensor
    ) -> Mapping[str, Tensor]:
        return self.base.with_default_constants(constants, y)

    def typical_constants(self, y: Tensor) -> dict[str, Tensor]:
        return self.base.typical_constants(y)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return self.base.initial_estimate(y)


def _has_units(family: Family) -> bool:
    """Whether the family makes distributions in other units, as shifted does."""
    return isinstance(family.from_raw(torch.zeros(family.width())), Affine)


def rows_without(y: Tensor, left_out: Tensor) -> Tensor:
    """The targets (N, ...), in which those that are left out are replaced by the others in turn.

    The other targets of a column take their places one after the other, so that each stands for
    about the same number of rows. A column in which all are left out stays as it is.

    Args:
        y: targets, shape (N, ...).
        left_out: of the same shape.

    >>> rows_without(torch.tensor([0.0, 3.0, 0.0, 5.0]), torch.tensor([True, False, True, False]))
    tensor([3., 5., 3., 5.])
    """
    columns = []
    for column, mask in zip(
        y.reshape(len(y), -1).unbind(1), left_out.reshape(len(y), -1).unbind(1), strict=True
    ):
        some = column[~mask]
        turns = torch.arange(len(column), device=y.device) % max(len(some), 1)
        columns.append(some[turns] if len(some) else column)
    return torch.stack(columns, 1).reshape(y.shape)
