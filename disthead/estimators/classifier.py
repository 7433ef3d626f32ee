"""`DistributionClassifier`: classification whose prediction is a distribution."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_array, as_mapping
from disthead.data.values import is_missing, label
from disthead.distributions.base import Distribution
from disthead.distributions.independent import class_probs
from disthead.distributions.univariate import check_level
from disthead.errors import TargetError
from disthead.estimators import conventions
from disthead.estimators.base import DistributionEstimator
from disthead.families.family import get_family, takes_classes

__all__ = ["DistributionClassifier"]


class DistributionClassifier(DistributionEstimator):
    """Classification by the default recipe: a scikit-learn estimator that predicts distributions.

    Args:
        family: "categorical", "ordinal" for classes that have an order, or "bernoulli" for two
            classes.
        family_options: options of the family; the number of classes comes from y.
        ensemble: the number of networks, whose probabilities are averaged.
        hidden_sizes: the sizes of the layers of the multilayer perceptron.
        max_steps: the largest number of training steps; None for that of the recipe.
        random_state: an integer for reproducible results, or a generator of NumPy; None draws a
            seed from torch's generator.
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        verbose: 1 shows the progress and the report.
        objective: what training minimises, a name of `disthead.objectives` or a function of
            (dist, y) that returns one number per row.
        ordered: whether the classes have an order, so that the family is "ordinal" in place of
            "categorical". None asks the target: an ordered categorical column has one. With True
            the order is that of such a column, or that of numbers.

    Attributes:
        classes_: the classes, sorted, in their own order if the family is "ordinal", or in the
            order of a checkpoint that was loaded; in `predict_dist` they are 0, 1 ... in this
            order.
        model_: the trained `PredictiveModel`.
        n_features_in_: the number of columns of X.
        feature_names_in_: their names, where X is a data frame.
        report_: sentences on the encoding of the columns and the course of the training.

    >>> import numpy as np
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> y = np.where(X[:, 0] > 0.5, "high", "low")
    >>> model = DistributionClassifier(max_steps=50, random_state=0).fit(X, y)
    >>> model.predict([[0.1], [0.9]])
    array(['low', 'high'], dtype='<U4')
    """

    def __init__(
        self,
        family: str = "categorical",
        family_options: dict[str, Any] | None = None,
        ensemble: int = 1,
        hidden_sizes: Sequence[int] = (128, 128),
        max_steps: int | None = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: int = 0,
        objective: Any = "nll",
        ordered: bool | None = None,
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
        self.ordered = ordered

    def predict(self, X: Any, cost: Any = None) -> np.ndarray:
        """The most probable class of each row, (N,), or that with the least expected cost.

        Args:
            X: (N, P), as for `fit`.
            cost: (classes, classes), where cost[i, j] is the cost of class i where j is true. With
                it the result is the decision of `disthead.decide`.

        Raises:
            ValueError: for costs of another shape.
        """
        self._check_is_fitted()
        if cost is not None and np.shape(cost) != (len(self.classes_),) * 2:
            raise ValueError(
                f"cost must have the shape ({len(self.classes_)}, {len(self.classes_)}), a row "
                f"for each class that can be said, got {np.shape(cost)}. For other actions ask "
                "disthead.decide(model.predict_dist(X), cost)."
            )
        return self._labelled(self._decided(X, cost))

    def predict_dist(self, X: Any) -> Distribution:
        """The distribution of the class for each row, with batch_shape (N,).

        It is in double precision and on the CPU. Its targets may be arrays, columns and lists of
        classes, as those of `fit`: `disthead.evaluate(model.predict_dist(X), y)`. A tensor of
        targets holds positions in `classes_`, from 0.

        Args:
            X: (N, P), as for `fit`.
        """
        return super().predict_dist(X).with_class_labels(self.classes_.tolist())

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, classes), in the order of `classes_`."""
        return self._evaluate(X, class_probs).astype(np.float64)

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The central interval of ordered classes in each row: its lowest and its highest class.

        The probability of lower classes is at most (1 - level) / 2, and so is that of higher ones.
        `predict_dist(X).interval(level)` has the same as positions in `classes_`.

        Args:
            X: (N, P), as for `fit`.
            level: the least probability of the interval, between 0 and 1.

        Returns:
            The lowest and the highest classes, each (N,).

        Raises:
            ValueError: for another level, and for classes without an order.
        """
        check_level(level)
        self._check_is_fitted()
        assert self.model_.head is not None
        family = self.model_.head.family  # a folder does not say whether y had an order
        if family.kind != "ordinal":
            raise ValueError(
                f"classes of {family.name} have no order in which an interval could lie: ask "
                "predict_proba; or fit with ordered=True where the classes have an order."
            )

        def ends(dist: Distribution) -> Tensor:
            return torch.stack(tuple(dist.interval(level)), -1)

        lower, upper = self._evaluate(X, ends, values_per_row=2).T
        return self._labelled(lower), self._labelled(upper)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean log-likelihood of the targets, in nats per row; higher is better.

        It is not the accuracy.

        Args:
            X: (N, P), as for `fit`.
            y: classes, (N,).
            sample_weight: (N,), zero or more.
        """
        return self._score(X, y, sample_weight)

    def _targets(self, y: Any, is_fit: bool = False) -> Tensor:
        array = y.detach().cpu().numpy() if isinstance(y, Tensor) else as_array(y)
        if array.dtype.kind == "c":
            raise ValueError("Complex data not supported, got it in y.")
        if array.ndim == 2 and array.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the "
                "shape of y to (n_samples,), for example using ravel().",
                conventions.DataConversionWarning,
                stacklevel=4,
            )
            array = array[:, 0]
        if array.ndim != 1:
            raise ValueError(f"y should be a 1d array, got the shape {array.shape}.")
        _check_labels(array)
        try:
            labels, positions = np.unique(array, return_inverse=True)
        except TypeError as error:
            kinds = ", ".join(sorted({type(value).__name__ for value in array.tolist()}))
            raise ValueError(
                f"y must hold classes of one kind, got {kinds}. Try np.array(y).astype(str)."
            ) from error
        if is_fit:
            if len(labels) < 2:
                raise ValueError(
                    f"y must hold at least two classes, got one class: {labels.tolist()}. Where "
                    "sample_weight is zero for all rows of the others, only one class is left."
                )
            if self.ordered is False and self.family == "ordinal":
                raise ValueError(
                    "family 'ordinal' is for classes that have an order, got ordered=False. Use "
                    "family='categorical', or leave ordered out."
                )
            self._is_ordered = _has_order(y) if self.ordered is None else self.ordered
            if self._is_ordinal:
                labels, positions = _in_order(y, labels, positions)
            self.classes_, self.n_outputs_ = labels, 1
            return torch.from_numpy(positions.astype(np.int64))
        # by their texts, since a checkpoint has the classes of its table as texts, in any order
        place = {label(value): k for k, value in enumerate(self.classes_.tolist())}
        new = [value for value in labels.tolist() if label(value) not in place]
        if new:
            raise TargetError(
                f"y must hold classes of the fit, {self.classes_.tolist()}, got {new[:5]}."
            )
        places = np.array([place[label(value)] for value in labels.tolist()], dtype=np.int64)
        return torch.from_numpy(places[positions])

    def _check_targets(self, targets: Tensor) -> None:
        options = self._options()
        count = options.get("num_classes", len(self.classes_))
        if count != len(self.classes_):
            raise ValueError(
                f"num_classes of family_options is {count}, and y has {len(self.classes_)} "
                f"classes, {self.classes_.tolist()[:10]}. Leave it out: nothing says how probable "
                "a class is of which there are no rows."
            )
        family = get_family(self._family, **options)
        if family.kind == "binary" and len(self.classes_) > 2:
            raise TargetError(
                f"bernoulli is for two classes, got {len(self.classes_)}: use family='categorical'."
            )

    @property
    def _family(self) -> str:
        is_ordered = getattr(self, "_is_ordered", self.ordered)
        return "ordinal" if is_ordered and self.family == "categorical" else self.family

    @property
    def _is_ordinal(self) -> bool:
        return (
            takes_classes(self._family)
            and get_family(self._family, num_classes=2).kind == "ordinal"
        )

    def _options(self) -> dict[str, Any]:
        options = as_mapping(self.family_options, "family_options", "{'num_components': 3}")
        if takes_classes(self._family):
            return {"num_classes": len(self.classes_)} | options
        if get_family(self._family, **options).kind != "binary":
            raise ValueError(
                f"{self.family} is for numbers: use DistributionRegressor(family={self.family!r})."
            )
        return options

    def _labelled(self, values: np.ndarray) -> np.ndarray:
        return self.classes_[values.astype(np.int64)]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        inherited: Any = super()  # scikit-learn's class, once there is an instance
        tags = self._tags(inherited.__sklearn_tags__())
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        return tags


