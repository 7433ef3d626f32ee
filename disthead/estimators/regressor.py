"""`DistributionRegressor`: numbers as targets, their distribution as the prediction."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_array, as_mapping
from disthead.data.values import as_quantities, parse_number, read_values
from disthead.diagnostics.targets import TargetWarning, check_continuous_target
from disthead.distributions.base import Distribution, quantiles
from disthead.errors import TargetError, locate
from disthead.estimators.base import DistributionEstimator
from disthead.estimators.conventions import warn
from disthead.families import Arc, Interval
from disthead.families.family import Family, get_family, takes_classes, takes_vectors

__all__ = ["DistributionRegressor"]


class DistributionRegressor(DistributionEstimator):
    """Regression whose prediction is a whole distribution: a scikit-learn estimator with the default recipe behind it.

    The recipe (docs/quality.md): standardised numbers beside their piecewise-linear encoding, a
    multilayer perceptron, a head of the family, trained by -dist.log_prob(y) or another objective,
    and stopped by that of rows held out.

    Args:
        family: by name, see `disthead.families()`.
        family_options: the family's own, such as `{"component": "normal", "num_components": 5}` for
            a mixture.
        ensemble: networks whose distributions are mixed; 8 predict better, in two to three times
            the time.
        hidden_sizes: of the multilayer perceptron.
        max_steps: of training, at most; None leaves it to the recipe.
        random_state: a number makes results repeat; None draws a seed from torch's generator.
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        verbose: 1 shows the progress and what was done.
        objective: what training minimises, "nll" or "crps" (docs/objectives.md), a name with
            options `{"name": ..., ...}`, or a function of (dist, y) that returns one number per
            row.

    Attributes:
        model_: the trained `PredictiveModel`.
        n_features_in_, feature_names_in_: the columns of X.
        report_: what was done to the columns and how training went, in sentences.

    >>> import numpy as np
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> model = DistributionRegressor(max_steps=20, random_state=0).fit(X, 3 * X[:, 0])
    >>> model.predict_dist(X[:5]).batch_shape
    torch.Size([5])
    """

    def predict(
        self, X: Any, kind: Literal["mean", "median", "mode"] = "mean", cost: Any = None
    ) -> np.ndarray:
        """One number for each row, (N,), or (N, D) for several targets.

        Args:
            kind: "mean" has the least squared error, "median" the least absolute error, "mode" is
                the most probable.
            cost: a pair (cost_under, cost_over), the costs of a unit too low and too high: then the
                decision that costs least, as by `disthead.decide`, whatever `kind` is.
        """
        if cost is not None:
            return self._numbers(self._decided(X, cost))
        if kind not in ("mean", "median", "mode"):
            raise ValueError(f"kind must be 'mean', 'median' or 'mode', got {kind!r}.")
        return self._numbers(self._ask(X, lambda dist: getattr(dist, kind)))

    def predict_quantiles(self, X: Any, levels: "float | Sequence[float]") -> np.ndarray:
        """Quantiles at these levels, (N, levels), or (N, D, levels) for several targets; without the last for one number."""
        wanted = torch.as_tensor(levels, dtype=torch.float64)
        if wanted.ndim > 1 or not bool(((wanted > 0) & (wanted < 1)).all()):
            raise ValueError(f"levels must be numbers between 0 and 1, got {levels!r}.")

        def ask(dist: Distribution) -> Tensor:
            return quantiles(_each_output(dist), wanted.reshape(-1)).movedim(0, -1)

        found = self._numbers(self._ask(X, ask, answers=wanted.numel()))
        return found[..., 0] if wanted.ndim == 0 else found

    def predict_interval(self, X: Any, level: float = 0.9) -> Interval | Arc:
        """The central interval that holds the target with probability `level`: its lower and upper ends, (N,) each.

        Each end has as much probability beyond it; `predict_dist(X).highest_density(level)` is the
        shortest interval. The pair says which targets it holds,
        `model.predict_interval(X).contains(y)`. For directions it is an arc, from the lower end
        anticlockwise to the upper one, which is the smaller number where the arc crosses the seam
        at -pi = pi.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}.")
        kinds: list[type[Interval] | type[Arc]] = []

        def ends(dist: Distribution) -> Tensor:
            interval = _each_output(dist).interval(level)
            kinds.append(type(interval))
            return torch.stack(tuple(interval), -1)

        found = self._numbers(self._ask(X, ends, answers=2))
        return kinds[0](found[..., 0], found[..., 1])

    def predict_var(self, X: Any) -> np.ndarray:
        """The variance of the target, (N,), or (N, D) for several targets."""
        return self._numbers(self._ask(X, lambda dist: dist.variance))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean log-likelihood of `y`, in nats per row: higher is better. It is not R^2."""
        return self._score(X, y, sample_weight)

    def _targets(self, y: Any, is_fit: bool = False) -> Tensor:
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
        if not self._made_family(targets).is_discrete:
            for column in targets.reshape(len(targets), -1).unbind(1):
                for message in check_continuous_target(column).messages:
                    warn(f"y has {message}", TargetWarning)

    def _made_family(self, targets: Tensor) -> Family:
        return get_family(self.family, event_shape=tuple(targets.shape[1:]), **self._options())

    def _options(self) -> dict[str, Any]:
        return as_mapping(self.family_options, "family_options", "{'num_components': 3}")

    @staticmethod
    def _numbers(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        inherited: Any = super()  # scikit-learn's class, by now
        tags = self._tags(inherited.__sklearn_tags__())
        # score is not R^2
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags(poor_score=True)
        tags.target_tags.multi_output = True
        return tags


def _each_output(dist: Distribution) -> Distribution:
    return dist.marginals if dist.kind == "vector" else dist


def _as_numbers(y: Any, takes_truth: bool) -> np.ndarray:
    """Targets in double precision, NaN where they are missing; columns of a frame are read one by one."""
    if hasattr(y, "columns"):
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
            "or the family bernoulli; where they "
            "mean the numbers 0 and 1, try y.astype(float)."
        )
    if values.is_named and any(parse_number(level) is None for level in values.levels):
        bad = np.array([parse_number(level) is None for level in values.levels] + [False])[
            values.codes
        ]
        raise ValueError(
            f"y must hold numbers, got text in {values.first(bad)}. For classes use "
            "DistributionClassifier."
        )
    found = as_quantities(values).numbers
    assert found is not None
    return found
