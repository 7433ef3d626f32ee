"""`Family`: the declaration of a kind of distribution, and how raw outputs become one."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_mapping, as_tensor, check_kind
from disthead.distributions.base import Distribution, tensors
from disthead.errors import TargetError, locate, pick, unknown_name
from disthead.likelihood.formula import takes_one_each
from disthead.likelihood.linked import RawOutputs
from disthead.links import Link, get_link

__all__ = ["Family", "families", "get_family", "takes_classes", "takes_vectors"]


class Family(ABC):
    """A kind of distribution: its parameters with their links, its support, and the row of the table that it fills.

    A family holds no numbers of its own. It makes distributions, from parameter values (`distribution`) or from the raw
    outputs of a layer (`from_raw`), says where a marginal fit starts (`start`) and which targets it can take
    (`check_target`).

    Subclasses set the class attributes below and, in `__init__`, nothing but their options; `option_defaults` is read
    off their signature.

    Attributes:
        name: the name by which users choose it.
        parameters: parameter name -> default link, in the order of the raw outputs.
        shapes: the shape of each parameter of one distribution, `()` where it is left out.
        event_shape: the shape of one target; `()` for a number, `(K,)` for a vector family.
        support: the values a target may take, a constraint of `torch.distributions`.
        figure_row: the row that the family has in the table of Prince (2023, figure 5.11), None for one beside it.
        data_type, domain, use: what that row, or one like it, says.
        loss: the classical loss it turns into.
        noise, density, breaks, remedy: what `disthead explain` says: the assumed noise, the formula,
            when it breaks and what to try then.
        edge_remedy: what to do about targets exactly on the edge of the support.
        least_log_std: the standard deviation of log y below which networks, which start beside the marginal fit by more than
            that, do not learn; 0 where the size of targets does not matter.
        known: quantities that a caller may give per row, such as `exposure`, with the values that they may take.
        scores_known: whether `score` takes them, too, behind the parameters.
        scored: the targets that have a log-likelihood, where soft labels have one beside the support.
        quick: the class of the distributions, where log_prob and its derivatives come in one pass from raw outputs.
        outputs: the class that keeps the raw outputs, and scores them its own way.
    """

    name: ClassVar[str]
    parameters: Mapping[str, Link]
    shapes: Mapping[str, tuple[int, ...]] = {}
    event_shape: tuple[int, ...] = ()
    support: constraints.Constraint
    figure_row: ClassVar[int | None] = None
    data_type: ClassVar[str]
    domain: ClassVar[str]
    use: ClassVar[str]
    loss: ClassVar[str]
    noise: ClassVar[str]
    density: ClassVar[str]
    breaks: ClassVar[str]
    remedy: ClassVar[str]
    edge_remedy: ClassVar[str] = ""
    least_log_std: ClassVar[float] = 0.0
    known: Mapping[str, constraints.Constraint] = {}
    scores_known: bool = False
    scored: constraints.Constraint | None = None
    quick: type[Distribution] | None = None
    outputs: type[RawOutputs] = RawOutputs

    def score(self, y: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
        """The log-likelihood and its derivatives by each parameter, by the logarithm of the positive ones; where `quick`.

        It is recorded when it is first needed, and so depends on its arguments alone, and on what the family was made with.
        """
        kind: Any = self.quick
        return kind.score(y, *parameters)

    @property
    def is_discrete(self) -> bool:
        return self.support.is_discrete

    @property
    def event_dim(self) -> int:
        return self.support.event_dim

    @abstractmethod
    def make(self, **parameters: Tensor) -> Distribution:
        """The distribution from parameter tensors, unchecked; positive ones may come as `log_...` too."""

    @abstractmethod
    def start(self, y: Tensor) -> dict[str, Tensor]:
        """Parameter values near the maximum likelihood fit to targets `y` of shape (N, ...): where its search starts.

        One value for each entry of the trailing dimensions of `y` (several outputs have a fit of their own each).
        """

    def distribution(self, **parameters: Any) -> Distribution:
        """The distribution with these parameter values, tensors, arrays or numbers, which broadcast.

        Raises:
            ValueError: for a parameter that does not exist, is missing, or has values it may not take.
        """
        given = dict(zip(parameters, tensors(*parameters.values()), strict=True))
        try:
            dist = self.make(**given)
        except TypeError as error:
            raise self._signature_error(given) from error
        if not torch.compiler.is_compiling():
            self._check_parameters(dist, given, {name: _rounding(value) for name, value in parameters.items()})
        return dist

    def from_raw(self, raw: Tensor) -> Distribution:
        """The distribution from raw outputs of shape (..., P), through the default links, parameters in declared order."""
        return self.linked(raw, self.parameters)

    def linked(self, raw: Tensor, links: Mapping[str, Link]) -> Distribution:
        """The distribution from raw outputs (..., P), through these links."""
        if raw.shape[-1] != len(links) or not takes_one_each(self, links):
            self._check_width(raw, links)
        return self.outputs(self, links, raw).distribution()

    def projected(self, features: Tensor, weight: Tensor, bias: Tensor, links: Mapping[str, Link]) -> Distribution:
        """The distribution of raw outputs features @ weight.T + bias (d -> P), through these links."""
        return self.linked(torch.nn.functional.linear(features, weight, bias), links)

    def split(self, raw: Tensor, links: Mapping[str, Link]) -> dict[str, Tensor]:
        """Raw outputs (..., P) -> the raw outputs of each parameter, in the shape its link takes."""
        shapes = [self.raw_shape(name, link) for name, link in links.items()]
        if len(shapes) == 1 and raw.shape[-1:] == shapes[0]:  # two operations less for each call and its gradient
            return dict.fromkeys(links, raw)
        parts = raw.split([math.prod(shape) for shape in shapes], -1)
        if torch.compiler.is_compiling():  # loops of graphs take no tensors that share memory
            parts = tuple(part.clone() for part in parts)
        return {
            name: part.reshape(raw.shape[:-1] + shape) for name, part, shape in zip(links, parts, shapes, strict=True)
        }

    def _check_width(self, raw: Tensor, links: Mapping[str, Link]) -> None:
        if raw.shape[-1] != self.width(links):
            sizes = [math.prod(self.raw_shape(name, link)) for name, link in links.items()]
            raise ValueError(
                f"{self.name} takes {sum(sizes)} raw outputs in the last dimension "
                f"({', '.join(f'{name}: {size}' for name, size in zip(links, sizes, strict=True))}), "
                f"got a tensor of shape {tuple(raw.shape)}."
            )

    def raw_shape(self, name: str, link: Link | None = None) -> tuple[int, ...]:
        """The shape of the raw outputs behind one parameter of one distribution."""
        return (link or self.parameters[name]).raw_shape(self.shapes.get(name, ()))

    def width(self, links: Mapping[str, Link] | None = None) -> int:
        """How many raw outputs one distribution takes, by its own links or others."""
        links = self.parameters if links is None else links
        return sum(math.prod(self.raw_shape(name, link)) for name, link in links.items())

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        """Raw outputs by parameter -> what `make` takes: values, logarithms of the positive ones, logits of those in (0, 1)."""
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

    def unconstrain(self, values: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        """Parameter values -> raw outputs: where the bias of a layer has to be to give them, or the nearest that the link gives."""
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

    def resolve_links(self, links: Mapping[str, "str | Link"] | None) -> dict[str, Link]:
        """The default links with those of `links` in their place, checked against what each parameter may be.

        Raises:
            ValueError: for an unknown parameter or link, with the nearest names, or a link onto the wrong values.
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
                    f"the link {link.name!r} of {self.name}'s {name} gives values in {describe(link.codomain)}, "
                    f"{name} must be in {describe(default.codomain)}. Try {default.name!r}"
                    + (" or 'exp'." if default.name == "softplus" else ".")
                )
            resolved[name] = link
        return resolved

    def check_target(self, y: Any, column: str = "the target") -> None:
        """Refuse targets that this family cannot have produced, naming rows, values and families that could.

        Raises:
            TargetError: for NaN, infinite values or values outside the support.
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
            + (f" Families that take such targets: {', '.join(takers)}." if takers and y.ndim == 1 else "")
            + advice
        )

    def check_known(self, known: Mapping[str, Tensor], columns: Mapping[str, str] | None = None) -> None:
        """Refuse quantities known per row that cannot be, such as an exposure of zero, naming rows, values and perhaps columns.

        Raises:
            ValueError: for NaN, infinite values or values that `known` does not allow.
        """
        for name, values in known.items():
            allowed = pick(f"known quantity of {self.name}", name, self.known)
            wrong = ~(allowed.check(values) & values.isfinite())
            if wrong.any():
                column = f" (column {columns[name]!r})" if columns else ""
                message = self._must_be(name + column, allowed, wrong, values)
                raise ValueError(f"{message} Drop or correct these rows; nothing is dropped silently.")

    def _on_edge(self, values: Tensor) -> bool:
        """Whether all the refused values lie exactly on the edge of the support, 0 (or 1 for a proportion)."""
        return bool(((values == 0) | (values == getattr(self.support, "upper_bound", 0))).all())

    def _check_parameters(self, dist: Distribution, given: Mapping[str, Tensor], rounding: Mapping[str, float]) -> None:
        for name in given:
            constraint = dist.arg_constraints.get(name)
            value = given[name]
            if constraint is None:
                continue
            constraint = getattr(constraint, "base_constraint", constraint)  # of each number
            if constraint is constraints.simplex:
                valid = (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < rounding[name])
            else:
                valid = constraint.check(value)
            if not valid.all():
                bad = ~valid.reshape(valid.shape + (1,) * (value.ndim - valid.ndim)).expand(value.shape)
                raise ValueError(self._must_be(name, constraint, bad, value))

    def _must_be(self, name: str, allowed: constraints.Constraint, bad: Tensor, values: Tensor) -> str:
        return f"{name} of {self.name} must be {describe(allowed)}, got {locate(bad, values)}."

    def _signature_error(self, given: Mapping[str, Tensor]) -> ValueError:
        accepted = [*self.parameters, *(n for n in ("probs",) if "logits" in self.parameters)]
        for name in given:
            if name not in accepted:
                return unknown_name(f"parameter of {self.name}", name, accepted)
        missing = [name for name in self.parameters if name not in given]
        return ValueError(
            f"{self.name} needs the parameters {', '.join(self.parameters)}; missing: {', '.join(missing)}."
        )

    def __repr__(self) -> str:
        links = ", ".join(f"{name}: {link}" for name, link in self.parameters.items())
        return f"{type(self).__name__}({links})"


def _rounding(value: Any) -> float:
    """How far from one probabilities of that precision may sum to."""
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return torch.finfo(getattr(torch, dtype)).eps if dtype in ("float16", "bfloat16") else 1e-6


def _fits(link: Link, default: Link, name: str) -> bool:
    if name == "logits":
        return link.has_logits and (
            link.name == "identity" or link.codomain is default.codomain or default.name == "identity"
        )
    if default.codomain is constraints.unit_interval:
        return link.codomain is constraints.unit_interval
    if default.is_positive:
        return link.is_positive and link.codomain is not constraints.unit_interval
    return link.codomain is default.codomain and link.raw_shape((2, 2)) == default.raw_shape((2, 2))


def describe(constraint: constraints.Constraint) -> str:
    names = {
        constraints.real: "any real number",
        constraints.positive: "positive",
        constraints.nonnegative: "zero or more",
        constraints.unit_interval: "between 0 and 1",
        constraints.simplex: "probabilities that sum to one",
        constraints.real_vector: "real numbers",
        constraints.lower_cholesky: "lower triangular with a positive diagonal",
    }
    if constraint not in names and isinstance(constraint, constraints.greater_than):
        return f"greater than {constraint.lower_bound:g}"
    return names.get(constraint, repr(constraint))


def _descendants(family: type[Family]) -> list[type[Family]]:
    found = []
    for child in family.__subclasses__():
        found += [child, *_descendants(child)]
    return found


def _table() -> dict[str, type[Family]]:
    """Name -> class: the class tree, in the order of figure 5.11 of Prince (2023), then by name."""
    found = [family for family in _descendants(Family) if "name" in family.__dict__]
    found.sort(key=lambda family: (family.__dict__.get("figure_row") or math.inf, family.name))
    return {family.name: family for family in found}


def families() -> list[str]:
    """The names of all families, those of figure 5.11 first.

    >>> families()[:3]
    ['normal', 'laplace', 'student_t']
    """
    return list(_table())


def get_family(name: "str | Family", *, event_shape: tuple[int, ...] = (), **options) -> Family:
    """The family of that name, with its options; a `Family` is passed through.

    `event_shape` is the shape of one target, from which a vector family takes its dimension; others leave it alone.

    Raises:
        ValueError: for an unknown family or option, with the nearest names.

    >>> get_family("normal").parameters["scale"].name
    'softplus'
    """
    if isinstance(name, Family):
        if options:
            raise ValueError(f"options {', '.join(options)} belong to a family given by name, got the Family {name!r}.")
        return name
    family = pick("family", name, _table())
    accepted = [option for option in inspect.signature(family).parameters if option not in ("args", "kwargs")]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(family).parameters.values())
    for option in options:
        if option not in accepted and not takes_any:
            raise unknown_name(f"option of {name}", option, accepted)
    if "event_shape" in accepted:
        options["event_shape"] = tuple(event_shape)
    return family(**options)


def _families_that_take(y: Tensor) -> list[str]:
    """Families for single numbers whose support holds every value of `y`."""
    found = []
    for name, family in _table().items():
        support = family.__dict__.get("support")
        if support is not None and support.event_dim == 0 and bool(support.check(y).all()):
            found.append(name)
    return found


def takes_classes(family: str) -> bool:
    """Whether the family of that name needs the number of classes, which the targets may give."""
    return "num_classes" in _options_of(family)


def takes_vectors(family: str) -> bool:
    """Whether the family of that name needs an event_shape, which the number of target columns may give."""
    return "event_shape" in _options_of(family)


def _options_of(family: str) -> Mapping[str, inspect.Parameter]:
    """What the family takes, by name; nothing of one that does not exist."""
    declared = _table().get(family) if isinstance(family, str) else None
    return {} if declared is None else inspect.signature(declared.__init__).parameters
