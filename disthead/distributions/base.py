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
from disthead.errors import locate
from disthead.special.eager import are_concrete

__all__ = [
    "CLASSES",
    "FUSED",
    "KINDS",
    "Distribution",
    "Kind",
    "SameNumbers",
    "Wrapper",
    "check_distribution",
    "closed_under_affine",
    "logits_of",
    "positive",
    "quantiles",
    "root",
    "stored",
    "tensors",
    "to_double",
    "with_fused_loss",
]

Kind = Literal[
    "continuous",
    "count",
    "direction",
    "binary",
    "classes",
    "ordinal",
    "ranking",
    "sequence",
    "vector",
    "mixed",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# one of a few outcomes, each with a probability
CLASSES: tuple[Kind, ...] = ("binary", "classes", "ordinal")


def tensors(*values: Any) -> list:
    """The values as tensors of one floating dtype, at least float32, on one device.

    Args:
        values: tensors, arrays, numbers or None, which stays None. The dtype is the widest floating
            dtype of the tensors; the device is that of the first tensor with a dimension.
    """
    values = tuple(
        value if isinstance(value, (Tensor, int, float, NoneType)) else as_tensor(value)
        for value in values
    )
    own = [value for value in values if isinstance(value, Tensor)]
    dtype = torch.get_default_dtype()
    floating = [value.dtype for value in own if value.is_floating_point()]
    if floating:
        dtype = torch.float32
        for other in floating:
            dtype = torch.promote_types(dtype, other)
    device = next((value.device for value in own if value.ndim), own[0].device if own else None)
    return [
        None if value is None else torch.as_tensor(value, dtype=dtype, device=device)
        for value in values
    ]


def positive(value: Tensor | None, log_value: Tensor | None) -> tuple[Tensor, Tensor]:
    """A positive parameter and its logarithm, each computed from the other where it is None.

    Both are kept because each is exact where the other is not: `log_value` where `value`
    underflows, `value` where it is large and its logarithm is rounded.

    Raises:
        TypeError: where both are None.
    """
    if value is None:
        if log_value is None:
            raise TypeError("a positive parameter needs its value or its logarithm")
        return log_value.exp(), log_value
    return value, value.log() if log_value is None else log_value


def logits_of(probability: Tensor | None, logits: Tensor | None) -> Tensor:
    """The logits of a probability, from it in double precision, which keeps its digits, where None.

    Raises:
        TypeError: where both are None.
    """
    if logits is not None:
        return logits
    if probability is None:
        raise TypeError("a probability needs its value or its logits")
    return torch.logit(to_double(probability))


def root(variance: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0 instead of infinity."""
    none = variance == 0
    return torch.where(none, 0.0, torch.where(none, 1.0, variance).sqrt())


def to_double(value: Tensor, log_value: Tensor | None = None) -> Tensor:
    """The value in double precision, computed from its logarithm where the value underflowed.

    Values on devices without double precision (mps) are returned as they are.
    """
    if value.dtype == torch.float64 or value.is_mps:  # mps has no double precision
        return value
    if log_value is None:
        return value.double()
    tiny = value <= 2 * torch.finfo(value.dtype).tiny
    return torch.where(tiny, log_value.double().exp(), value.double())


def check_distribution(dist: object) -> None:
    """Refuse raw outputs, predictions and other values in place of a distribution.

    Raises:
        TypeError: with what to do.
    """
    if not isinstance(dist, torch.distributions.Distribution):
        what = f"a tensor of shape {tuple(dist.shape)}" if isinstance(dist, Tensor) else repr(dist)
        raise TypeError(
            f"the first argument must be a distribution, got {what[:80]}. Make one of the raw "
            "outputs of a network: dist = disthead.get_family(...).from_raw(raw), or "
            "dist = head(features) by a disthead.DistributionHead."
        )


def quantiles(dist: "Distribution", levels: Tensor) -> Tensor:
    """The quantiles at several levels, by one call of `icdf`.

    Args:
        dist: a distribution of one number, or of independent numbers.
        levels: probabilities, shape (K,).

    Returns:
        a tensor of shape (K,) + batch + event.

    >>> from disthead import get_family
    >>> waiting_time = get_family("exponential").distribution(rate=torch.ones(2))
    >>> quantiles(waiting_time, torch.tensor([0.25, 0.5, 0.75]))
    tensor([[0.2877, 0.2877],
            [0.6931, 0.6931],
            [1.3863, 1.3863]])
    """
    shape = dist.batch_shape + dist.event_shape
    return dist.icdf(levels.to(dist.device).reshape(-1, *(1,) * len(shape)).expand(-1, *shape))


def _are_indices(values: Any, labels: Sequence) -> bool:
    """Whether the values are class indices: a tensor, or numbers where all labels are texts."""
    if isinstance(values, Tensor):
        return True
    return (
        all(isinstance(label, str) for label in labels) and np.asarray(values).dtype.kind in "biuf"
    )


def _dimensions_taken(index: Any) -> int:
    """The number of dimensions that one part of an index consumes."""
    if index is None or index is ...:
        return 0
    return index.ndim if str(getattr(index, "dtype", "")).endswith("bool") else 1


class stored:
    """A descriptor for a parameter with the name of a property of the base: `mean = stored()`."""

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
    "top1": "only rankings of items have a first place.",
    "pairwise": "only rankings of items place one before another.",
} | dict.fromkeys(
    ("aleatoric", "epistemic", "expected_entropy", "mutual_information"),
    "one model cannot tell noise from what it does not know; only an ensemble of several can.",
)


class LazyParameters(Protocol):
    """What the parameters of a distribution are computed from, when they are first used.

    A head's distribution keeps its raw outputs (unconstrained parameters), or features and weights
    (`disthead.likelihood`). These are more exact than parameters rounded to single precision.
    """

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        ...

    @property
    def requires_grad(self) -> bool:
        """Whether the parameters have gradients."""
        ...

    @property
    def uses_fused_loss(self) -> bool:
        """Whether `log_prob` can be called."""
        ...

    def make(self) -> "Distribution":
        """The distribution with its parameters computed."""
        ...

    def parameter(self, name: str) -> Tensor | None:
        """One parameter alone, as the distribution that is made has it; None where all are made."""
        ...

    def log_prob(self, y: Tensor) -> Tensor:
        """log_prob with its gradient in one pass; only where `uses_fused_loss`."""
        ...

    def mean_nll(self, y: Tensor) -> Tensor:
        """The mean of -log_prob(y) over at least one row; only where `uses_fused_loss`."""
        ...

    def affine(self, loc: Tensor, scale: Tensor) -> "LazyParameters":
        """Those of the distribution of loc + scale * y, where that has the same class."""
        ...

    def map(self, function: Callable[[Tensor], Tensor]) -> "LazyParameters":
        """The same with `function` applied to each tensor, as in `Distribution.map`."""
        ...

    def distribution(self) -> "Distribution":
        """The distribution, whose parameters may still be lazy."""
        ...

    def in_double(self) -> "Distribution":
        """The distribution with every link computed in double precision."""
        ...


class _NotOffered(NotImplementedError, AttributeError):
    """A method that only other families have; an AttributeError too, so that `hasattr` is False."""


def with_fused_loss(log_prob: Callable) -> Callable:
    """A decorator of `log_prob`: where it can, it calls the fused loss of a head's raw outputs.

    The fused loss (`disthead.likelihood`) computes the value and its gradient in one pass. It is
    used for targets of the shape of the batch (or one that expands to it) that need no gradient.
    """

    @functools.wraps(log_prob)
    def answer(self: "Distribution", y: Tensor) -> Tensor:
        linked = _fused_loss(self, y)
        return log_prob(self, y) if linked is None else linked.log_prob(y)

    setattr(answer, FUSED, True)
    return answer


FUSED = "has_fused_loss"  # an attribute of such a method, which decorators around it keep


def _fused_loss(dist: "Distribution", y: Tensor) -> LazyParameters | None:
    """What answers for these targets by the fused loss; None where it does not apply."""
    linked = dist._linked
    if linked is None or not linked.uses_fused_loss or y.requires_grad or type(y) is not Tensor:
        return None
    shape = dist._batch_shape + dist._event_shape
    return linked if y.shape == shape or _expands(y.shape, shape) else None


def _expands(shape: Size, other: Size) -> bool:
    """Whether a tensor of that shape can be expanded to the other."""
    return len(shape) <= len(other) and all(
        size in (1, full) for size, full in zip(reversed(shape), reversed(other), strict=False)
    )


def closed_under_affine(affine: Callable) -> Callable:
    """A decorator of an `affine` that returns the same class, so that parameters can stay lazy."""

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
        has_batch = loc.ndim or scale.ndim
        if (
            has_batch
            and torch.broadcast_shapes(loc.shape, scale.shape, self.batch_shape) != self.batch_shape
        ):
            return affine(self, loc, scale)
        return linked.affine(loc, scale).distribution()

    return answer


def _with_positive_scale(affine: Callable) -> Callable:
    """The method `affine`, with a check of the scale where it is a number that can be looked at."""

    @functools.wraps(affine)
    def answer(self: "Distribution", loc: Any, scale: Any) -> "Distribution":
        if not isinstance(scale, Tensor) or not isinstance(loc, Tensor):
            loc, scale = (
                torch.as_tensor(part, dtype=self.dtype, device=self.device) for part in (loc, scale)
            )
        can_look = are_concrete(scale) and scale.dtype in (torch.float32, torch.float64)
        # by NumPy, in a fifth of torch's time; 0 may be a positive number that underflowed
        if can_look and (scale.detach().numpy() < 0).any():
            raise ValueError(
                f"scale of affine must be positive, got {locate(scale < 0, scale)}. For the "
                "distribution of -y, change the sign of the targets that the model learns."
            )
        return affine(self, loc, scale)

    return answer


# Methods whose first argument is targets or levels: tensors, arrays, lists or numbers.
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
    """The method for anything that `as_tensor` takes; numbers get the dtype of the distribution."""

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
    """A probability distribution: what a head returns and what every later stage takes.

    It is a Pyro distribution (`pyro.sample`, `mask`, `to_event`, `expand`) and so a torch
    distribution, with the complete set of methods
    `log_prob cdf log_cdf log_survival icdf mean median mode variance stddev entropy sample rsample
    interval highest_density crps pit`. A method that is not defined mathematically raises
    NotImplementedError and says why.

    Methods validate nothing, so that they run without host synchronisation and under
    `torch.compile`. Parameter values are checked by `Family.distribution`, targets once, where the
    data come in, by `Family.check_target`.

    Subclasses call `_store` with their parameters. `parameter_dims` says how many trailing
    dimensions of each parameter belong to one distribution (1 for the logits of a categorical, 2
    for a scale matrix).

    Attributes:
        kind: what one target is. Metrics, reports, recalibrations and predictions depend on it.

            - "continuous": a number on the line or on part of it, with a density.
            - "count": a whole number.
            - "direction": an angle in radians, on a circle.
            - "binary": 0 or 1, where `probs` is the probability of 1.
            - "classes": the index of one of K classes without an order, each with its probability
              in `probs`.
            - "ordinal": the same for classes that have an order.
            - "ranking": item indices, best first.
            - "sequence": labels in a row, padded with -1.
            - "vector": several numbers, dependent or independent; `marginals` holds the
              distribution of each number.
            - "mixed": a number that has a density and, at some values, a probability, such as an
              amount that is often 0.
        is_censored: whether a target may also be a pair (lower, upper) between which the number
            lies (`disthead.distributions.censored`).
    """

    kind: Kind
    is_censored: bool = False

    parameter_dims: ClassVar[dict[str, int]] = {}
    has_rsample = False
    class_labels: "Sequence | None" = None
    # `Independent` and `Affine`, which `to_event` and `affine` make: they derive from this class
    # and set themselves here.
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
        if "affine" in cls.__dict__:
            cls.affine = _with_positive_scale(cls.__dict__["affine"])  # type: ignore[method-assign]

    def as_values(
        self,
        values: Any,
        name: str = "y",
        *,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Targets or levels as a tensor.

        Tensors stay as they are; arrays, columns of a table, lists and numbers are converted by
        `as_tensor`. Where the classes have labels (`with_class_labels`), everything but a tensor
        holds labels, which become indices; numbers are indices where all labels are texts.

        Args:
            values: targets, or levels of quantiles.
            name: what errors call the values.
            weight: one weight for each row. Labels in rows of weight 0 may be unknown or missing.
            ignore_index: a value that stands for no class and stays as it is.

        Raises:
            TypeError: for values that are no numbers.
            TargetError: for labels that belong to no class, naming rows.
        """
        if self.class_labels is not None and not _are_indices(values, self.class_labels):
            rows_left_out = None if weight is None else (weight == 0).cpu().numpy()
            indices = class_indices(
                values, self.class_labels, name, left_out=rows_left_out, ignore_index=ignore_index
            )
            return indices.to(self.device)
        return as_tensor(values, name, dtype=self.dtype, device=self.device)

    def _mean_nll(self, y: Tensor) -> Tensor:
        """The mean of -log_prob(y) over at least one row, in one operation by the fused loss."""
        if hasattr(type(self).log_prob, FUSED):
            linked = _fused_loss(self, y)
            if linked is not None and y.shape == self._batch_shape + self._event_shape:
                return linked.mean_nll(y)
        value = self.log_prob(y)
        return value.sum() / -value.numel()

    def with_class_labels(self, labels: "Sequence | None") -> Self:
        """The same distribution, whose targets may also be labels of the classes.

        Args:
            labels: one label for each class, in order; None allows indices only.

        >>> from disthead import get_family
        >>> animal = get_family("categorical", num_classes=2)
        >>> dist = animal.distribution(probs=torch.tensor([0.25, 0.75]))
        >>> dist.with_class_labels(["cat", "dog"]).log_prob("dog").exp()
        tensor(0.7500)
        """
        new = self.map(lambda parameter: parameter)
        new.class_labels = labels
        return new

    def _set_parameters(self, **parameters: Any) -> None:
        """Set the parameters from tensors, arrays or numbers, with their logarithms.

        A parameter `scale` that comes with `log_scale` is positive; one of both may be None.

        Raises:
            TypeError: for a parameter that is None, and so is its logarithm.
        """
        values = dict(zip(parameters, tensors(*parameters.values()), strict=True))
        for name in parameters:
            log_name = "log_" + name
            if log_name in parameters:
                values[name], values[log_name] = positive(values[name], values[log_name])
        self._store(**values)

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        """Set the parameters as attributes, broadcast over the batch.

        Raises:
            TypeError: for a parameter that is None.
        """
        absent = [name for name, parameter in parameters.items() if parameter is None]
        if absent:
            raise TypeError(f"{type(self).__name__} needs a value of {' and '.join(absent)}.")
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
        """The distribution with `function` applied to each parameter: `dist.map(torch.detach)`.

        The function may change the batch dimensions, which come first. It must keep the dimensions
        of the parameter itself, which come last.
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
        """A distribution whose parameters are computed when they are first used."""
        new = cls.__new__(cls)
        new._batch_shape, new._event_shape, new._linked = batch_shape, Size(event_shape), linked
        return new

    def _linked_to(self, linked: LazyParameters | None) -> Self:
        """Keep what the parameters were computed from, for answers in double precision."""
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
        """The distribution whose last batch dimensions are one event of independent outputs.

        Log-probabilities of the outputs add up.

        Args:
            reinterpreted_batch_ndims: how many dimensions; None takes all.
        """
        count = (
            len(self.batch_shape)
            if reinterpreted_batch_ndims is None
            else reinterpreted_batch_ndims
        )
        return self._independent(self, count) if count else self

    @_with_positive_scale
    def affine(self, loc: Tensor, scale: Tensor) -> "Distribution":
        """The distribution of loc + scale * y, by the exact change of variable.

        Args:
            loc: shape batch, or batch + event for vectors; or a number.
            scale: positive, of the same shape.

        Raises:
            ValueError: for a negative scale, naming rows.
        """
        return self._in_units(self, loc, scale)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name, as the family declares them."""
        names = ("logits" if name == "given_probs" else name for name in self._names)
        return {name: getattr(self, name) for name in names if not name.startswith("log_")}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        if self._linked is not None:
            return self._linked.dtype
        return getattr(self, self._names[0]).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
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
        # Called only where there is no such attribute: for parameters that have not been computed
        # yet, and for methods that only some families have.
        linked = self.__dict__.get("_linked")
        if linked is not None and self._is_lazy and not name.startswith("__"):
            # With gradients, even where the first use needs none, as in `sample`.
            with torch.set_grad_enabled(torch.is_grad_enabled() or linked.requires_grad):
                one = linked.parameter(name)
                if one is not None:
                    self.__dict__[name] = one
                    return one
                self.__dict__.update(linked.make().__dict__ | {"_linked": linked})
            return getattr(self, name)
        if name in _SPECIAL:
            raise _NotOffered(str(self._unanswered(name, _SPECIAL[name])))
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples of shape sample_shape + batch + event.

        Args:
            sample_shape: the shape in front of the batch.
            generator: the source of random numbers; None takes torch's global one.
        """
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    @property
    def has_enumerate_support(self) -> bool:
        """Whether there are at most 65536 outcomes, so that Pyro can sum the variable out."""
        return self._outcomes() is not None

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All outcomes, shape (count,) + batch + event.

        Args:
            expand: False keeps the batch dimensions at size 1.

        Raises:
            NotImplementedError: where `has_enumerate_support` is False.
        """
        outcomes = self._outcomes()
        if outcomes is None:
            raise self._unanswered(
                "enumerate_support", f"it has more than {MOST_OUTCOMES} outcomes."
            )
        shape = outcomes.shape[:1] + (1,) * len(self.batch_shape) + outcomes.shape[1:]
        full = outcomes.shape[:1] + self.batch_shape + outcomes.shape[1:]
        return outcomes.reshape(shape).expand(full) if expand else outcomes.reshape(shape)

    def _outcomes(self) -> Tensor | None:
        """All outcomes of one distribution, (count,) + event; None where there are too many."""
        return None

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients by the parameters (reparametrised), where `has_rsample`."""
        raise self._unanswered(
            "rsample", "it has no samples that move with the parameters; use sample()."
        )

    def _unanswered(self, question: str, reason: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {question}: {reason}")


MOST_OUTCOMES = 1 << 16  # of `enumerate_support`
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Wrapper(Distribution):
    """A distribution made from a `base`, with the parameters, dtype and device of the base."""

    base: Distribution

    @property
    def kind(self) -> Kind:
        return self.base.kind

    @property
    def is_censored(self) -> bool:
        return self.base.is_censored

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


class SameNumbers(Wrapper):
    """A wrapper whose answers about single numbers are those of its base.

    What such wrappers change is the target: several numbers, or pairs around one.
    """

    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self.base.sample(sample_shape, generator)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self.base.rsample(sample_shape, generator)

    @property
    def mean(self) -> Tensor:
        return self.base.mean

    @property
    def median(self) -> Tensor:
        return self.base.median

    @property
    def mode(self) -> Tensor:
        return self.base.mode

    @property
    def variance(self) -> Tensor:
        return self.base.variance

    @property
    def stddev(self) -> Tensor:
        return self.base.stddev

    def cdf(self, y: Tensor) -> Tensor:
        return self.base.cdf(y)

    def icdf(self, q: Tensor) -> Tensor:
        return self.base.icdf(q)
