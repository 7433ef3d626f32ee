"""`Family`: the declaration of a family of distributions, and how raw outputs become one."""

import functools
import importlib
import importlib.metadata
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pyro.distributions.constraints import ordered_vector
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_mapping, as_tensor, check_kind
from disthead.distributions.base import Distribution, Kind, tensors
from disthead.distributions.supports import AnyComponent
from disthead.errors import TargetError, locate, nearest, pick, unknown_name, warn
from disthead.likelihood import Formula, LinkedParameters, prepare
from disthead.links import Link, get_link
from disthead.special.eager import are_concrete

__all__ = ["Family", "families", "get_family", "takes_classes", "takes_pairs", "takes_vectors"]

ENTRY_POINTS = "disthead.families"  # the group in which installed packages declare their families
_MOST_FORMULAS = 64  # of one family
_MOST_NAMES = 8  # of families in an error
# former names of attributes and methods, which still work with a warning
_FORMER_NAMES = {
    "check_known": "check_row_constants",
    "known": "row_constants",
    "linked": "from_raw",
    "outputs": "linked_class",
    "quick": "distribution_class",
    "score": "log_prob_and_grad",
    "scored": "loss_support",
    "scores_known": "grad_takes_exposure",
    "start": "initial_estimate",
}


class Family(ABC):
    """A family of distributions: its parameters with their links, its support, and its texts.

    A family holds no parameter values. It makes distributions from values (`distribution`) or from
    the raw outputs of a layer, unconstrained parameters (`from_raw`). It says where the fit of the
    unconditional model (no features) starts (`initial_estimate`) and which targets it takes
    (`check_target`).

    Subclasses set the class attributes below and, in `__init__`, nothing but their options, which
    are read from its signature.

    Attributes:
        name: the name by which users choose it.
        parameters: parameter name -> default link, in the order of the raw outputs.
        shapes: the shape of each parameter of one distribution; `()` for names that are missing.
        event_shape: the shape of one target; `()` for a number, `(D,)` for vectors.
        support: the possible targets, a constraint of `torch.distributions`.
        figure_row: the row of the family in the table of Prince (2023, figure 5.11); None where it
            has none.
        data_type, domain, use: the entries of that row, or of one like it.
        loss: the classical loss that is equivalent to the log-likelihood.
        noise, density, breaks, remedy: texts of `disthead explain`: the assumed noise, the formula,
            when the family breaks, and what to try then.
        edge_remedy: what to do about targets exactly at the ends of the support.
        least_log_std: the standard deviation of log y below which networks do not learn, because
            their initial outputs are farther from the unconditional fit; 0 where the size of
            targets does not matter.
        fast_range: by parameter ("y" for targets), the numbers between which single precision keeps
            six digits of log_prob, where that is not as usual (`likelihood/kernels.py`).
        row_constants: quantities that a caller may give for each row, such as `exposure`, with the
            constraint on their values. A family that takes an `exposure` takes an `offset`, too,
            which is its logarithm.
        grad_takes_exposure: whether `log_prob_and_grad` takes the row constants, too, after the
            parameters.
        loss_support: the targets that have a log-likelihood, where it is wider than the support, as
            for soft labels; None where both agree.
        distribution_class: the class of the distributions, if it has `log_prob_and_grad`, so that
            the loss and its gradient are computed in one pass from raw outputs; else None.
        linked_class: the class that keeps the raw outputs of a distribution with lazy parameters.
        is_censored: whether targets may be pairs (lower, upper) in one more dimension, between
            which the number lies.
    """

    name: ClassVar[str]
    parameters: Mapping[str, Link]
    shapes: Mapping[str, tuple[int, ...]] = {}
    event_shape: tuple[int, ...] = ()
    support: constraints.Constraint
    figure_row: ClassVar[int | None] = None
    data_type: ClassVar[str]
    domain: str
    use: ClassVar[str]
    loss: ClassVar[str]
    noise: ClassVar[str]
    density: ClassVar[str]
    breaks: ClassVar[str]
    remedy: ClassVar[str]
    edge_remedy: str = ""
    least_log_std: ClassVar[float] = 0.0
    fast_range: Mapping[str, tuple[float, float]] = {}
    row_constants: Mapping[str, constraints.Constraint] = {}
    grad_takes_exposure: bool = False
    loss_support: constraints.Constraint | None = None
    distribution_class: type[Distribution] | None = None
    linked_class: type[LinkedParameters] = LinkedParameters
    is_censored: bool = False
    _default: "ClassVar[Family]"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check_name(cls)
        for name in [name for name in vars(cls) if name in _FORMER_NAMES]:
            _warn_of_former(cls, name)
            setattr(cls, _FORMER_NAMES[name], vars(cls)[name])
            delattr(cls, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FORMER_NAMES:
            _warn_of_former(type(self), name)
        super().__setattr__(_FORMER_NAMES.get(name, name), value)

    def __getattr__(self, name: str) -> Any:
        if name not in _FORMER_NAMES:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        _warn_of_former(type(self), name)
        return getattr(self, _FORMER_NAMES[name])

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_formulas", "_own_formula")
        }

    def log_prob_and_grad(self, y: Any, *parameters: Any) -> tuple[Any, ...]:
        """log_prob and its derivatives by each parameter; only with a `distribution_class`.

        The last dimension of every tensor is the row: shapes are (rows,), or (D, rows) for vectors.
        Derivatives by positive parameters are by their logarithms. The formula is recorded when it
        is first used, so that it may depend on nothing but its arguments and the family's options.

        Args:
            y: targets, shape (rows,), or (D, rows) for vectors.
            parameters: the results of the links' `value_and_slope`, in the order of the raw
                outputs, then the row constants.
        """
        kind: Any = self.distribution_class
        return kind.log_prob_and_grad(y, *parameters)

    @property
    def kind(self) -> Kind:
        """What one target is, `Distribution.kind`."""
        made = self.distribution_class or self.from_raw(torch.zeros(self.width()))
        return made.kind

    @property
    def is_discrete(self) -> bool:
        """Whether targets are integers, whose distribution has a mass instead of a density."""
        return self.support.is_discrete

    @property
    def event_dim(self) -> int:
        """The number of dimensions of one target: 0 for a number, 1 for a vector."""
        return self.support.event_dim

    @abstractmethod
    def make(self, **parameters: Tensor) -> Distribution:
        """The distribution with these parameter tensors, unchecked.

        Positive parameters may come as `log_...`, too.
        """

    @abstractmethod
    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """Parameter values near the maximum likelihood fit of the unconditional model.

        That model has no features. The search for its fit starts from these values.

        Args:
            y: targets, shape (N, ...).

        Returns:
            a value of each parameter for each entry of the trailing dimensions of `y`: several
            outputs are fitted separately.
        """

    def typical_constants(self, y: Tensor) -> dict[str, Tensor]:
        """The row constants that `initial_estimate` assumes, without which nothing is made.

        Args:
            y: targets, shape (N, ...).

        Returns:
            a value by name for each entry of the trailing dimensions of `y`.
        """
        return {}

    def distribution(self, **parameters: Any) -> Distribution:
        """The distribution with these parameter values: tensors, arrays or numbers.

        Their batch dimensions broadcast. A parameter that an option of the family fixes, such as
        the `scale` of pareto, may be left out.

        Raises:
            ValueError: for a parameter that is unknown, missing, outside of its constraint, or
                other than an option of the family says.
        """
        parameters = self._with_fixed(parameters)
        values = dict(zip(parameters, tensors(*parameters.values()), strict=True))
        try:
            dist = self.make(**values)
        except TypeError as error:
            raise self._signature_error(values) from error
        if not torch.compiler.is_compiling():
            self._check_parameters(
                dist, values, {name: _rounding(value) for name, value in parameters.items()}
            )
            self.check_concrete_constants(
                {name: value for name, value in values.items() if name in self.row_constants}
            )
        return dist

    def _with_fixed(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameter values with those that options fix, which they may not contradict."""
        result = dict(parameters)
        for name, link in self.parameters.items():
            value = link.fixed_value
            if value is None:
                continue
            if name not in parameters:
                if not {f"log_{name}", f"logits_{name}"} & {*parameters}:
                    result[name] = value
            elif not torch.compiler.is_compiling():
                [given] = tensors(parameters[name])
                other = ~torch.isclose(given, torch.full_like(given, value))
                if other.any() and self._is_chosen(name):
                    raise ValueError(
                        f"{name} of {self.name} is {value:g} by an option of the family, got "
                        f"{locate(other, given)}. Leave {name} out, or change the option."
                    )
        return result

    def _is_chosen(self, name: str) -> bool:
        """Whether a parameter is fixed at a value other than that of the default options."""
        default = get_family(self.name).parameters[name]
        return default.fixed_value != self.parameters[name].fixed_value

    def from_raw(self, raw: Tensor, links: Mapping[str, Link] | None = None) -> Distribution:
        """The distribution from raw outputs (unconstrained parameters).

        Args:
            raw: shape (..., P), the parameters in declared order.
            links: the link of each parameter; None takes the default links.

        Raises:
            ValueError: where P is not the number of raw outputs that the links take.
        """
        return self.formula(links).from_raw(raw)

    def formula(self, links: Mapping[str, Link] | None = None) -> Formula:
        """The map from raw outputs to distributions, made once for each choice of links.

        Args:
            links: the link of each parameter; None takes the default links.
        """
        links = self.parameters if links is None else links
        if torch.compiler.is_compiling():
            own = self.__dict__.get("_own_formula")
            return own if own is not None and links is self.parameters else self._formula(links)
        key = tuple(links.items())
        formula = self._formulas.get(key)
        if formula is None:
            if len(self._formulas) >= _MOST_FORMULAS:
                self._formulas.clear()
            formula = self._formulas[key] = prepare(self._formula(links))
        if links is self.parameters:
            self._own_formula = formula
        return formula

    @functools.cached_property
    def _formulas(self) -> dict[tuple, Formula]:
        return {}

    def _formula(self, links: Mapping[str, Link]) -> Formula:
        if not torch.compiler.is_compiling():
            self.check_make()
        return Formula(
            name=self.name,
            links=dict(links),
            shapes={name: self.raw_shape(name, link) for name, link in links.items()},
            event_shape=self.event_shape,
            is_discrete=self.is_discrete,
            loss_support=self.loss_support or self.support,
            constrain=functools.partial(self.constrain, links=links),
            make=self.make,
            log_prob_and_grad=self._own_log_prob_and_grad,
            fast_range=self.fast_range,
            distribution_class=self.distribution_class,
            linked_class=self.linked_class,
            has_row_constants=len(links) > len(self.parameters),
        )

    def check_make(self) -> None:
        """Check that `make` takes what `constrain` gives it beside the parameters.

        Raises:
            TypeError: with the arguments that it lacks.
        """
        taken = inspect.signature(self.make).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return
        given = [
            f"{'logits' if link.codomain is constraints.unit_interval else 'log'}_{name}"
            for name, link in self.parameters.items()
            if name != "logits" and link.is_positive
        ]
        missing = [name for name in given if name not in taken]
        if missing:
            raise TypeError(
                f"{type(self).__name__}.make must take {', '.join(missing)}, which the links give "
                "beside the parameters, since they are exact where a parameter is next to 0, got "
                f"make({', '.join(taken)}). Write make(self, {', '.join(self.parameters)}, "
                "**logarithms)."
            )

    @property
    def _own_log_prob_and_grad(self) -> Any:
        """`log_prob_and_grad`, that of the distribution itself unless the family has another.

        Kernels know the formula by its name.
        """
        if type(self).log_prob_and_grad is not Family.log_prob_and_grad:
            return self.log_prob_and_grad
        return getattr(self.distribution_class, "log_prob_and_grad", self.log_prob_and_grad)

    def raw_shape(self, name: str, link: Link | None = None) -> tuple[int, ...]:
        """The shape of the raw outputs of one parameter of one distribution."""
        return (link or self.parameters[name]).raw_shape(self.shapes.get(name, ()))

    def width(self, links: Mapping[str, Link] | None = None) -> int:
        """The number of raw outputs of one distribution, with the default links or others."""
        links = self.parameters if links is None else links
        return sum(math.prod(self.raw_shape(name, link)) for name, link in links.items())

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        """The arguments of `make` from raw outputs.

        They are the values of the parameters, with logarithms of positive ones and logits of those
        in (0, 1).

        Args:
            raw: parameter name -> raw outputs, of shape batch + `raw_shape`.
            links: the link of each parameter.
        """
        values = {}
        for name, part in raw.items():
            link = links[name]
            if name == "logits":
                values[name] = link.logits(part)
                continue
            values[name] = link.forward(part)
            if link.codomain is constraints.unit_interval:
                values["logits_" + name] = link.logits(part)
            elif link.is_positive:
                values["log_" + name] = link.log(part)
        return values

    def unconstrain(
        self, values: Mapping[str, Tensor], links: Mapping[str, Link]
    ) -> dict[str, Tensor]:
        """Raw outputs that give these parameter values, or the nearest that the links can give.

        Args:
            values: parameter name -> value, of shape batch + `shapes`.
            links: the link of each parameter.
        """
        raw = {}
        for name, value in values.items():
            link = links[name]
            if name != "logits":
                raw[name] = link.inverse(link.inside(value))
            elif link.logits(value) is value:
                raw[name] = value
            else:
                raw[name] = link.inverse(link.inside(value.sigmoid()))
        return raw

    def away_from_ends(
        self, raw: Mapping[str, Tensor], links: Mapping[str, Link]
    ) -> Mapping[str, Tensor]:
        """Raw outputs of an unconditional fit, moved to where training can start.

        A family moves a parameter that the fit drives to an end of its link, where no gradient
        leads back, although it may depend on the features.

        Args:
            raw: parameter name -> raw outputs, of learned parameters.
            links: the link of each of them.
        """
        return raw

    def resolve_links(self, links: Mapping[str, "str | Link"] | None) -> dict[str, Link]:
        """The link of each parameter: that of `links`, or the default.

        Raises:
            ValueError: for an unknown parameter or link, with the nearest names, or a link with
                values that the parameter may not have.
        """
        resolved = dict(self.parameters)
        for name, choice in as_mapping(links, "links", "{'scale': 'exp'}").items():
            default = pick(f"parameter of {self.name}", name, resolved)
            link = get_link(choice)
            lower = getattr(default.codomain, "lower_bound", 0)
            if lower and link.is_positive and isinstance(choice, str):
                link = link.shifted(lower)
            if not _fits(link, default, name):
                raise ValueError(
                    f"the link {link.name!r} of {self.name}'s {name} gives values in "
                    f"{describe(link.codomain)}, {name} must be in {describe(default.codomain)}. "
                    f"Try {default.name!r}" + (" or 'exp'." if default.name == "softplus" else ".")
                )
            resolved[name] = link
        return resolved

    def event_shape_of(self, y: Tensor) -> tuple[int, ...]:
        """The shape of one target, from targets (N, ...)."""
        return tuple(y.shape[1:])

    def observed_rows(self, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Targets that are known exactly, as numbers, for their mean, variation and outliers.

        Args:
            y: targets (N, ...).
            weight: (N,), or None where all rows count the same.
        """
        return y, weight

    def points_of(self, y: Tensor) -> Tensor:
        """One number for each target (N, ...): itself, or a finite end of a censored one."""
        return y

    def check_target(self, y: Any, column: str = "the target") -> None:
        """Check that the targets lie in the support.

        Args:
            y: targets, shape (N, ...).
            column: what errors call them.

        Raises:
            TargetError: for NaN, infinite values or values outside the support, naming rows, values
                and families that take them.
        """
        y = as_tensor(y, column)
        check_kind(y, self.support, column)
        if y.is_floating_point():
            missing = ~y.isfinite()
            if missing.any():
                raise TargetError(
                    f"{column} must be finite, got NaN or infinity in {locate(missing, y)}. "
                    "Drop or impute these rows; nothing is dropped silently."
                )
        inside = self.support.check(y)
        if inside.all():
            return
        where = locate(~inside, y)
        takers = [other for other in _families_that_take(y) if other != self.name]
        advice = f" {self.edge_remedy}" if self.edge_remedy and self._on_edge(y[~inside]) else ""
        raise TargetError(
            f"{column} must be in the support of {self.name} ({self.domain}), got {where}."
            + (
                f" Families that take such targets: {', '.join(takers[:_MOST_NAMES])}"
                f"{' and others' * (len(takers) > _MOST_NAMES)}."
                if takers and y.ndim == 1
                else ""
            )
            + advice
        )

    @staticmethod
    def without_offset(constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Row constants in which an offset is part of the exposure, exposure * exp(offset).

        Args:
            constants: name -> values, as `row_constant` allows them.
        """
        result = dict(constants)
        if "offset" in result:
            exposure = result.pop("offset").exp()
            result["exposure"] = exposure * result["exposure"] if "exposure" in result else exposure
        return result

    def check_beside(  # noqa: B027
        self, y: Tensor, constants: Mapping[str, Tensor], column: str = "the target"
    ) -> None:
        """Check targets against quantities of their rows, such as bounds.

        Args:
            y: targets, shape (N, ...), which lie in the support.
            constants: name -> values that the family allows, shape (N,).
            column: what errors call the targets.

        Raises:
            TargetError: for targets that are impossible beside the quantities of their row.
        """

    def row_constant(self, name: str) -> constraints.Constraint:
        """What the values of a quantity that is given for each row must be.

        Args:
            name: one of `row_constants`.

        Raises:
            ValueError: for another name, with those that the family takes.
        """
        if name in self.row_constants:
            return self.row_constants[name]
        names = list(self.row_constants)
        if "exposure" in names:
            if name == "offset":
                return constraints.real
            names.insert(names.index("exposure") + 1, "offset = log(exposure)")
        takes = " and ".join(names) or "no such quantity"
        raise ValueError(f"{self.name} cannot take {name!r} for each row: it takes {takes}.")

    def check_row_constants(
        self, constants: Mapping[str, Tensor], columns: Mapping[str, str] | None = None
    ) -> None:
        """Check quantities that are given for each row, such as an exposure.

        Args:
            constants: name -> values, shape (N, ...).
            columns: name -> column of the table, for errors.

        Raises:
            ValueError: for NaN, infinite values or values that `row_constants` does not allow.
        """
        for name, values in constants.items():
            allowed = self.row_constant(name)
            wrong = ~(allowed.check(values) & values.isfinite())
            if wrong.any():
                column = f" (column {columns[name]!r})" if columns else ""
                message = self._must_be(name + column, allowed, wrong, values)
                raise ValueError(
                    f"{message} Drop or correct these rows; nothing is dropped silently."
                )

    def check_concrete_constants(self, constants: Mapping[str, Tensor]) -> None:
        """`check_row_constants` where their numbers are on the host and nothing is traced.

        On a device the check would wait for it, and a graph cannot depend on numbers.
        """
        if constants and are_concrete(*constants.values()):
            self.check_row_constants(constants)

    def with_default_constants(
        self, constants: Mapping[str, Tensor], y: Tensor
    ) -> Mapping[str, Tensor]:
        """The row constants with which the unconditional model is fitted.

        Families that cannot do without a quantity assume one, with a warning, where none is given.

        Args:
            constants: name -> values, shape (N,).
            y: targets, shape (N, ...).
        """
        return constants

    def _on_edge(self, values: Tensor) -> bool:
        """Whether all values lie exactly at an end of the support: 0, or 1 for proportions."""
        return bool(((values == 0) | (values == getattr(self.support, "upper_bound", 0))).all())

    def _check_parameters(
        self, dist: Distribution, values: Mapping[str, Tensor], rounding: Mapping[str, float]
    ) -> None:
        for name in values:
            constraint = dist.arg_constraints.get(name)
            value = values[name]
            if constraint is None:
                continue
            constraint = getattr(constraint, "base_constraint", constraint)  # of each number
            if constraint is constraints.simplex:
                valid = (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < rounding[name])
            else:
                valid = constraint.check(value)
            if not valid.all():
                bad = ~valid.reshape(valid.shape + (1,) * (value.ndim - valid.ndim)).expand(
                    value.shape
                )
                raise ValueError(self._must_be(name, constraint, bad, value))

    def _must_be(
        self, name: str, allowed: constraints.Constraint, bad: Tensor, values: Tensor
    ) -> str:
        return f"{name} of {self.name} must be {describe(allowed)}, got {locate(bad, values)}."

    def _signature_error(self, values: Mapping[str, Tensor]) -> ValueError:
        accepted = [*self.parameters, *(n for n in ("probs",) if "logits" in self.parameters)]
        for name in values:
            if name not in accepted:
                return unknown_name(f"parameter of {self.name}", name, accepted)
        missing = [name for name in self.parameters if name not in values]
        return ValueError(
            f"{self.name} needs the parameters {', '.join(self.parameters)}; missing: "
            f"{', '.join(missing)}."
        )

    def __repr__(self) -> str:
        links = ", ".join(f"{name}: {link}" for name, link in self.parameters.items())
        return f"{type(self).__name__}({links})"


def _warn_of_former(cls: type, name: str) -> None:
    warn(
        f"{cls.__name__}.{name} is called {_FORMER_NAMES[name]} now; the former name goes with "
        "the next version.",
        DeprecationWarning,
    )


def _rounding(value: Any) -> float:
    """By how much the sum of probabilities of that dtype may differ from one."""
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return torch.finfo(getattr(torch, dtype)).eps if dtype in ("float16", "bfloat16") else 1e-6


def _fits(link: Link, default: Link, name: str) -> bool:
    if name == "logits":
        return link.has_logits and (
            link.name == "identity"
            or link.codomain is default.codomain
            or default.name == "identity"
        )
    if default.codomain is constraints.unit_interval:
        return link.codomain is constraints.unit_interval
    if default.is_positive:
        return link.is_positive and link.codomain is not constraints.unit_interval
    return link.codomain is default.codomain and link.raw_shape((2, 2)) == default.raw_shape((2, 2))


def describe(constraint: constraints.Constraint) -> str:
    """The constraint in words, for error messages.

    >>> describe(constraints.positive)
    'positive'
    """
    names = {
        constraints.real: "any real number",
        constraints.positive: "positive",
        constraints.nonnegative: "zero or more",
        constraints.nonnegative_integer: "a whole number, zero or more",
        constraints.unit_interval: "between 0 and 1",
        constraints.simplex: "probabilities that sum to one",
        constraints.real_vector: "real numbers",
        constraints.lower_cholesky: "lower triangular with a positive diagonal",
        ordered_vector: "strictly increasing numbers",
    }
    if isinstance(constraint, AnyComponent):
        return describe(constraint.support)
    if constraint not in names and isinstance(constraint, constraints.integer_interval):
        most = torch.as_tensor(constraint.upper_bound)
        end = f"{most.item():g}" if most.numel() == 1 else "the trials of its row, total_count"
        return f"a whole number from {constraint.lower_bound} to {end}"
    if constraint not in names and isinstance(constraint, constraints.greater_than):
        return f"greater than {constraint.lower_bound:g}"
    return names.get(constraint, repr(constraint))


def _descendants(family: type[Family]) -> list[type[Family]]:
    descendants = []
    for child in family.__subclasses__():
        descendants += [child, *_descendants(child)]
    return descendants


def _table() -> dict[str, type[Family]]:
    """Name -> class of all families, in the order of figure 5.11 of Prince (2023), then by name."""
    named = [family for family in _descendants(Family) if "name" in family.__dict__]
    named.sort(key=lambda family: (family.__dict__.get("figure_row") or math.inf, family.name))
    return {family.name: family for family in named}


def _check_name(family: type[Family]) -> None:
    """Refuse a family from outside that takes the name of one of this library."""
    ours = __name__.partition(".")[0] + "."
    if "name" not in family.__dict__ or family.__module__.startswith(ours):
        return
    for taken in _descendants(Family):
        if taken.__dict__.get("name") == family.name and taken.__module__.startswith(ours):
            raise ValueError(
                f"the family {family.__qualname__} has the name {family.name!r}, which is that of "
                f"{taken.__module__}.{taken.__qualname__}. Give it another name."
            )


@functools.cache
def _import_installed() -> None:
    """Import the families that installed packages declare as entry points."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:  # of a package of somebody else's
            warn(
                f"the family {point.name!r} of the entry point {point.value!r} cannot be imported "
                f"({type(error).__name__}: {error}) and is left out. Mend or remove its package."
            )


def _find(name: str) -> type[Family]:
    """The class of a family by its name or by its path; those of installed packages, too.

    Raises:
        ValueError: for an unknown name or path.
    """
    if isinstance(name, str) and "." in name:
        return _at_path(name)
    if name not in _table():
        _import_installed()
    table = _table()
    if isinstance(name, str) and name not in table:
        raise ValueError(
            f"unknown family {name!r}{nearest(name, table)} `disthead families` and "
            "disthead.families() list all names. A family of your own is known by its name once "
            "its module is imported, and always by its path, such as "
            "my_package.my_module.MyFamily."
        )
    return pick("family", name, table)


def _at_path(path: str) -> type[Family]:
    module_name, _, name = path.rpartition(".")
    try:
        family = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise ValueError(
            f"family {path!r} cannot be imported: {error}. A file of the present folder is found "
            "by `python -m disthead`, or with PYTHONPATH=. in front of the command."
        ) from error
    except AttributeError:
        raise ValueError(f"family {path!r}: the module {module_name} has no {name!r}.") from None
    if not (isinstance(family, type) and issubclass(family, Family)):
        raise ValueError(f"family {path!r} must be a subclass of disthead.Family, got {family!r}.")
    if "name" not in family.__dict__:
        raise ValueError(f"family {path!r} has no name: set the class attribute `name`.")
    return family


def families() -> list[str]:
    """The names of all families, those of figure 5.11 first.

    Besides the families of this library they are those of modules that have been imported, and of
    installed packages that declare them as entry points of the group `disthead.families`.

    >>> families()[:3]
    ['normal', 'laplace', 'student_t']
    """
    _import_installed()
    return list(_table())


def get_family(name: "str | Family", *, event_shape: tuple[int, ...] = (), **options) -> Family:
    """The family of that name, with its options; a `Family` is returned as is.

    Args:
        name: one of `families()`, the path of a class, such as my_package.my_module.MyFamily, or a
            `Family`.
        event_shape: the shape of one target. A vector family takes its dimension from it; others
            ignore it.
        options: of the family, such as num_classes=3.

    Raises:
        ValueError: for an unknown family or option, with the nearest names.

    >>> get_family("normal").parameters["scale"].name
    'softplus'
    """
    if isinstance(name, Family):
        if options:
            raise ValueError(
                f"options {', '.join(options)} belong to a family given by name, got "
                f"the Family {name!r}."
            )
        return name
    family = _find(name)
    accepted = [
        option
        for option in inspect.signature(family).parameters
        if option not in ("args", "kwargs")
    ]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(family).parameters.values())
    for option in options:
        if option not in accepted and not takes_any:
            raise unknown_name(f"option of {family.name}", option, accepted)
    if "event_shape" in accepted:
        options["event_shape"] = tuple(event_shape)
    if options:
        return family(**options)
    if "_default" not in vars(family):  # one instance, so that its formulas are compiled once
        family._default = family()
    return family._default


def _families_that_take(y: Tensor) -> list[str]:
    """Families for single numbers whose support holds every value of `y`."""
    takers = []
    for name, family in _table().items():
        support = family.__dict__.get("support")
        if support is not None and support.event_dim == 0 and bool(support.check(y).all()):
            takers.append(name)
    return takers


def takes_classes(family: str) -> bool:
    """Whether the family of that name takes the number of classes."""
    return "num_classes" in _options_of(family)


def takes_pairs(family: str) -> bool:
    """Whether targets of the family of that name may be pairs, since they are censored."""
    declared = _table().get(family) if isinstance(family, str) else None
    return declared is not None and declared.is_censored


def takes_vectors(family: str) -> bool:
    """Whether the family of that name takes an event_shape: its targets are vectors."""
    return "event_shape" in _options_of(family)


def _options_of(family: str) -> Mapping[str, inspect.Parameter]:
    """The options of the family of that name; none for an unknown one."""
    try:
        return inspect.signature(_find(family).__init__).parameters
    except ValueError:
        return {}
