"""The categorical distribution: one of several unordered classes."""

from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import as_integer, exactly_one
from disthead.distributions.base import (
    FUSED,
    MOST_OUTCOMES,
    Distribution,
    Kind,
    tensors,
    with_fused_loss,
)
from disthead.distributions.interval import Arc, Interval
from disthead.errors import TargetError, locate
from disthead.families.family import Family
from disthead.likelihood import (
    FEW_CLASSES,
    LinkedParameters,
    Logits,
    ManyLogits,
    Projection,
    class_log_prob,
)
from disthead.links import LINKS
from disthead.special.eager import is_tracing
from disthead.special.probabilities import divergence, entropy_term, expected, log_probability

__all__ = ["Categorical", "CategoricalFamily", "ClassFamily"]

_UNORDERED = "classes are unordered. Take the probabilities in `probs`"


class Categorical(Distribution):
    """Categorical distribution: p(k) = exp(logits_k) / sum_j exp(logits_j), k in {0, ..., K - 1}.

    A target is a class index, of integer or floating dtype, or a floating tensor of shape
    batch_shape + (K,) with a probability for each class: one-hot or soft labels, for which log_prob
    is minus the cross-entropy. Indices with sample dimensions in front of the batch should
    therefore be integers.

    A head's distribution of very many classes keeps features and weights instead of logits. Its
    `log_prob` goes over chunks of classes, all other methods over chunks of rows; logits are
    computed when they are used.

    Args:
        logits: unnormalised log-probabilities, shape (..., K).
        probs: probabilities, shape (..., K), which are normalised. Exactly one of logits and probs
            is given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> Categorical(logits=torch.zeros(3)).log_prob(torch.tensor(2))
    tensor(-1.0986)
    >>> Categorical(logits=torch.zeros(3)).log_prob(torch.tensor([0.1, 0.2, 0.7]))
    tensor(-1.0986)
    """

    kind: Kind = "classes"
    arg_constraints = {
        "logits": constraints.independent(constraints.real, 1),
        "probs": constraints.simplex,
    }
    parameter_dims = {"logits": 1, "given_probs": 1}
    given_probs: Tensor | None = None  # normalised; kept since a logit of -inf has no gradient

    def __init__(self, logits=None, *, probs=None):
        exactly_one("categorical", logits=logits, probs=probs)
        logits, probs = tensors(logits, probs)
        if probs is None:
            self._store(logits=logits)
        else:
            self._store(given_probs=probs / probs.sum(-1, keepdim=True))

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        super()._store(event_shape, **parameters)
        if "given_probs" in parameters:
            self.logits = log_probability(parameters["given_probs"])

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        linked: object = self._linked
        if isinstance(linked, (Projection, LinkedParameters)) and self._is_lazy:
            return linked.num_classes if isinstance(linked, Projection) else linked.raw.shape[-1]
        return self.logits.shape[-1]

    @property
    def _projection(self) -> Projection | None:
        """Features and weights of a distribution whose logits have not been computed; else None."""
        linked: object = self._linked
        return linked if isinstance(linked, Projection) and self._is_lazy else None

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.num_classes - 1)

    @property
    def probs(self) -> Tensor:
        """The probability of each class, shape (..., K)."""
        return self.logits.softmax(-1) if self.given_probs is None else self.given_probs

    @property
    def _log_probs(self) -> Tensor:
        return self.logits.log_softmax(-1) if self.given_probs is None else self.logits

    def _with_normalizer(self) -> tuple[Tensor, Tensor]:
        """Logits, and the logarithm of the sum of their exponentials."""
        if self.given_probs is not None:
            return self.logits, self.logits.new_zeros(self.batch_shape)
        # with the maximum at 0, logsumexp keeps its digits
        logits = self.logits - self.logits.amax(-1, keepdim=True).detach()
        return logits, logits.logsumexp(-1)

    @staticmethod
    def log_prob_and_grad(y: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """log_prob and its derivatives 1{k = y} - p_k by the logits.

        The last dimension is the row: y has shape (rows,), logits and derivatives (K, rows).
        """
        is_class = y == torch.arange(len(logits), device=logits.device).unsqueeze(-1)
        log_probs = torch.log_softmax(logits, 0)
        return torch.where(is_class, log_probs, 0.0).sum(0), is_class.to(
            logits.dtype
        ) - torch.softmax(logits, 0)

    def log_prob(self, y: Tensor) -> Tensor:
        projection = self._projection
        if (
            projection is not None
            and projection.uses_fused_loss
            and y.ndim <= len(self.batch_shape)
        ):
            return projection.log_prob(y)
        if self._is_soft(y):
            return self._soft_log_prob(y)
        if y.dtype == torch.float64:  # indices in double precision do not ask for double answers
            index = None if is_tracing() else y.long()
            if index is None or not torch.equal(index.double(), y):
                return self._plain_log_prob(y)
            y = index
        return self._hard_log_prob(y)

    setattr(log_prob, FUSED, True)

    def _mean_nll(self, y: Tensor) -> Tensor:
        if y.dtype != torch.float64:
            return super()._mean_nll(y)
        value = self.log_prob(y)
        return value.sum() / -value.numel()

    def _soft_log_prob(self, y: Tensor) -> Tensor:
        logits, normalizer = self._with_normalizer()
        return expected(y, logits) - y.sum(-1) * normalizer

    @with_fused_loss
    def _hard_log_prob(self, y: Tensor) -> Tensor:
        value = None if self.given_probs is not None else class_log_prob(self.logits, y)
        return self._plain_log_prob(y) if value is None else value

    def _plain_log_prob(self, y: Tensor) -> Tensor:
        """log_prob of class indices by plain operations; -inf for numbers that are no index."""
        logits, normalizer = self._with_normalizer()
        inside = (y >= 0) & (y < self.num_classes) & (y == y.floor())
        index = torch.where(inside, y, 0).long()
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        # one distribution for all targets: no gradient for each of them is held
        if logits.ndim == 1:
            chosen = logits.index_select(0, index.reshape(-1)).reshape(shape)
        else:
            chosen = (
                logits.expand(shape + logits.shape[-1:])
                .gather(-1, index.expand(shape).unsqueeze(-1))
                .squeeze(-1)
            )
        return torch.where(inside, chosen - normalizer, -torch.inf)

    def log_prob_and_sum(self, y: Tensor, class_weight: Tensor) -> tuple[Tensor, Tensor]:
        """log_prob(y) and sum_k class_weight_k log p_k, in one pass, both of shape (...,).

        Label smoothing adds the sum to a loss.

        Args:
            y: class indices, shape (...,).
            class_weight: shape (K,).

        >>> Categorical(logits=torch.zeros(2)).log_prob_and_sum(torch.tensor(0), torch.ones(2))
        (tensor(-0.6931), tensor(-1.3863))
        """
        projection = self._projection
        if projection is not None and projection.uses_fused_loss:
            return projection.log_prob_and_sum(y, class_weight)
        return self.log_prob(y), torch.where(class_weight == 0, 0.0, self._log_probs) @ class_weight

    def _is_soft(self, y: Tensor) -> bool:
        return (
            y.is_floating_point()
            and y.ndim > len(self.batch_shape)
            and y.shape[-1] == self.num_classes
        )

    @property
    def mode(self) -> Tensor:
        """The most probable class; the first of equally probable ones."""
        return self._by_rows(lambda dist: dist.logits.argmax(-1))

    def _by_rows(self, answer: Callable[["Categorical"], Tensor]) -> Tensor:
        """The answer, of shape batch + (...), by chunks of rows where there are no logits yet."""
        projection = self._projection
        if projection is None:
            return answer(self)
        rows = torch.cat([answer(chunk) for chunk in projection.chunks()])
        return rows.reshape(self.batch_shape + rows.shape[1:])

    def entropy(self) -> Tensor:
        """The entropy -sum_k p_k log p_k, in nats."""
        return self._by_rows(Categorical._entropy)

    def _entropy(self) -> Tensor:
        log_probs = self._log_probs
        return -entropy_term(
            log_probs.exp() if self.given_probs is None else self.given_probs, log_probs
        ).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples: class indices of integer dtype, shape sample_shape + batch."""
        sample_shape = Size(sample_shape)
        count = sample_shape.numel()
        drawn = self._by_rows(
            lambda dist: torch.multinomial(
                dist.probs.reshape(-1, dist.num_classes),
                count,
                replacement=True,
                generator=generator,
            )
        )
        return drawn.reshape(-1, count).mT.reshape(sample_shape + self.batch_shape)

    def _outcomes(self) -> Tensor | None:
        return (
            torch.arange(self.num_classes, device=self.device)
            if self.num_classes <= MOST_OUTCOMES
            else None
        )

    def brier(self, y: Tensor) -> Tensor:
        """The Brier score sum_k (p_k - 1{y = k})^2, from 0 to 2; lower is better.

        Soft labels take the place of 1{y = k}.
        """
        if not self._is_soft(y):
            y = (y.unsqueeze(-1) == torch.arange(self.num_classes, device=y.device)).to(self.dtype)
        return (self.probs - y).square().sum(-1)

    def expected_cost(self, cost: Tensor) -> Tensor:
        """The expected cost of each action, shape (..., actions).

        Args:
            cost: the cost of each action for each true class, shape (actions, K).
        """
        by_class = torch.as_tensor(cost, dtype=self.dtype, device=self.device).mT
        return self._by_rows(lambda dist: dist.probs @ by_class)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Categorical":
        projection = self._projection
        if projection is None:
            return super().map(function)
        if function is torch.detach:
            return projection.map(function).distribution()
        return Categorical(logits=function(self.logits))

    def __getitem__(self, index) -> "Categorical":
        projection = self._projection
        if projection is None:
            return super().__getitem__(index)
        return projection[index if isinstance(index, tuple) else (index,)].distribution()

    def __repr__(self) -> str:
        return f"Categorical(logits: {[*self.batch_shape, self.num_classes]})"

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        reason = (
            "classes do not move continuously with the parameters. Use sample(), and log_prob for "
            "a score-function gradient"
        )
        raise self._unanswered("rsample", reason)

    @property
    def mean(self) -> Tensor:
        raise self._unanswered("mean", _UNORDERED)

    @property
    def median(self) -> Tensor:
        raise self._unanswered("median", _UNORDERED)

    @property
    def variance(self) -> Tensor:
        raise self._unanswered("variance", _UNORDERED)

    @property
    def stddev(self) -> Tensor:
        raise self._unanswered("stddev", _UNORDERED)

    def cdf(self, y: Tensor) -> Tensor:
        raise self._unanswered("cdf", _UNORDERED)

    def log_cdf(self, y: Tensor) -> Tensor:
        raise self._unanswered("log_cdf", _UNORDERED)

    def log_survival(self, y: Tensor) -> Tensor:
        raise self._unanswered("log_survival", _UNORDERED)

    def icdf(self, q: Tensor) -> Tensor:
        raise self._unanswered("icdf", _UNORDERED)

    def interval(self, level: float) -> Interval | Arc:
        raise self._unanswered("interval", _UNORDERED)

    def highest_density(self, level: float) -> Interval | Arc:
        raise self._unanswered("highest_density", _UNORDERED)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._unanswered("cdf_limits", _UNORDERED)

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise self._unanswered("pit", _UNORDERED)

    def crps(self, y: Tensor) -> Tensor:
        raise self._unanswered("crps", _UNORDERED + "; brier(y) scores them")

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise self._unanswered("affine", _UNORDERED)


@register_kl(Categorical, Categorical)
def _kl_categorical(p: Categorical, q: Categorical) -> Tensor:
    """sum_k p_k log(p_k / q_k), in nats."""
    return divergence(p.probs, p._log_probs, q._log_probs)


class ClassFamily(Family):
    """A family of K classes, whose targets are class indices or class probabilities.

    Args:
        num_classes: the number of classes K, at least 2.

    Raises:
        ValueError: without num_classes, or with fewer than 2.
    """

    data_type = "univariate, discrete, bounded"
    domain = "y in {0, ..., K - 1}"

    def __init__(self, num_classes: int | None = None):
        if num_classes is None:
            raise ValueError(
                f"{self.name} needs num_classes, the number of classes: get_family({self.name!r}, "
                "num_classes=3)."
            )
        self.num_classes = as_integer(num_classes, "num_classes", 2)
        self.support = constraints.integer_interval(0, self.num_classes - 1)

    def shares(self, y: Tensor) -> Tensor:
        """The share of the rows of each class, (..., K); a class without rows gets half a row."""
        index = y.long().reshape(len(y), -1).mT
        counts = torch.zeros(len(index), self.num_classes, dtype=torch.float64, device=y.device)
        counts = counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype))
        return counts.reshape(*y.shape[1:], self.num_classes).clamp(min=0.5) / len(y)

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        """Check class indices 0, ..., K - 1, or class probabilities (..., K).

        Raises:
            TargetError: for anything else, naming rows and values.
        """
        if (
            y.is_floating_point()
            and y.ndim > 1
            and y.shape[-1] == self.num_classes
            and y.isfinite().all()
        ):
            rounding = max(1e-4, torch.finfo(y.dtype).eps)
            valid = (y >= 0).all(-1) & ((y.double().sum(-1) - 1).abs() < rounding)
            if valid.all():
                return
            if not (y == y.floor()).all():
                raise TargetError(
                    f"{column} must be class indices, or class probabilities that sum to 1 over "
                    f"the last dimension, got the sums {locate(~valid, y.sum(-1))}."
                )
        wrong = y.isfinite() & ~self.support.check(y)
        if wrong.any():
            raise TargetError(
                f"{column} must be a class index 0, ..., {self.num_classes - 1} "
                f"(num_classes={self.num_classes}), got {locate(wrong, y)}. "
                "Number the classes from 0, or set num_classes to one more than the largest index."
            )
        super().check_target(y, column)


class CategoricalFamily(ClassFamily):
    """The categorical family: p(k) = exp(logits_k) / sum_j exp(logits_j), k in {0, ..., K - 1}.

    Its parameter is `logits`, shape (..., K).

    Args:
        num_classes: the number of classes K, at least 2.

    Raises:
        ValueError: without num_classes, or with fewer than 2.
    """

    name = "categorical"
    figure_row = 9
    parameters = {"logits": LINKS["softmax"]}
    support: constraints.Constraint = constraints.nonnegative_integer  # of K classes in an instance
    distribution_class = Categorical
    use = "multiclass classification"
    loss = "cross-entropy"
    noise = "One of K unordered classes, with odds set by the features."
    density = "p(k) = exp(logits_k) / sum_j exp(logits_j)"
    breaks = (
        "An order among the classes is lost: a near miss costs what a far one does. Networks grow "
        "too sure of themselves."
    )
    remedy = (
        "ordinal for classes that have an order, poisson or negative_binomial for counts, soft "
        "labels for doubtful classes, recalibration for overconfidence."
    )

    def __init__(self, num_classes: int | None = None):
        super().__init__(num_classes)
        self.shapes = {"logits": (self.num_classes,)}
        self.linked_class = Logits if self.num_classes < FEW_CLASSES else ManyLogits

    def make(self, **parameters: Tensor) -> Categorical:
        return Categorical(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"logits": self.shares(y).log()}
