"""`Distribution`: what every distribution of the library has in common."""

import functools
import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, ClassVar, Literal, Protocol, Self, get_args

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor

from disthead.arrays import as_tensor, check_kind, class_indices

__all__ = [
    "CLASSES",
    "KINDS",
    "Distribution",
    "Kind",
    "Wrapper",
    "closed_under_affine",
    "positive",
    "quantiles",
    "root",
    "stored",
    "tensors",
    "wide",
    "with_fused_loss",
]

Kind = Literal[
    "continuous", "count", "direction", "binary", "classes", "ordinal", "ranking", "vector", "mixed"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# one of a few outcomes, each with a probability
CLASSES: tuple[Kind, ...] = ("binary", "classes", "ordinal")


def tensors(*values: Any) -> list:
    """Numbers, arrays and tensors as tensors of one floating dtype on one device, at least single precision; None stays None."""
    values = tuple(
        value if isinstance(value, (Tensor, int, float, NoneType)) else as_tensor(value)
        for value in values
    )
    given = [value for value in values if isinstance(value, Tensor)]
    dtype = torch.get_default_dtype()
    floating = [value.dtype for value in given if value.is_floating_point()]
    if floating:
        dtype = torch.float32
        for other in floating:
            dtype = torch.promote_types(dtype, other)
    device = next(
        (value.device for value in given if value.ndim), given[0].device if given else None
    )
    return [
        None if value is None else torch.as_tensor(value, dtype=dtype, device=device)
        for value in values
    ]


def positive(value: Tensor | None, log_value: Tensor | None) -> tuple[Tensor, Tensor]:
    """A positive parameter and its logarithm, either made from the other where only one is given.

    Both are kept because each is exact where the other is not: `log_value` where `value`
    underflows, `value` where it is large and its logarithm rounds it.
    """
    if value is None:
        if log_value is None:
            raise TypeError("a positive parameter needs its value or its logarithm")
        return log_value.exp(), log_value
    return value, value.log() if log_value is None else log_value


def root(variance: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0 instead of infinite."""
    none = variance == 0
    return torch.where(none, 0.0, torch.where(none, 1.0, variance).sqrt())


def wide(value: Tensor, log_value: Tensor | None = None) -> Tensor:
    """The value in double precision, through its logarithm where it underflowed in its own."""
    if value.dtype == torch.float64 or value.is_mps:  # mps has no double precision
        return value
    if log_value is None:
        return value.double()
    tiny = value <= 2 * torch.finfo(value.dtype).tiny
    return torch.where(tiny, log_value.double().exp(), value.double())


def quantiles(dist: "Distribution", levels: Tensor) -> Tensor:
    """The quantiles at several levels (K,), of one number for each distribution of the batch, all asked for at once: (K, ...).

    >>> from disthead import get_family
    >>> quantiles(get_family("exponential").distribution(rate=torch.ones(2)), torch.tensor([0.25, 0.5, 0.75]))
    tensor([[0.2877, 0.2877],
            [0.6931, 0.6931],
            [1.3863, 1.3863]])
    """
    shape = dist.batch_shape + dist.event_shape
    return dist.icdf(levels.to(dist.device).reshape(-1, *(1,) * len(shape)).expand(-1, *shape))


def _are_indices(values: Any, labels: Sequence) -> bool:
    """Whether they are no labels but numbers for them: in a tensor, or numbers where all labels are texts."""
    if isinstance(values, Tensor):
        return True
    return (
        all(isinstance(label, str) for label in labels) and np.asarray(values).dtype.kind in "biuf"
    )


def _dimensions_taken(index: Any) -> int:
    """Of how many dimensions one part of an index chooses."""
    if index is None or index is ...:
        return 0
    return index.ndim if str(getattr(index, "dtype", "")).endswith("bool") else 1


class stored:
    """A parameter by a name that the base class gives to something derived: `mean = stored()`."""

    def __set_name__(self, owner: type, name: str):
        self.name = name

    def __get__(self, dist: "Distribution | None", owner: type):
        return self if dist is None else dist.__getattr__(self.name)  # not set yet


_SPECIAL = {
    "brier": "it scores class probabilities.",
    "expected_cost": "decisions by a table of costs need classes.",
    "covariance": "only a vector of numbers has a matrix of covariances.",
    "marginals": "only a vector of numbers has coordinates.",
    "energy_score": "it scores vectors of numbers; crps(y) scores one number.",
    "top1": "only orders of items have a first place.",
    "pairwise": "only orders of items rank one before another.",
} | dict.fromkeys(
    ("aleatoric", "epistemic", "expected_entropy", "mutual_information"),
    "one model cannot tell noise from what it does not know; only an ensemble of several can.",
)


class LazyParameters(Protocol):
    """What a distribution was made of, more exact than its rounded parameters, which are made when they are asked for.

    A head's distribution has raw outputs here, or features and weights (`disthead.likelihood`).
    """

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def requires_grad(self) -> bool:
        """Whether the parameters have gradients."""
        ...

    @property
    def uses_fused_loss(self) -> bool:
        """Whether `log_prob` answers."""
        ...

    def make(self) -> "Distribution":
        """The distribution with its parameters."""
        ...

    def log_prob(self, y: Tensor) -> Tensor:
        """log_prob and its gradient in one pass, where `uses_fused_loss`."""
        ...

    def affine(self, loc: Tensor, scale: Tensor) -> "LazyParameters":
        """Of the distribution of loc + scale * y, where that is of the same kind."""
        ...

    def map(self, function: Callable[[Tensor], Tensor]) -> "LazyParameters":
        """The same with `function` applied to its tensors, as `Distribution.map` applies it to parameters."""
        ...

    def distribution(self) -> "Distribution":
        """The distribution, whose parameters may be lazy."""
        ...

    def in_double(self) -> "Distribution":
        """The distribution made anew, with every link computed in double precision."""
        ...


class _NotOffered(NotImplementedError, AttributeError):
    """A question that other families answer; an AttributeError too, so that `hasattr` says no."""


def with_fused_loss(log_prob: Callable) -> Callable:
    """A `log_prob` that the fused loss of a head's raw outputs answers where that applies (`disthead.likelihood`)."""

    @functools.wraps(log_prob)
    def answer(self: "Distribution", y: Tensor) -> Tensor:
        linked = self._linked
        if linked is None or not linked.uses_fused_loss or y.requires_grad or type(y) is not Tensor:
            return log_prob(self, y)
        shape = self._batch_shape + self._event_shape
        if y.shape != shape and not _expands(y.shape, shape):
            return log_prob(self, y)
        return linked.log_prob(y)

    return answer


def _expands(shape: Size, other: Size) -> bool:
    """Whether a tensor of that shape can be expanded to the other."""
    return len(shape) <= len(other) and all(
        size in (1, full) for size, full in zip(reversed(shape), reversed(other), strict=False)
    )


def closed_under_affine(affine: Callable) -> Callable:
    """An `affine` whose distribution is of the same class, so that its parameters can stay lazy."""

    @functools.wraps(affine)
    def answer(self: "Distribution", loc: Tensor, scale: Tensor) -> "Distribution":
        loc, scale = (
            torch.as_tensor(part, dtype=self.dtype, device=self.device) for part in (loc, scale)
        )
        linked = self._linked
        if linked is None or loc.requires_grad or scale.requires_grad:
            return affine(self, loc, scale)
        in_graph = torch.compiler.is_compiling() and linked.uses_fused_loss
        if not self._is_lazy and not in_graph:
            return affine(self, loc, scale)
        wide = loc.ndim or scale.ndim
        if (
            wide
            and torch.broadcast_shapes(loc.shape, scale.shape, self.batch_shape) != self.batch_shape
        ):
            return affine(self, loc, scale)
        return linked.affine(loc, scale).distribution()

    return answer


# What takes targets or levels as its first argument, and so arrays, lists and numbers too.
_TAKES_VALUES = (
    "log_prob",
    "cdf",
    "log_cdf",
    "log_survival",
    "icdf",
    "pit",
    "cdf_limits",
    "crps",
    "brier",
    "energy_score",
    "log_prob_and_sum",
)


_SELDOM_NUMBERS = frozenset({torch.bool, torch.complex32, torch.complex64, torch.complex128})


def _from_anything(method: Callable) -> Callable:
    """The method for whatever `as_tensor` takes; Python's numbers come in the precision of the distribution."""

    @functools.wraps(method)
    def answer(self: "Distribution", *arguments: Any, **options: Any) -> Any:
        if arguments:
            values = (
                arguments[0] if isinstance(arguments[0], Tensor) else self.as_values(arguments[0])
            )
            if values.dtype in _SELDOM_NUMBERS:
                check_kind(values, self.support)
            return method(self, values, *arguments[1:], **options)
        for name in ("y", "q"):
            if name in options:
                options[name] = self.as_values(options[name], name)
                check_kind(options[name], self.support, name)
        return method(self, **options)

    return answer


class Distribution(TorchDistribution):
    """A probability distribution: what a head returns and everything after it asks.

    It is a Pyro distribution (`pyro.sample`, `mask`, `to_event`, `expand`) and so a torch
    distribution, whose questions it answers completely:
    `log_prob cdf log_cdf log_survival icdf mean median mode variance stddev entropy sample rsample
    interval highest_density crps pit`. Where the mathematics has no answer the question raises
    NotImplementedError and says why.

    Nothing is validated here, so that it runs without host synchronisation and under
    `torch.compile`: parameter values are checked by `Family.distribution`, targets once, at the
    data boundary, by `Family.check_target`.

    Subclasses call `_store` with their parameters; `parameter_dims` says how many trailing
    dimensions of each belong to one distribution (1 for the logits of a categorical, 2 for a scale
    matrix).

    Attributes:
        kind: what one target is. Metrics, reports, recalibrations and predictions choose by it what
            to do.

            - "continuous": a number on the line or on part of it, with a density.
            - "count": a whole number.
            - "direction": an angle in radians, on a circle.
            - "binary": 0 or 1, where `probs` is the probability of 1.
            - "classes": the index of one of K classes without an order, each with its probability
              in `probs`.
            - "ordinal": the same of classes in their order.
            - "ranking": item indices, best first.
            - "vector": several numbers, dependent or independent; `marginals` is the distribution
              of each.
            - "mixed": a number with a density and, at some values, a probability, such as an amount
              that is often 0.
    """

    kind: Kind

    parameter_dims: ClassVar[dict[str, int]] = {}
    has_rsample = False
    class_labels: "Sequence | None" = None
    # What `to_event` and `affine` make: `Independent` and `Affine`, which are built on this class
    # and name themselves here.
    _independent: ClassVar[Any]
    _in_units: ClassVar[Any]
    _linked: "LazyParameters | None" = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in _TAKES_VALUES:
            owner = next((one for one in cls.__mro__ if name in one.__dict__), Distribution)
            if owner not in Distribution.__mro__ and (
                owner is cls or not issubclass(owner, Distribution)
            ):
                setattr(cls, name, _from_anything(owner.__dict__[name]))

    def as_values(
        self,
        values: Any,
        name: str = "y",
        *,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Targets or levels as a tensor: tensors as they are, arrays, columns of a table, lists and numbers by `as_tensor`.

        Where the classes have labels (`with_class_labels`), everything but a tensor holds labels,
        and becomes their indices; numbers are indices where all labels are texts. Labels of rows of
        weight 0 may be any, or missing; `ignore_index` stands for no class and stays as it is.

        Raises:
            TypeError: for what holds no numbers.
            TargetError: for labels that are none of the classes', with rows.
        """
        if self.class_labels is not None and not _are_indices(values, self.class_labels):
            rows_left_out = None if weight is None else (weight == 0).cpu().numpy()
            found = class_indices(
                values, self.class_labels, name, left_out=rows_left_out, ignore_index=ignore_index
            )
            return found.to(self.device)
        return as_tensor(values, name, dtype=self.dtype, device=self.device)

    def with_class_labels(self, labels: "Sequence | None") -> Self:
        """The same distribution, whose targets may also be given by the labels of the classes, in their order; None by index alone.

        >>> from disthead import get_family
        >>> dist = get_family("categorical", num_classes=2).distribution(probs=torch.tensor([0.25, 0.75]))
        >>> dist.with_class_labels(["cat", "dog"]).log_prob("dog").exp()
        tensor(0.7500)
        """
        new = self.map(lambda parameter: parameter)
        new.class_labels = labels
        return new

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        """Keep the parameters under their names, broadcast against each other over the batch."""
        batches = {
            name: p.ndim - self.parameter_dims.get(name, 0) for name, p in parameters.items()
        }
        shapes = [p.shape[: batches[name]] for name, p in parameters.items()]
        batch_shape = (
            shapes[0]
            if all(shape == shapes[0] for shape in shapes)
            else torch.broadcast_shapes(*shapes)
        )
        self._names = tuple(parameters)
        for name, parameter in parameters.items():
            if parameter.shape[: batches[name]] != batch_shape:
                parameter = parameter.expand(batch_shape + parameter.shape[batches[name] :])
            setattr(self, name, parameter)
        super().__init__(batch_shape, Size(event_shape), validate_args=False)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The distribution with `function` applied to each parameter: `dist.map(torch.detach)`, `dist.map(lambda p: p.cpu())`.

        The function may change the batch dimensions, which come first, and must leave the
        parameter's own, which come last.
        """
        if self._linked is not None and self._is_lazy:
            new: Self = self._linked.map(function).distribution()
            new.class_labels = self.class_labels
            return new
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._store(
            tuple(self.event_shape), **{name: function(getattr(self, name)) for name in self._names}
        )
        return new._linked_to(self._linked and self._linked.map(function))

    @classmethod
    def _lazy(
        cls, linked: LazyParameters, batch_shape: Size, event_shape: tuple[int, ...] = ()
    ) -> Self:
        """A distribution whose parameters are made when they are first asked for."""
        new = cls.__new__(cls)
        new._batch_shape, new._event_shape, new._linked = batch_shape, Size(event_shape), linked
        return new

    def _linked_to(self, linked: LazyParameters | None) -> Self:
        """Remember what the parameters were made of, so that double precision can start from what is exact."""
        self._linked = linked
        return self

    @property
    def _is_lazy(self) -> bool:
        """Whether the parameters have not been made yet."""
        return "_names" not in self.__dict__

    def __getitem__(self, index) -> Self:
        """The distributions at `index` of the batch: `dist[:10]`, `dist[rows]`."""
        index = index if isinstance(index, tuple) else (index,)
        taken = sum(_dimensions_taken(one) for one in index)
        if taken > len(self.batch_shape):
            raise IndexError(
                f"too many indices for the batch_shape {tuple(self.batch_shape)}: {index}"
            )
        # never into a parameter's own dimensions
        rest = (slice(None),) * (len(self.batch_shape) - taken)
        at = next((place for place, one in enumerate(index) if one is ...), len(index))
        whole = index[:at] + rest + index[at + 1 :]
        return self.map(lambda parameter: parameter[whole])

    def expand(self, batch_shape, _instance=None) -> Self:
        batch_shape, old = Size(batch_shape), len(self.batch_shape)
        return self.map(lambda parameter: parameter.expand(batch_shape + parameter.shape[old:]))

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> "Distribution":
        """Declare the last batch dimensions as one event of independent outputs, whose log-probabilities add up."""
        count = (
            len(self.batch_shape)
            if reinterpreted_batch_ndims is None
            else reinterpreted_batch_ndims
        )
        return self._independent(self, count) if count else self

    def affine(self, loc: Tensor, scale: Tensor) -> "Distribution":
        """The distribution of `loc + scale * y`, with the exact change of variable; `scale` is positive."""
        return self._in_units(self, loc, scale)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, as the family declares them."""
        names = ("logits" if name == "given_probs" else name for name in self._names)
        return {name: getattr(self, name) for name in names if not name.startswith("log_")}

    @property
    def dtype(self) -> torch.dtype:
        if self._linked is not None:
            return self._linked.dtype
        return getattr(self, self._names[0]).dtype

    @property
    def device(self) -> torch.device:
        if self._linked is not None:
            return self._linked.device
        return getattr(self, self._names[0]).device

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name}: {list(value.shape)}" for name, value in self.parameters.items()
        )
        return f"{type(self).__name__}({shapes})"

    @property
    def stddev(self) -> Tensor:
        return root(self.variance)

    def __getattr__(self, name: str):
        # Reached only where there is no such attribute: parameters that nobody has asked for yet,
        # and questions that some families alone can answer.
        linked = self.__dict__.get("_linked")
        if linked is not None and self._is_lazy and not name.startswith("__"):
            # With their gradient, though the first to ask may be one who needs none, such as
            # `sample`.
            with torch.set_grad_enabled(torch.is_grad_enabled() or linked.requires_grad):
                self.__dict__.update(linked.make().__dict__ | {"_linked": linked})
            return getattr(self, name)
        if name in _SPECIAL:
            raise _NotOffered(str(self._unanswered(name, _SPECIAL[name])))
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples, sample_shape + batch + event, drawn with `generator`, or with torch's global one where none is given."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    @property
    def has_enumerate_support(self) -> bool:
        """Whether there are few enough outcomes for `enumerate_support`, by which Pyro sums discrete variables out."""
        return self._outcomes() is not None

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All outcomes, (count,) + batch + event; without `expand` the batch dimensions have the size 1."""
        outcomes = self._outcomes()
        if outcomes is None:
            raise self._unanswered(
                "enumerate_support", f"it has more than {MOST_OUTCOMES} outcomes."
            )
        shape = outcomes.shape[:1] + (1,) * len(self.batch_shape) + outcomes.shape[1:]
        full = outcomes.shape[:1] + self.batch_shape + outcomes.shape[1:]
        return outcomes.reshape(shape).expand(full) if expand else outcomes.reshape(shape)

    def _outcomes(self) -> Tensor | None:
        """All outcomes of one distribution, (count,) + event, where there are few."""
        return None

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, where `has_rsample`."""
        raise self._unanswered(
            "rsample", "it has no samples that move with the parameters; use sample()."
        )

    def _unanswered(self, question: str, reason: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {question}: {reason}")


MOST_OUTCOMES = 1 << 16  # that are enumerated
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Wrapper(Distribution):
    """A distribution made from `base`, whose parameters, precision and device are its own."""

    base: Distribution

    @property
    def kind(self) -> Kind:
        return self.base.kind

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.base.parameters

    @property
    def dtype(self) -> torch.dtype:
        return self.base.dtype

    @property
    def device(self) -> torch.device:
        return self.base.device
