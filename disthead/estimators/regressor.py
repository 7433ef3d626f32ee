"""`DistributionRegressor`: regression whose prediction is a distribution."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_array, as_mapping
from disthead.data.values import as_quantities, parse_number, read_values
from disthead.diagnostics.targets import TargetWarning, check_continuous_target
from disthead.distributions.base import Distribution, quantiles
from disthead.distributions.censored import as_pairs, warn_of_none
from disthead.errors import TargetError, locate
from disthead.estimators.base import DistributionEstimator
from disthead.estimators.conventions import warn
from disthead.estimators.encoder import check_names_differ
from disthead.families import Arc, Interval
from disthead.families.family import (
    Family,
    get_family,
    takes_classes,
    takes_pairs,
    takes_vectors,
)

__all__ = ["DistributionRegressor"]


class DistributionRegressor(DistributionEstimator):
    """Regression by the default recipe: a scikit-learn estimator that predicts distributions.

    The recipe (docs/quality.md) is a multilayer perceptron on standardised numbers and their
    piecewise-linear encoding, with a head of the family. It minimises -dist.log_prob(y) or another
    objective, and stops at the best objective on rows held out.

    Args:
        family: the name of a family, see `disthead.families()`.
        family_options: options of the family, such as
            `{"component": "normal", "num_components": 5}` for a mixture, or `{"base": "weibull"}`
            for censored targets (docs/survival.md).
        ensemble: the number of networks, whose distributions are mixed. 8 networks predict better
            than one, and take two to three times as long.
        hidden_sizes: the sizes of the layers of the multilayer perceptron.
        max_steps: the largest number of training steps; None for that of the recipe.
        random_state: an integer for reproducible results, or a generator of NumPy; None draws a
            seed from torch's generator.
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        verbose: 1 shows the progress and the report.
        objective: what training minimises, "nll" or "crps" (docs/objectives.md), a name with
            options `{"name": ..., ...}`, or a function of (dist, y) that returns one number per
            row.
        row_constants: quantities of each row that the family takes (`disthead explain NAME`), with
            their columns of X, which are no features: `{"exposure": "months"}`, or the number of
            the column where X is an array, `{"total_count": 3}`.

    Attributes:
        model_: the trained `PredictiveModel`.
        n_features_in_: the number of columns of X.
        feature_names_in_: their names, where X is a data frame.
        report_: sentences on the encoding of the columns and the course of the training.

    >>> import numpy as np
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> model = DistributionRegressor(max_steps=20, random_state=0).fit(X, 3 * X[:, 0])
    >>> model.predict_dist(X[:5]).batch_shape
    torch.Size([5])
    """

    def __init__(
        self,
        family: str = "student_t",
        family_options: dict[str, Any] | None = None,
        ensemble: int = 1,
        hidden_sizes: Sequence[int] = (128, 128),
        max_steps: int | None = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: int = 0,
        objective: Any = "nll",
        row_constants: "dict[str, str | int] | None" = None,
    ):
        super().__init__(
            family,
            family_options,
            ensemble,
            hidden_sizes,
            max_steps,
            random_state,
            device,
            verbose,
            objective,
        )
        self.row_constants = row_constants

    def predict(
        self, X: Any, kind: Literal["mean", "median", "mode"] = "mean", cost: Any = None
    ) -> np.ndarray:
        """One number for each row, (N,), or (N, D) for several targets.

        Args:
            X: (N, P), as for `fit`.
            kind: "mean" minimises the expected squared error, "median" the expected absolute
                error, "mode" is the most probable value. Where there is no mean, as of cauchy,
                the median stands in its place.
            cost: a pair (cost_under, cost_over), the costs of a unit too low and too high. The
                result is then the decision with the least expected cost, as by `disthead.decide`,
                and `kind` is ignored.

        Raises:
            ValueError: for another kind.
        """
        if cost is not None:
            return self._numbers(self._decided(X, cost))
        if kind not in ("mean", "median", "mode"):
            raise ValueError(f"kind must be 'mean', 'median' or 'mode', got {kind!r}.")
        return self._numbers(self._evaluate(X, lambda dist: _point(dist, kind)))

    def predict_quantiles(self, X: Any, levels: "float | Sequence[float]") -> np.ndarray:
        """Quantiles of each row, (N, levels), or (N, D, levels) for several targets.

        Args:
            X: (N, P), as for `fit`.
            levels: between 0 and 1; a single number gives a result without the last dimension.

        Raises:
            ValueError: for other levels.
        """
        probabilities = torch.as_tensor(levels, dtype=torch.float64)
        if probabilities.ndim > 1 or not bool(((probabilities > 0) & (probabilities < 1)).all()):
            raise ValueError(f"levels must be numbers between 0 and 1, got {levels!r}.")

        def values(dist: Distribution) -> Tensor:
            return quantiles(_each_output(dist), probabilities.reshape(-1)).movedim(0, -1)

        result = self._numbers(self._evaluate(X, values, values_per_row=probabilities.numel()))
        return result[..., 0] if probabilities.ndim == 0 else result

    def predict_interval(self, X: Any, level: float = 0.9) -> Interval | Arc:
        """The central interval of each row: its lower and upper ends, each (N,), or (N, D).

        The probability beyond either end is (1 - level) / 2;
        `predict_dist(X).highest_density(level)` is the shortest interval.
        `model.predict_interval(X).contains(y)` says which targets are inside. For directions the
        interval is an arc, from the lower end anticlockwise to the upper one, which is the smaller
        number where the arc crosses the seam at -pi = pi.

        Args:
            X: (N, P), as for `fit`.
            level: the probability of the interval, between 0 and 1.

        Raises:
            ValueError: for another level.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}.")
        kinds: list[type[Interval] | type[Arc]] = []

        def ends(dist: Distribution) -> Tensor:
            interval = _each_output(dist).interval(level)
            kinds.append(type(interval))
            return torch.stack(tuple(interval), -1)

        result = self._numbers(self._evaluate(X, ends, values_per_row=2))
        return kinds[0](result[..., 0], result[..., 1])

    def predict_var(self, X: Any) -> np.ndarray:
        """The variance of the target in each row, (N,), or (N, D) for several targets."""
        return self._numbers(self._evaluate(X, lambda dist: dist.variance))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean log-likelihood of the targets, in nats per row; higher is better.

        It is not R^2.

        Args:
            X: (N, P), as for `fit`.
            y: targets, (N,), or (N, D) for several.
            sample_weight: (N,), zero or more.
        """
        return self._score(X, y, sample_weight)

    def _targets(self, y: Any, is_fit: bool = False) -> Tensor:
        if takes_pairs(self.family):
            return self._pairs(y, is_fit)
        array = _as_numbers(y, takes_truth=self.family == "bernoulli")
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim not in (1, 2):
            raise ValueError(
                f"y must have the shape (rows,) or (rows, targets), got {array.shape}."
            )
        targets = torch.from_numpy(array.astype(np.float64))
        missing = ~targets.isfinite()
        if missing.any():
            raise TargetError(
                f"Input y contains NaN or infinity: {locate(missing, targets)}. Drop these rows; "
                "nothing is dropped silently."
            )
        if is_fit:
            self.n_outputs_ = 1 if targets.ndim == 1 else targets.shape[1]
        elif self.n_outputs_ != (1 if targets.ndim == 1 else targets.shape[1]):
            raise ValueError(
                f"y must have {self.n_outputs_} targets for each row, as at fit, got {array.shape}."
            )
        return targets

    def _pairs(self, y: Any, is_fit: bool) -> Tensor:
        """Censored targets as pairs (N, 2), from pairs, times with events, or observed numbers."""
        array = _of_events(y)
        array = _as_numbers(y, takes_truth=False) if array is None else array
        pairs = as_pairs(torch.from_numpy(array.astype(np.float64)))
        if pairs.shape[1:] != (2,):
            raise ValueError(
                "y of the family censored must be pairs (lower, upper), shape (rows, 2), observed "
                f"numbers, or a structured array of events and times, got {array.shape}."
            )
        if is_fit:
            self.n_outputs_ = 1
        return pairs

    def _check_targets(self, targets: Tensor) -> None:
        if takes_classes(self.family):
            raise ValueError(
                f"{self.family} is for classes: use DistributionClassifier(family={self.family!r})."
            )
        if takes_vectors(self.family) and targets.ndim == 1:
            raise ValueError(
                f"{self.family} needs y of shape (rows, targets), got {tuple(targets.shape)}."
            )
        self._made_family(targets).check_target(targets, "y")

    def _warn_of_targets(self, targets: Tensor) -> None:
        family = self._made_family(targets)
        if family.is_censored:
            warn_of_none(targets)
        if not family.is_discrete and family.kind != "mixed":
            targets, _ = family.observed_rows(targets, None)
            for name, column in zip(
                self.target_names_, targets.reshape(len(targets), -1).unbind(1), strict=True
            ):
                what = "y" if self.n_outputs_ == 1 else f"column {name!r} of y"
                for message in check_continuous_target(column).messages:
                    warn(f"{what} has {message}", TargetWarning)

    def _made_family(self, targets: Tensor) -> Family:
        return get_family(self.family, event_shape=tuple(targets.shape[1:]), **self._options())

    def _options(self) -> dict[str, Any]:
        return as_mapping(self.family_options, "family_options", "{'num_components': 3}")

    @staticmethod
    def _numbers(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        inherited: Any = super()  # scikit-learn's class, once there is an instance
        tags = self._tags(inherited.__sklearn_tags__())
        # score is not R^2
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags(poor_score=True)
        tags.target_tags.multi_output = True
        return tags


def _each_output(dist: Distribution) -> Distribution:
    return dist.marginals if dist.kind == "vector" else dist


def _of_events(y: Any) -> np.ndarray | None:
    """Pairs (N, 2) of a structured array of events and times; None for anything else.

    scikit-survival's targets are such arrays: a field of truth values, true where the time is
    observed, and a field of times.
    """
    fields = getattr(getattr(y, "dtype", None), "fields", None)
    if not fields:
        return None
    kinds = {name: kind.kind for name, (kind, *_) in fields.items()}
    events, times = ([n for n, kind in kinds.items() if kind in of] for of in ("b", "iuf"))
    if len(kinds) != 2 or len(events) != 1 or len(times) != 1:
        raise ValueError(
            "y must have two fields, one of truth values (whether the time is observed) and one of "
            f"times, got {y.dtype}."
        )
    time = y[times[0]].astype(np.float64)
    return np.stack([time, np.where(y[events[0]], time, np.inf)], -1)


def _as_numbers(y: Any, takes_truth: bool) -> np.ndarray:
    """Targets in double precision, NaN where they are missing; each column is read by itself."""
    if hasattr(y, "columns"):
        check_names_differ(list(y.columns), "the columns of y")
        return np.stack([_as_numbers(y[name], takes_truth) for name in y.columns], -1)
    array = (
        y.detach().cpu().numpy()
        if isinstance(y, Tensor)
        else y
        if hasattr(y, "factorize")
        else as_array(y)
    )
    if array.ndim == 2:
        return (
            np.stack([_as_numbers(column, takes_truth) for column in array.T], -1)
            if array.shape[1]
            else array.astype(np.float64)
        )
    if array.ndim != 1:
        raise ValueError(f"y must have the shape (rows,) or (rows, targets), got {array.shape}.")
    values = read_values(array, "y")
    if values.kind == "truth" and not takes_truth:
        raise TargetError(
            "y must hold numbers, got truth values. For two classes use DistributionClassifier, "
            "or the family bernoulli; where they mean the numbers 0 and 1, try y.astype(float)."
        )
    if values.is_named and any(parse_number(level) is None for level in values.levels):
        bad = np.array([parse_number(level) is None for level in values.levels] + [False])[
            values.codes
        ]
        raise ValueError(
            f"y must hold numbers, got text in {values.first(bad)}. For classes use "
            "DistributionClassifier."
        )
    numbers = as_quantities(values).numbers
    assert numbers is not None
    return numbers


def _point(dist: Any, kind: str) -> Any:
    """The mean, the median or the mode; the median where there is no mean."""
    try:
        return getattr(dist, kind)
    except NotImplementedError:
        if kind != "mean":
            raise
        return dist.median
