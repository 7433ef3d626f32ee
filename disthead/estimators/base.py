"""`DistributionEstimator`: the base class of the regressor and the classifier."""

import copy
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_array, as_integer, as_integers, as_mapping, as_tensor, check_type
from disthead.decision import decide
from disthead.distributions.base import Distribution
from disthead.distributions.scores import draw
from disthead.estimators import conventions, folder
from disthead.estimators.conventions import AdoptsScikitLearn, BaseEstimator
from disthead.estimators.encoder import Table, TableEncoder
from disthead.families.family import get_family, takes_vectors
from disthead.networks.model_folder import target_names
from disthead.progress import Progress
from disthead.recipe import Training, fit_tabular
from disthead.texts import shown
from disthead.weights import as_weight, present

__all__ = ["DistributionEstimator"]

# limits of one computation, so that predictions of any number of rows need little memory
_BATCH_ROWS = 8192
_BATCH_VALUES = 2**18  # such as quantiles


class DistributionEstimator(BaseEstimator, AdoptsScikitLearn):
    """The base class of scikit-learn estimators whose prediction is a distribution.

    Its parameters are those of `DistributionRegressor` and `DistributionClassifier`.
    """

    n_outputs_: int
    classes_: np.ndarray
    target_names_: list[str]
    feature_names_in_: np.ndarray
    # of a subclass without such a parameter
    objective: Any = "nll"
    row_constants: Any = None

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
    ):
        self.family = family
        self.family_options = family_options
        self.ensemble = ensemble
        self.hidden_sizes = hidden_sizes
        self.max_steps = max_steps
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.objective = objective

    @property
    def _family(self) -> str:
        """The name of the family that is fitted."""
        return self.family

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train the default recipe on rows and targets.

        Args:
            X: (N, P), an array, tensor or data frame, in which texts and missing values may occur.
            y: targets, (N,), or (N, D) for several. Those of the family censored may be pairs
                (lower, upper), (N, 2), or a structured array of events and times.
            sample_weight: (N,), zero or more; a row of weight 0 is not there, whatever its
                features and its target are.
            groups: (N,), numbers or texts, equal for rows that are not independent, such as those
                of one person, site or panel. The rows of a group are held out together; without
                groups, rows with equal features are.

        Raises:
            TargetError: for targets that the family cannot have produced, with rows, values and
                families that can.
            ValueError: for tables that cannot be used, with columns and rows.
        """
        if y is None:
            Table.read(X)
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        check_type(self.verbose, "verbose", (bool, Integral), "0 for silence or 1")
        X, y, weight = _with_weights(X, y, sample_weight)
        whole, targets = Table.read(X), self._targets(y, is_fit=True)
        _check_lengths(whole, targets, "y")
        table = whole.with_row_constants(self._constant_columns)
        constants = table.row_constants
        group = _groups(groups, len(table), weight)
        self._check_targets(targets)
        self._check_row_constants(table, targets)
        self.target_names_ = _target_names(y, self.n_outputs_, table.labels)
        is_there = torch.ones(len(table), dtype=torch.bool) if weight is None else weight > 0
        self._warn_of_targets(targets[is_there])
        if not bool(is_there.all()):
            table = self._read(_rows(X, is_there.nonzero().flatten().numpy()))
        encoder = TableEncoder.fit(table)
        encoded = torch.from_numpy(encoder.encode(table))
        features = encoded.new_zeros(len(targets), encoded.shape[1]).masked_scatter(
            is_there.unsqueeze(1), encoded
        )
        device = self._device()
        model, training = fit_tabular(
            features.to(device),
            targets.to(device),
            objective=self.objective,
            ensemble=self.ensemble,
            encoded=encoder.numeric,
            weight=None if weight is None else weight.to(device),
            groups=None if group is None else group.to(device),
            row_constants={name: values.to(device) for name, values in constants.items()},
            seed=_seed(self.random_state),
            max_steps=self.max_steps,
            progress=_show_progress if self.verbose else None,
            **self._network(),
        )
        self.encoder_, self.model_, self.training_ = encoder, model.double(), training
        self.n_features_in_ = len(whole.columns)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if whole.names is not None:
            self.feature_names_in_ = np.array(whole.names, dtype=object)
        self.report_ = [*encoder.report(), *_training_report(training, len(table))]
        if self.verbose:
            print("\n" + "\n".join(map(shown, self.report_)), file=sys.stderr)
        return self

    def predict_dist(self, X: Any) -> Distribution:
        """The distribution of the target for each row, with batch_shape (N,).

        It is in the units of y, in double precision, and on the CPU.

        Args:
            X: (N, P), as for `fit`.
        """
        batches = [dist.map(lambda parameter: parameter.cpu()) for dist in self._distributions(X)]
        return batches[0] if len(batches) == 1 else _concatenated(batches)

    def sample(self, X: Any, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Samples from the distribution of each row, (n, N), or (n, N, D) for several targets.

        Args:
            X: (N, P), as for `fit`.
            n: the number of samples of each row.
            random_state: an integer, or a generator of NumPy; the same integer gives the same
                samples. None draws a seed from torch's generator.
        """
        count = as_integer(n, "n")
        generator = torch.Generator(self._device()).manual_seed(_seed(random_state))
        return self._labelled(self._evaluate(X, lambda dist: draw(dist, count, generator), dim=1))

    def save(self, folder_path: "str | Path") -> Path:
        """Write model.safetensors and config.json, both plain data, into a folder.

        `load` and `from_pretrained` read it.

        Args:
            folder_path: the folder, which is made where it does not exist.

        Returns:
            The path of the folder.

        Raises:
            ImportError: where safetensors is not installed.
            ValueError: for weights that are NaN or infinite, with the tensor.
        """
        self._check_is_fitted()
        return folder.save(self, _path(folder_path))

    @classmethod
    def load(cls, folder_path: "str | Path", trust: "str | Iterable[str]" = ()) -> Self:
        """Read an estimator that `save` wrote, or the model of a checkpoint; nothing is unpickled.

        A checkpoint is one that `disthead fit` or a `DistributionModule` wrote. Its model predicts
        as it does there, in double precision; `fit` of the estimator would train the default
        recipe.

        Args:
            folder_path: a folder, or a checkpoint of a model that was trained on a table.
            trust: names of your own packages, modules or classes that the checkpoint may use
                (SECURITY.md).

        Raises:
            ValueError: for a folder that holds no such estimator, for files that are not what was
                saved, with the tensor or the entry, and for a checkpoint whose model needs more
                than an estimator gives, such as an exposure.
        """
        return folder.load(cls, _path(folder_path), trust)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the files of `save` to a repository of the Hugging Face hub.

        Args:
            repo_id: "name/repository", which is made where it does not exist.
            options: as for `huggingface_hub.create_repo`, such as `private=True` and `token`.

        Returns:
            The address of the repository.

        Raises:
            ImportError: where huggingface_hub is not installed.
        """
        self._check_is_fitted()
        return folder.push_to_hub(self, repo_id, **options)

    @classmethod
    def from_pretrained(
        cls, name: "str | Path", trust: "str | Iterable[str]" = (), **options: Any
    ) -> Self:
        """The estimator in a local folder, or else in a repository of the Hugging Face hub.

        Args:
            name: a folder, or "name/repository".
            trust: as for `load`.
            options: of a repository, as for `huggingface_hub.snapshot_download`, such as
                `revision` and `token`.

        Raises:
            ImportError: where huggingface_hub is needed and not installed.
            TypeError: for options of a repository where `name` is a local folder.
            ValueError: as for `load`.
        """
        return folder.from_pretrained(cls, name, trust, **options)

    @abstractmethod
    def _targets(self, y: Any, is_fit: bool = False) -> Tensor:
        """Targets as the distribution takes them; at `fit` their number and classes are kept."""

    @abstractmethod
    def _check_targets(self, targets: Tensor) -> None:
        """Refuse targets that the family cannot have produced."""

    def _warn_of_targets(self, targets: Tensor) -> None:
        """Warn of training targets that do not look like numbers of the family."""

    def _network(self) -> dict[str, Any]:
        """The arguments of `fit_tabular` for the networks."""
        hidden_sizes = as_integers(self.hidden_sizes, "hidden_sizes")
        return {
            "family": self._family,
            "family_options": self._options(),
            "hidden_sizes": hidden_sizes,
        }

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """The options of the family."""

    def _labelled(self, values: np.ndarray) -> np.ndarray:
        """Targets in the form of y: classes by their labels."""
        return values

    def _score(self, X: Any, y: Any, sample_weight: Any) -> float:
        """The mean log-likelihood of `y`, in nats per row."""
        self._check_is_fitted()
        X, y, weight = _with_weights(X, y, sample_weight)
        targets = self._targets(y)
        table = self._table(X)
        _check_lengths(table, targets, "y")
        self._check_targets(targets)
        self._check_row_constants(table, targets)
        batches = zip(self._batches(table), targets.split(_BATCH_ROWS), strict=True)
        log_prob = torch.cat([dist.log_prob(y.to(dist.device)).cpu() for dist, y in batches])
        weight, log_prob = present(weight, log_prob)
        return float(
            log_prob.mean() if weight is None else (log_prob * weight).sum() / weight.sum()
        )

    def _decided(self, X: Any, cost: Any) -> np.ndarray:
        return self._evaluate(X, lambda dist: decide(dist, cost))

    def _evaluate(
        self,
        X: Any,
        function: Callable[[Distribution], Tensor],
        dim: int = 0,
        values_per_row: int = 1,
    ) -> np.ndarray:
        """A function of the distributions of all rows, evaluated in chunks that limit its values.

        Args:
            X: (N, P), as for `fit`.
            function: a distribution of some rows -> values.
            dim: the dimension of the rows in the values.
            values_per_row: their number for each row.
        """
        self._check_is_fitted()
        table, results = self._table(X), []
        with Progress("predicting", len(table)) as progress:
            for dist in self._batches(table):
                rows = max(1, _BATCH_VALUES // values_per_row)
                results += [function(chunk).cpu() for chunk in _chunks(dist, rows)]
                progress.advance(dist.batch_shape[0])
        return torch.cat(results, dim).numpy()

    def _distributions(self, X: Any) -> Iterator[Distribution]:
        self._check_is_fitted()
        return self._batches(self._table(X))

    def _table(self, X: Any) -> Table:
        table = self.encoder_.align(self._read(X), type(self).__name__)
        self._check_row_constants(table)
        return table

    def _read(self, X: Any) -> Table:
        """The table, in which the columns of row constants are no features."""
        return Table.read(X).with_row_constants(self._constant_columns)

    @property
    def _constant_columns(self) -> dict[str, Any]:
        return as_mapping(self.row_constants, "row_constants", "{'exposure': 'months'}")

    def _check_row_constants(self, table: Table, targets: Tensor | None = None) -> None:
        """Refuse row constants that the family does not allow, beside these targets, too."""
        if not table.row_constants:
            return
        shape = (self.n_outputs_,) if takes_vectors(self._family) else ()
        family = get_family(self._family, event_shape=shape, **self._options())
        family.check_row_constants(table.row_constants, self._constant_columns)
        if targets is not None:
            family.check_beside(targets, table.row_constants, "y")

    @torch.no_grad()
    def _batches(self, table: Table) -> Iterator[Distribution]:
        model = self.model_.to(self._device())
        for start in range(0, len(table), _BATCH_ROWS):
            rows = slice(start, min(start + _BATCH_ROWS, len(table)))
            features = torch.from_numpy(self.encoder_.encode(table, rows))
            constants = {
                name: values[rows].to(self._device())
                for name, values in table.row_constants.items()
            }
            yield model.predictive(features.to(self._device()), **constants)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except (RuntimeError, TypeError):
            raise ValueError(
                f"device must be 'cpu', 'cuda', or 'auto', got {self.device!r}."
            ) from None
        if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
            raise ValueError(
                f"device {self.device!r} is not there, torch finds {torch.cuda.device_count()} "
                "CUDA devices: give 'auto', which takes one where there is one, or 'cpu'."
            )
        return device

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise conventions.NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call fit(X, y) first."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, Any]:
        inherited: Any = super().__getstate__()
        state: dict[str, Any] = dict(inherited)
        if "model_" in state:  # the device may not exist where the pickle is read
            state["model_"] = copy.deepcopy(state["model_"]).cpu()
        return state

    def _tags(self, tags: Any) -> Any:
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _chunks(dist: Distribution, rows: int) -> Iterator[Distribution]:
    """The distribution in chunks of so many rows."""
    count = dist.batch_shape[0]
    if count <= rows:
        yield dist
        return
    for start in range(0, count, rows):
        yield dist[start : start + rows]


def _concatenated(batches: list[Distribution]) -> Distribution:
    """The distribution of the rows of all batches, in which parameters are concatenated."""
    columns = zip(*map(_parameters, batches), strict=True)
    return batches[0].map(lambda _: torch.cat(next(columns)))


def _parameters(dist: Distribution) -> list[Tensor]:
    """The arguments of the function that `map` takes, in its order."""
    parameters: list[Tensor] = []

    def note(parameter: Tensor) -> Tensor:
        parameters.append(parameter)
        return parameter

    dist.map(note)
    return parameters


def _path(folder_path: "str | Path") -> Path:
    check_type(folder_path, "folder_path", (str, PathLike), "the path of a folder, such as 'model'")
    return Path(folder_path)


def _with_weights(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Tensor | None]:
    """X, y and the weights in double precision; rows of weight 0 are copies of the first other."""
    if sample_weight is None:
        return X, y, None
    X, y = (values if hasattr(values, "__len__") else np.asarray(values) for values in (X, y))
    numbers = as_tensor(sample_weight, "sample_weight").double()
    weight = as_weight(numbers, (_count(X),), name="sample_weight")
    assert weight is not None
    weight = weight.cpu()
    if bool((weight > 0).all()):
        return X, y, weight
    if _count(y) != len(weight):
        raise _inconsistent(len(weight), _count(y), "y")
    row = torch.where(
        weight > 0, torch.arange(len(weight)), (weight > 0).to(torch.uint8).argmax()
    ).numpy()
    return _rows(X, row), _rows(y, row), weight


def _count(values: Any) -> int:
    return int(values.shape[0]) if getattr(values, "shape", ()) else len(values)


def _rows(values: Any, rows: np.ndarray) -> Any:
    """These rows of a table or a column, of the same kind."""
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if hasattr(values, "take") and hasattr(values, "column_names"):  # Arrow
        return values.take(rows)
    if isinstance(values, (list, tuple)):
        return [values[row] for row in rows.tolist()]
    return values[torch.from_numpy(rows) if isinstance(values, Tensor) else rows]


def _target_names(y: Any, count: int, features: Sequence[str]) -> list[str]:
    """The names of the columns of y where they can be used, else those of `target_names`."""
    labels: list[Any] = list(y.columns) if hasattr(y, "columns") else [getattr(y, "name", None)]
    is_named = all(isinstance(name, str) for name in labels) and not set(labels) & set(features)
    if is_named and len(set(labels)) == len(labels) == count:
        return labels
    return target_names(count, features)


def _groups(groups: Any, count: int, weight: Tensor | None) -> Tensor | None:
    """The groups of the rows as integers from 0, (N,)."""
    if groups is None:
        return None
    labels = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else as_array(groups)
    if labels.shape != (count,):
        raise ValueError(
            f"groups must have one value for each row, shape ({count},), got {labels.shape}."
        )
    number: dict[Any, int] = {}
    numbers = torch.tensor([number.setdefault(label, len(number)) for label in labels.tolist()])
    missing = torch.tensor([label is None or label != label for label in labels.tolist()])
    missing &= True if weight is None else weight > 0
    if bool(missing.any()):
        rows = missing.nonzero().flatten().tolist()
        raise ValueError(
            f"groups must not be missing, got {len(rows)} rows without one, the "
            f"first at row {rows[0]}."
        )
    return numbers


def _check_lengths(table: Table, values: Tensor, name: str) -> None:
    if len(table) != len(values):
        raise _inconsistent(len(table), len(values), name)


def _inconsistent(rows: int, values: int, name: str) -> ValueError:
    return ValueError(
        f"X and {name} must have as many rows, got inconsistent numbers: {rows} and {values}."
    )


def _seed(random_state: Any) -> int:
    """A seed: the integer itself, or one drawn from the generator, or from torch's where None."""
    if random_state is None:
        return int(torch.randint(2**31 - 1, ()))
    if hasattr(random_state, "randint"):
        return int(random_state.randint(2**31 - 1))
    if hasattr(random_state, "integers"):
        return int(random_state.integers(2**31 - 1))
    seed = as_integer(random_state, "random_state", 0)
    if seed >= 2**63:
        raise ValueError(f"random_state must be below 2^63, got {seed}.")
    return seed


def _training_report(training: Training, rows: int) -> Iterator[str]:
    steps = training.steps.tolist()
    kept = f"{min(steps)}" if min(steps) == max(steps) else f"{min(steps)} to {max(steps)}"
    if bool(training.loss.isnan().all()):
        yield f"{rows} rows: none held out, {training.stopped} steps."
    else:
        by = "likelihood" if training.objective == "nll" else training.objective
        yield (
            f"{rows} rows: {training.stopped} steps, the weights of step {kept} kept, by the {by} "
            "of rows held out."
        )


def _show_progress(step: int, steps: int, loss: float) -> None:
    """Print the progress over the line before; `loss` is that of standardised targets."""
    done = round(30 * step / steps)
    bar = "=" * done + " " * (30 - done)
    print(
        f"\r[{bar}] step {step} of at most {steps}, held-out loss {loss:.3f}",
        end="",
        file=sys.stderr,
        flush=True,
    )