def _has_order(y: Any) -> bool:
    """Whether it is an ordered categorical column of pandas, or an enumeration of polars."""
    dtype = getattr(y, "dtype", None)
    return bool(getattr(dtype, "ordered", False)) or type(dtype).__name__ == "Enum"


def _in_order(y: Any, labels: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes of `y` in their order, and the place of each row among them.

    Args:
        y: the target; an ordered categorical column says the order, numbers have one.
        labels: the classes that occur in it, sorted.
        positions: the place of each row among the labels.
    """
    if not _has_order(y):
        texts = [value for value in labels.tolist() if isinstance(value, str)]
        if texts:
            raise ValueError(
                f"y must say the order of its classes, got texts without one: {texts[:5]}. Give an "
                "ordered categorical column: pandas.Categorical(y, categories=['low', 'middle', "
                "'high'], ordered=True); or whole numbers in that order."
            )
        return labels, positions
    place = {value: k for k, value in enumerate(y.dtype.categories)}
    absent = sorted(place.keys() - set(labels.tolist()), key=place.__getitem__)
    if absent:
        raise TargetError(
            f"y must have rows of each class of its order, got none of {absent[:5]}: nothing says "
            "how probable they are. Leave them out with y.cat.remove_unused_categories(), or join "
            "each with the class next to it; ordered=False fits classes without an order."
        )
    places = np.array([place[value] for value in labels.tolist()])
    return labels[places.argsort()], places[positions]


def _check_labels(array: np.ndarray) -> None:
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            raise TargetError(
                f"Input y contains NaN or infinity: {int(bad.sum())} of {len(array)}, row "
                f"{bad.argmax()}."
            )
        broken = array != np.floor(array)
        if broken.any():
            row = int(broken.argmax())
            raise TargetError(
                f"Unknown label type: continuous. y must hold classes, got {array[row]:g} at row "
                f"{row}. For numbers use DistributionRegressor."
            )
    elif array.dtype.kind in "OmM":
        missing = [row for row, value in enumerate(array) if is_missing(value)]
        if missing:
            raise TargetError(
                f"Input y contains missing values: {len(missing)} of {len(array)}, "
                f"row {missing[0]}."
            )
