"""`DistributionEstimator`: what the regressor and the classifier have in common: tables in, distributions out."""

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

from disthead.arrays import as_array, as_integer, as_integers, as_tensor, check_type
from disthead.decision import decide
from disthead.distributions.base import Distribution
from disthead.distributions.scores import draw
from disthead.estimators import conventions, folder
from disthead.estimators.conventions import AdoptsScikitLearn, BaseEstimator
from disthead.estimators.encoder import Table, TableEncoder
from disthead.networks.model_folder import target_names
from disthead.progress import Progress
from disthead.recipe import Training, fit_tabular
from disthead.texts import shown
from disthead.weights import as_weight, present

__all__ = ["DistributionEstimator"]

# At a time, so that predictions of any number of rows need little memory:
_BATCH = 8192  # rows
_ANSWERS = 2**18  # quantiles


class DistributionEstimator(BaseEstimator, AdoptsScikitLearn):
    """A scikit-learn estimator whose prediction is a distribution. `DistributionRegressor` and `DistributionClassifier` are it."""

    n_outputs_: int
    classes_: np.ndarray
    target_names_: list[str]
    feature_names_in_: np.ndarray
    objective: Any = "nll"  # of estimators that version 0.1 has pickled

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

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Learn from rows `X` and targets `y`.

        Args:
            X: (N, P), an array, tensor or data frame; texts and missing values are taken as they
                are.
            y: targets, one for each row.
            sample_weight: (N,), zero or more; a row with weight 0 is not there, whatever its
                features and its target are.
            groups: (N,), numbers or texts: whose rows belong together and are not independent, such
                as those of one person, site or panel. They are held out together; so are rows with
                equal features where no groups are given.

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
        table, targets = Table.read(X), self._targets(y, is_fit=True)
        _check_lengths(table, targets, "y")
        group = _groups(groups, len(table), weight)
        self._check_targets(targets)
        is_there = torch.ones(len(table), dtype=torch.bool) if weight is None else weight > 0
        self._warn_of_targets(targets[is_there])
        if not bool(is_there.all()):
            table = Table.read(_rows(X, is_there.nonzero().flatten().numpy()))
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
            seed=_seed(self.random_state),
            max_steps=self.max_steps,
            progress=_show_progress if self.verbose else None,
            **self._network(),
        )
        self.encoder_, self.model_, self.training_ = encoder, model.double(), training
        self.target_names_ = _target_names(y, self.n_outputs_, table.labels)
        self.n_features_in_ = len(table.columns)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if table.names is not None:
            self.feature_names_in_ = np.array(table.names, dtype=object)
        self.report_ = [*encoder.report(), *_told(training, len(table))]
        if self.verbose:
            print("\n" + "\n".join(map(shown, self.report_)), file=sys.stderr)
        return self

    def predict_dist(self, X: Any) -> Distribution:
        """The distribution of the target for each row, with batch_shape (N,), in y's units and double precision, on the CPU."""
        parts = [dist.map(lambda parameter: parameter.cpu()) for dist in self._distributions(X)]
        return parts[0] if len(parts) == 1 else _concatenated(parts)

    def sample(self, X: Any, n: int = 1, random_state: Any = None) -> np.ndarray:
        """`n` draws from the distribution of each row: shape (n, N), or (n, N, D) for several targets.

        The same `random_state` gives the same draws.
        """
        count = as_integer(n, "n")
        generator = torch.Generator(self._device()).manual_seed(_seed(random_state))
        return self._labelled(self._ask(X, lambda dist: draw(dist, count, generator), dim=1))

    def save(self, folder_path: "str | Path") -> Path:
        """Write model.safetensors and config.json, plain data both, into a folder, which is made; returns it.

        `load` reads it again, and `from_pretrained` too.

        Raises:
            ImportError: where safetensors is not installed.
            ValueError: for weights that are NaN or infinite, with the tensor.
        """
        self._check_is_fitted()
        return folder.save(self, _path(folder_path))

    @classmethod
    def load(cls, folder_path: "str | Path", trust: "str | Iterable[str]" = ()) -> Self:
        """The estimator that `save` wrote into a folder, as it was, or the model of a checkpoint; nothing is unpickled.

        The model of a checkpoint that `disthead fit` or a `DistributionModule` wrote predicts as it
        does there, in double precision; `fit` of the estimator would train the default recipe.

        Args:
            folder_path: a folder, or a checkpoint of a model that was trained on a table.
            trust: names of packages, modules or classes of your own which the checkpoint may use
                (SECURITY.md).

        Raises:
            ValueError: for a folder that holds no such estimator, for files that are not what was
                saved, with the tensor or the entry, and for a checkpoint whose model needs more
                than an estimator gives, such as an exposure.
        """
        return folder.load(cls, _path(folder_path), trust)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what `save` writes to a repository of the Hugging Face hub, which is made; returns its address.

        Args:
            repo_id: "name/repository".
            options: as for `huggingface_hub.create_repo`, such as `private=True` and `token`.

        Raises:
            ImportError: where huggingface_hub is not installed.
        """
        self._check_is_fitted()
        return folder.push_to_hub(self, repo_id, **options)

    @classmethod
    def from_pretrained(cls, name: "str | Path", **options: Any) -> Self:
        """The estimator in a local folder, or else in a repository of the Hugging Face hub.

        Args:
            name: a folder, or "name/repository".
            options: as for `huggingface_hub.snapshot_download`, such as `revision` and `token`.
        """
        return folder.from_pretrained(cls, name, **options)

    @abstractmethod
    def _targets(self, y: Any, is_fit: bool = False) -> Tensor:
        """Targets as the distribution takes them."""

    @abstractmethod
    def _check_targets(self, targets: Tensor) -> None:
        """Refuse targets that the family cannot have produced."""

    def _warn_of_targets(self, targets: Tensor) -> None:
        """Warn of training targets of which the family's likelihood says little."""

    def _network(self) -> dict[str, Any]:
        """What the network is made of."""
        hidden_sizes = as_integers(self.hidden_sizes, "hidden_sizes")
        return {
            "family": self.family,
            "family_options": self._options(),
            "hidden_sizes": hidden_sizes,
        }

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """The family's options."""

    def _labelled(self, values: np.ndarray) -> np.ndarray:
        """Targets as the user knows them."""
        return values

    def _score(self, X: Any, y: Any, sample_weight: Any) -> float:
        """The mean log-likelihood of `y`, in nats per row."""
        self._check_is_fitted()
        X, y, weight = _with_weights(X, y, sample_weight)
        targets = self._targets(y)
        table = self._table(X)
        _check_lengths(table, targets, "y")
        self._check_targets(targets)
        parts = zip(self._each(table), targets.split(_BATCH), strict=True)
        log_prob = torch.cat([dist.log_prob(part.to(dist.device)).cpu() for dist, part in parts])
        weight, log_prob = present(weight, log_prob)
        return float(
            log_prob.mean() if weight is None else (log_prob * weight).sum() / weight.sum()
        )

    def _decided(self, X: Any, cost: Any) -> np.ndarray:
        return self._ask(X, lambda dist: decide(dist, cost))

    def _ask(
        self, X: Any, question: Callable[[Distribution], Tensor], dim: int = 0, answers: int = 1
    ) -> np.ndarray:
        """The answers of all rows, asked for a part of the rows at a time: of fewer where each has many `answers`."""
        self._check_is_fitted()
        table, found = self._table(X), []
        with Progress("predicting", len(table)) as progress:
            for dist in self._each(table):
                found += [
                    question(part).cpu() for part in _parts(dist, max(1, _ANSWERS // answers))
                ]
                progress.advance(dist.batch_shape[0])
        return torch.cat(found, dim).numpy()

    def _distributions(self, X: Any) -> Iterator[Distribution]:
        self._check_is_fitted()
        return self._each(self._table(X))

    def _table(self, X: Any) -> Table:
        return self.encoder_.align(Table.read(X), type(self).__name__)

    @torch.no_grad()
    def _each(self, table: Table) -> Iterator[Distribution]:
        model = self.model_.to(self._device())
        for start in range(0, len(table), _BATCH):
            features = torch.from_numpy(
                self.encoder_.encode(table, slice(start, min(start + _BATCH, len(table))))
            )
            yield model.predictive(features.to(self._device()))

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
                "CUDA devices: give 'auto', which "
                "takes one where there is one, or 'cpu'."
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
        if "model_" in state:  # whoever unpickles may have no such device
            state["model_"] = copy.deepcopy(state["model_"]).cpu()
        return state

    def _tags(self, tags: Any) -> Any:
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _parts(dist: Distribution, rows: int) -> Iterator[Distribution]:
    """The rows of the batch, so many at a time."""
    count = dist.batch_shape[0]
    if count <= rows:
        yield dist
        return
    for start in range(0, count, rows):
        yield dist[start : start + rows]


def _concatenated(parts: list[Distribution]) -> Distribution:
    """One distribution of the rows of all parts, parameter by parameter."""
    columns = zip(*map(_parameters, parts), strict=True)
    return parts[0].map(lambda _: torch.cat(next(columns)))


def _parameters(dist: Distribution) -> list[Tensor]:
    """All that `map` maps, in its order."""
    found: list[Tensor] = []

    def note(parameter: Tensor) -> Tensor:
        found.append(parameter)
        return parameter

    dist.map(note)
    return found


def _path(folder_path: "str | Path") -> Path:
    check_type(folder_path, "folder_path", (str, PathLike), "the path of a folder, such as 'model'")
    return Path(folder_path)


def _with_weights(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Tensor | None]:
    """X, y and the weights in double precision; a row that is not there has the features and the target of one that is."""
    if sample_weight is None:
        return X, y, None
    X, y = (part if hasattr(part, "__len__") else np.asarray(part) for part in (X, y))
    given = as_tensor(sample_weight, "sample_weight").double()
    weight = as_weight(given, (_count(X),), name="sample_weight")
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
    """The names of the targets, of a series or a data frame; y, or y0, y1 ..., where they have none of their own."""
    labels: list[Any] = list(y.columns) if hasattr(y, "columns") else [getattr(y, "name", None)]
    is_own = all(isinstance(name, str) for name in labels) and not set(labels) & set(features)
    if is_own and len(set(labels)) == len(labels) == count:
        return labels
    return target_names(count, features)


def _groups(groups: Any, count: int, weight: Tensor | None) -> Tensor | None:
    """Numbers for the groups of the rows."""
    if groups is None:
        return None
    labels = groups.detach().cpu().numpy() if isinstance(groups, Tensor) else as_array(groups)
    if labels.shape != (count,):
        raise ValueError(
            f"groups must have one value for each row, shape ({count},), got {labels.shape}."
        )
    number: dict[Any, int] = {}
    found = torch.tensor([number.setdefault(label, len(number)) for label in labels.tolist()])
    missing = torch.tensor([label is None or label != label for label in labels.tolist()])
    missing &= True if weight is None else weight > 0
    if bool(missing.any()):
        rows = missing.nonzero().flatten().tolist()
        raise ValueError(
            f"groups must not be missing, got {len(rows)} rows without one, the "
            f"first at row {rows[0]}."
        )
    return found


def _check_lengths(table: Table, values: Tensor, name: str) -> None:
    if len(table) != len(values):
        raise _inconsistent(len(table), len(values), name)


def _inconsistent(rows: int, values: int, name: str) -> ValueError:
    return ValueError(
        f"X and {name} must have as many rows, got inconsistent numbers: {rows} and {values}."
    )


def _seed(random_state: Any) -> int:
    """A seed: the number given, one drawn from the generator given, or one from torch's own generator."""
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


def _told(training: Training, rows: int) -> Iterator[str]:
    steps = training.steps.tolist()
    kept = f"{min(steps)}" if min(steps) == max(steps) else f"{min(steps)} to {max(steps)}"
    if bool(training.loss.isnan().all()):
        yield f"{rows} rows: none held out, {training.stopped} steps."
    else:
        by = "likelihood" if training.objective == "nll" else training.objective
        yield f"{rows} rows: {training.stopped} steps, the weights of step {kept} kept, by the {by} of rows held out."


def _show_progress(step: int, steps: int, loss: float) -> None:
    """A line that grows in place; `loss` is that of the rows held out, in standardised units."""
    done = round(30 * step / steps)
    bar = "=" * done + " " * (30 - done)
    print(
        f"\r[{bar}] step {step} of at most {steps}, held-out loss {loss:.3f}",
        end="",
        file=sys.stderr,
        flush=True,
    )
