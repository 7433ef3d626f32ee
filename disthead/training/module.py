"""`DistributionModule`: a backbone and a distribution head, trained by Lightning."""

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from disthead.arrays import (
    as_integer,
    as_integers,
    as_mapping,
    as_names,
    as_number,
    as_tensor,
    check_type,
)
from disthead.calibration import rebuild
from disthead.data.batches import Batch, Steps, weight_of
from disthead.data.columns import Columns, Encoded
from disthead.data.summary import Summary
from disthead.data.table import DataError
from disthead.data.values import parse_number
from disthead.diagnostics import TargetWarning, check_continuous_target
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.censored import is_pair
from disthead.distributions.independent import each_output
from disthead.errors import NonFiniteLoss, unknown_name, warn
from disthead.families.family import Family, get_family, takes_classes, takes_pairs, takes_vectors
from disthead.losses import reduce
from disthead.networks.backbone import TIMING, build, fused, qualified
from disthead.networks.model_folder import is_model_folder
from disthead.networks.predictive_model import PredictiveModel
from disthead.networks.schedule import plan, steps_of, warn_of_unfinished
from disthead.objectives import (
    check_objective,
    get_objective,
    name_of,
    specification,
    warn_of_untrained,
)
from disthead.objectives.likelihood import nll
from disthead.standardisation import (
    MIN_SCALE,
    check_precision,
    mean_and_std,
    warn_of_dominant_rows,
)
from disthead.training.collapse import CollapsedRows
from disthead.training.data import PARTS, TabularDataModule
from disthead.training.first_rows import first_rows, say_that_it_cannot, summary_of
from disthead.training.saved import (
    OBJECTIVE,
    check_sizes,
    check_weights,
    class_path,
    comparable,
    is_double,
    own_options,
    plain,
    read_checkpoint,
    rebuilding,
    without_objective,
)
from disthead.training.saving import AtomicCheckpointIO
from disthead.training.steps import (
    BareSteps,
    RowMeans,
    StepLosses,
    count_rows,
    count_steps,
    model_weights,
    takes_several_steps,
)
from disthead.training.trust import GIVEN, check_callbacks, check_classes
from disthead.weights import check_share, present

__all__ = ["DistributionModule", "NonFiniteLoss", "read_checkpoint"]

_IDENTITY = ("family", "family_options", "event_shape", "links", "fixed", "shared", "ensemble")
_LEVEL = 0.9  # of the interval whose coverage is logged
_LOGGED = ("nll", "nll_marginal", "accuracy", f"coverage_{_LEVEL * 100:.0f}")
# limits of one computation in validation and prediction
_BATCH_ROWS = 1 << 14
_BATCH_RAW_OUTPUTS = 1 << 23
# in one call of Lightning, where that is allowed, and between two looks at losses that are not
# finite
_STEPS_PER_CALL = 64


class DistributionModule(PredictiveModel, lightning.LightningModule):
    """A predictive model that is trained by Lightning, by its likelihood unless told otherwise.

    With a `TabularDataModule` everything is set up when `fit` starts: the number of inputs, the
    statistics that standardise inputs and real-valued targets (with the exact change of variable,
    so that the loss, too, is in the user's units), and the unconditional model (no features), at
    which the head starts and whose loss `nll_marginal` is the baseline. All of this is in the
    checkpoint.

    With your own data loaders give `in_features`. Batches are (features, y), (features, y, weight)
    or mappings with the keys "features", "y", "weight" and "known" ({"exposure": ...}). Statistics
    and start then come from the first 10,000 rows of the training loader, which is read once more
    for them without a change of its state; of several processes the first one reads them. Inputs
    are standardised where they are a plain tensor (N, in_features) of floating-point numbers.
    Others, such as images, sequences and nested inputs of your own backbone, are not. Weights (N,)
    are those of rows, weights (N, T) those of the steps of sequences (a mask). Rows and steps of
    weight 0 are not there, whatever their targets are.

    Logs `nll`, `nll_marginal` and `coverage_90` (of ordered targets, by the central interval) or
    `accuracy` (of classes) for `val/` and `test/`, and `train/nll`: means over rows, in nats.

    With another objective, such as "crps", `val/crps` and `val/crps_marginal` are logged as well,
    and `train/crps` in place of `train/nll`, in the user's units. Early stopping and the best
    checkpoint monitor `val/crps` unless told otherwise. The objective of the standardised target
    is minimised, so that neither the units nor the sizes of several targets matter. Training
    starts at the fit of maximum likelihood for all objectives.

    Args:
        family: the name of the family (`disthead families`).
        family_options: options of the family, such as `{"num_classes": 3}`. The number of classes
            may be left out where targets are given as text.
        event_shape: the shape of one target; taken from the target columns unless given.
        links: as for `DistributionHead`.
        fixed: as for `DistributionHead`, in the user's units.
        shared: as for `DistributionHead`.
        hidden_sizes: the sizes of the layers of the default backbone, a multilayer perceptron;
            without any sizes the model is linear.
        activation: that of the default backbone.
        dropout: that of the default backbone.
        backbone: another backbone, as a class path or `{"class_path": ..., "init_args": {...}}`,
            so that checkpoints can rebuild it; or as an `nn.Module`, which has to be given again to
            load a checkpoint.
        in_features: the number of features; taken from the table unless given.
        backbone_features: the size of the backbone's outputs; measured on zeros unless given.
        standardise: whether inputs and real-valued targets are standardised.
        min_scale: the minimum `scale` of a standardised target, in standard deviations of the
            training targets, so that no scale collapses onto a single row; for vectors that of the
            diagonal of `scale_tril`, or of the root of `cov_diag`. 0 for none (docs/edges.md).
        ensemble: the number of networks, trained at once by batched products, whose exact mixture
            is the prediction (docs/ensembles.md). Member e learns by its own objective, without
            the rows whose number in the table is e modulo `ensemble`. Your own backbone needs the
            attribute `members`, as `TabularBackbone` has it.
        objective: what training minimises: a name (`disthead.objectives.names()`), a name with
            options, `{"name": ..., ...}`, or a function of (dist, y) that returns one number per
            row, which has to be given again to go on training from a checkpoint. An objective by
            which the family cannot be trained is refused. The values of one that is an `nn.Module`
            are trained and saved with the model; read them from `module.objective`.
        optimizer: a class path, or class_path and init_args, such as
            `{"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}}`.
        scheduler: likewise; it may also have `interval` ("epoch", "step"), `frequency` and
            `monitor`.
        columns: the columns of the table; learned by `fit`, and read from checkpoints.
        spread_floor: the former name of `min_scale`.

    Attributes:
        objective: the function that training minimises; None where it is to be given again.
        objective_name: its name in logs.
        validated_by: the name of the one by which early stopping and the best checkpoint go: that
            of the objective, unless it has an attribute `validated_by`, as `beta_nll` has.

    Raises:
        ValueError: for invalid options.

    >>> module = DistributionModule("normal", in_features=3, hidden_sizes=[8])
    >>> module(torch.zeros(5, 3)).batch_shape
    torch.Size([5])
    """

    objective: Callable[..., Any] | None

    def __init__(
        self,
        family: str = "normal",
        family_options: dict[str, Any] | None = None,
        event_shape: Sequence[int] = (),
        links: dict[str, str] | None = None,
        fixed: dict[str, Any] | None = None,
        shared: list[str] | str = (),  # type: ignore[assignment]
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "SiLU",
        dropout: float = 0.0,
        backbone: str | dict[str, Any] | nn.Module | None = None,
        in_features: int | None = None,
        backbone_features: int | None = None,
        standardise: bool = True,
        min_scale: float = MIN_SCALE,
        ensemble: int = 1,
        objective: str | dict[str, Any] | Callable[..., Any] = "nll",
        optimizer: str | dict[str, Any] = "AdamW",
        scheduler: str | dict[str, Any] | None = None,
        columns: dict[str, Any] | None = None,
        spread_floor: float | None = None,
    ):
        super().__init__()
        if spread_floor is not None:
            warn("spread_floor is called min_scale now.", DeprecationWarning)
            min_scale, spread_floor = spread_floor, None
        arguments = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "__class__", "spread_floor")
        }
        options = {name: plain(value) for name, value in arguments.items()}
        for kind in ("backbone", "optimizer", "scheduler"):
            options[kind] = qualified(kind, options[kind])
        self.objective, self.objective_name, options["objective"] = _resolved(objective)
        validated_by = getattr(self.objective, "validated_by", None)
        self.validated_by = name_of(validated_by) if validated_by else self.objective_name
        # `save_hyperparameters` compares each argument with the options, which arrays do not allow
        self._set_hparams(options)
        self._hparams_initial = dict(options)
        self._log_hyperparams = True
        if isinstance(backbone, nn.Module):
            self.hparams["backbone"] = GIVEN + class_path(backbone)
        elif isinstance(backbone, str) and backbone.startswith(GIVEN):
            raise ValueError(
                f"this model was trained with a backbone {backbone}. Give it again: "
                "DistributionModule.load_from_checkpoint(path, backbone=...)."
            )
        self._own_backbone = backbone if isinstance(backbone, nn.Module) else None
        check_type(standardise, "standardise", bool, "True or False")
        for name in ("hidden_sizes", "event_shape"):
            as_integers(arguments[name], name)
        as_number(
            dropout, "dropout", "a probability, 0 or more and below 1", lambda share: 0 <= share < 1
        )
        self._check_family()
        for name in ("in_features", "backbone_features"):
            if self.hparams[name] is not None:
                as_integer(self.hparams[name], name)
        self.hparams["ensemble"] = as_integer(ensemble, "ensemble")
        expected = "0 (off) or a small positive number such as 1e-4"
        as_number(min_scale, "min_scale", expected, lambda least: 0 <= least < 1)
        self._collapsed = CollapsedRows(min_scale)
        self._means = {part: RowMeans() for part in PARTS[:3]}
        self._losses = StepLosses(self._means["train"], self.objective_name, _STEPS_PER_CALL)
        self._training_rows: int | None = None  # counted where the objective has a penalty
        # for each batch of validation: the first row whose objective is not finite (-1 for none),
        # and the number of such rows
        self._infinite: list[Tensor] = []
        self._random_state: Tensor | None = None
        self._has_started = False  # at the statistics of training rows, or the weights of a file
        self._resumes_within_epoch, self._made, self.steps_at_once = False, 0, 1
        if columns is not None:
            self.build(columns, self._own_backbone)
        elif in_features is not None or (backbone is not None and backbone_features is not None):
            self.build(None, self._own_backbone)

    @property
    def options(self) -> Mapping[str, Any]:
        return self.hparams

    def adapt_to(self, state: dict[str, Any], prefix: str = "") -> None:
        self._has_started |= self.head is not None
        super().adapt_to(state, prefix)

    def start_from(self, train: Summary) -> None:
        self._has_started = True
        super().start_from(train)
        if self.objective is not None and self.objective is not nll:
            head, members = self._known_head(), self.hparams.ensemble
            known = head.family, head.event_shape, members, self.hparams.fixed or ()
            head.hold(warn_of_untrained(self.objective, *known))

    def build(self, columns: dict[str, Any] | None, backbone: nn.Module | None = None) -> None:
        super().build(columns, backbone)
        assert self.head is not None
        self._check_objective(self.head.family, self.head.event_shape)

    def _check_family(self) -> None:
        """Refuse wrong options before data are read; those that depend on data may be missing."""
        hparams = self.hparams
        options = as_mapping(hparams.family_options, "family_options", "{'num_classes': 3}")
        as_mapping(hparams.fixed, "fixed", "{'scale': 1.0}")
        as_names(hparams.shared, "shared", "['scale']")
        if takes_classes(hparams.family):
            options.setdefault("num_classes", 2)
        shape = tuple(hparams.event_shape)
        try:
            family = get_family(hparams.family, event_shape=shape, **options)
        except ValueError:
            if shape or not takes_vectors(hparams.family):
                raise
            return
        family.resolve_links(hparams.links)
        self._check_objective(family, shape)

    @property
    def is_censored(self) -> bool:
        """Whether targets may be pairs (lower, upper), as those of the family censored."""
        return takes_pairs(self.hparams.family)

    def _check_objective(self, family: Family, event_shape: tuple[int, ...]) -> None:
        # every family can be trained by its likelihood
        if self.objective is not None and self.objective is not nll:
            check_objective(self.objective, family, event_shape, self.hparams.ensemble)

    @property
    def validated_at_once(self) -> int:
        """The number of rows in a batch of validation.

        It is large, since Lightning takes as much time for a batch as the computation of a
        thousand rows takes.
        """
        return min(_BATCH_ROWS, _BATCH_RAW_OUTPUTS // self._outputs_per_row)

    def predicted_at_once(self, samples: int = 0) -> int:
        """The number of rows in a batch of predictions, so that memory is bounded.

        Args:
            samples: the number of samples of each row.
        """
        assert self.head is not None
        numbers_per_row = max(self._outputs_per_row, samples * math.prod(self.head.event_shape))
        return max(1, _BATCH_RAW_OUTPUTS // numbers_per_row)

    @property
    def _outputs_per_row(self) -> int:
        assert self.head is not None
        family, links, shape = self.head.family, self.head.links, self.head.event_shape
        independent = math.prod(shape[: len(shape) - family.event_dim]) * self.hparams.ensemble
        return independent * family.width(links)

    # Hooks of Lightning.

    def configure_callbacks(self) -> list:
        """No callbacks. Lightning calls this method before it decides how steps are made."""
        if self.trainer.state.fn == "fit":
            self.automatic_optimization = True
        return []

    def setup(self, stage: str) -> None:
        if stage == "fit":
            if self.objective is None:
                raise ValueError(
                    f"this model was trained by an objective {self.hparams.objective}. Give it "
                    "again: DistributionModule.load_from_checkpoint(path, objective=...)."
                )
            self._training_rows = None
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = AtomicCheckpointIO()
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TabularDataModule):
            if self.head is None:
                raise ValueError(
                    "without a TabularDataModule the model needs in_features, the number of "
                    "features, or a backbone and backbone_features, the number of features that "
                    "it puts out."
                )
            if stage == "fit" and not self._has_started and self.trainer.ckpt_path is None:
                self._start_from_loader()
            return
        if self.columns is None:
            if stage != "fit":
                raise ValueError(
                    f"{getattr(stage, 'value', stage)} needs a trained model: call fit first, or "
                    "load a checkpoint."
                )
            columns = data.find_columns().state
            self.build(columns, self._own_backbone)
            self.hparams["columns"] = columns
            self._check_data(data, stage)
            self.start_from(data.summary("train"))
        else:
            self._check_data(data, stage)

    def _start_from_loader(self) -> None:
        assert self.head is not None
        try:
            train = first_rows(self.trainer, self, self.head)
        except ValueError as error:
            if not is_overridden("training_step", self, DistributionModule):
                raise
            say_that_it_cannot(
                f"its batches are for the training_step of {type(self).__name__}: {error}"
            )
            return
        if train is not None:
            self._prepare(train)

    def start(
        self, features: Any, y: Any, weight: Any = None, **row_constants: Any
    ) -> "DistributionModule":
        """Learn the statistics of inputs and targets, and the unconditional model, from these rows.

        The head starts at the unconditional model (no features). `fit` calls this with the first
        rows of the training loader; call it where that is not possible, or in your own training
        loop.

        Args:
            features: (N, in_features), which are standardised, or other inputs of the backbone,
                which are not.
            y: targets (N, *event_shape): a tensor, an array, a column of a table or a list.
            weight: (N,), zero or more; a row of weight 0 is not there.
            row_constants: quantities of each row, as for `forward`.

        Raises:
            TargetError: for targets outside the support of the family.
            ValueError: where the number of features is unknown, and for numbers that cannot be
                standardised.

        >>> module = DistributionModule("normal", in_features=1, hidden_sizes=[8])
        >>> module = module.start([[1.0], [2.0], [3.0]], [1e5, 3e5, 5e5])
        >>> module.target_loc, module.feature_loc
        (tensor(300000.), tensor([2.]))
        """
        if self.head is None:
            raise ValueError(
                "the model needs in_features, the number of features, before it can start."
            )
        features = (
            features if isinstance(features, (Mapping, tuple)) else as_tensor(features, "features")
        )
        weight = None if weight is None else as_tensor(weight, "weight")
        quantities = {name: as_tensor(values, name) for name, values in row_constants.items()}
        batch = Batch(features, as_tensor(y), weight, quantities)
        self._prepare(summary_of([batch], self.head))
        return self

    def _prepare(self, train: Summary) -> None:
        """Start from rows of a user's loader; features are standardised where they are a table."""
        assert self.head is not None
        if self.hparams.standardise:
            dtype = next(self.head.parameters()).dtype
            if train.features is not None:
                check_precision(
                    train.features.spread, train.features.level, dtype, "the table of features"
                )
                width = train.features.mean.numel()
                self.take_feature_statistics(torch.zeros(width), torch.ones(width))
            if self.can_standardise_target:
                check_precision(train.y.spread, train.y.level, dtype, "the target")
        if not self.has_baseline:
            self.add_baseline()
        weight, y, *values = present(
            train.sample.weight, train.sample.y, *train.sample.known.values()
        )
        names, count = ["the target"], self.head.family.points_of(y)[0].numel()
        if count > 1:
            names = [f"the target's column {column}" for column in range(count)]
        row_constants = dict(zip(train.sample.known, values, strict=True))
        warn_of_dominant_rows(self.head.family, y, weight, row_constants, names, None)
        self.start_from(train)

    def _check_data(self, data: TabularDataModule, stage: str) -> None:
        assert self.head is not None
        assert self.columns is not None
        family, classes = self.head.family, self.columns["classes"]
        if classes and family.kind not in CLASSES:
            name = next(iter(classes))
            shown = ", ".join([*classes[name][:3], *(["..."] if len(classes[name]) > 3 else [])])
            raise DataError(
                f"target {name!r} holds classes ({shown}), {family.name} takes numbers: "
                f"try the family {'bernoulli' if len(classes[name]) == 2 else 'categorical'}."
            )
        if family.kind == "ordinal" and not self.columns.get("has_order"):
            for name, labels in classes.items():
                _check_order(name, labels)
        if self.columns.get("unit") == "degrees" and family.kind != "direction":
            raise DataError(
                "targets in degrees are for families of directions, such as von_mises; "
                f"{family.name} is none."
            )
        if self.columns.get("event") and not family.is_censored:
            raise DataError(
                f"the event {self.columns['event']!r} says which targets are censored, which "
                f"{family.name} does not take: try the family censored with base={family.name}."
            )
        if stage == "predict" and self.columns["known"] and not data.streams("predict"):
            self.check_known(data.part("predict").table)
        parts = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for part in parts:
            if data.has(part):
                data.check_rows(part, self._check_rows)
                self._check_dominance(data, part)
                is_density = not family.support.is_discrete and family.kind != "mixed"
                if part == "train" and is_density:
                    sample = data.summary("train").sample
                    _, y = present(sample.weight, sample.y)
                    self._check_density(family.observed_rows(y, None)[0])

    def _check_dominance(self, data: TabularDataModule, part: str) -> None:
        """Refuse weights of which one row has nearly all, and warn of rows that dominate a loss."""
        assert self.head is not None
        assert self.columns is not None
        streams = data.streams(part)
        table = data.summary(part).sample if streams else data.part(part)
        weight, y, rows, *values = present(
            table.weight, table.y, torch.as_tensor(table.rows), *table.known.values()
        )
        names = [f"column {name!r}" for name in (*self._outputs, *self.columns["known"].values())]
        numbers = None if streams else rows
        kind = {"train": "training", "val": "validation"}.get(part, part)
        if part != "train":  # `start_from` checks the training rows
            check_share(
                weight, numbers, f"the mean over the {kind} rows would be that of a single row"
            )
        targets = len(self._outputs)
        row_constants = dict(zip(names[targets:], values, strict=True))
        warn_of_dominant_rows(
            self.head.family, y, weight, row_constants, names[:targets], numbers, kind
        )

    @property
    def _outputs(self) -> list[str]:
        """The names of the numbers that are predicted."""
        assert self.columns is not None
        return Columns.from_state(self.columns).outputs

    def _check_rows(self, table: Encoded) -> None:
        assert self.head is not None
        assert self.columns is not None
        assert table.y is not None
        target = "column " + ", ".join(map(repr, self.columns["target"]))
        self.head.family.check_target(table.y, target)
        self.check_known(table)
        self.head.family.check_beside(table.y, table.known, target)

    def check_known(self, table: Encoded) -> None:
        """Refuse rows with invalid row constants, such as an exposure of zero.

        It is called before training, and for each batch of a stream that is predicted.

        Raises:
            ValueError: with the column, the row and the value.
        """
        assert self.head is not None
        assert self.columns is not None
        self.head.family.check_row_constants(table.known, self.columns["known"])

    def _check_density(self, targets: Tensor) -> None:
        """Warn of targets that are not continuous, for families of densities."""
        assert self.columns is not None
        for name, y in zip(self._outputs, targets.reshape(len(targets), -1).unbind(1), strict=True):
            for message in check_continuous_target(y).messages:
                warnings.warn(f"target {name!r}: {message}", TargetWarning, stacklevel=2)

    def most_extreme(self, rows: Sequence[int] | None) -> str:
        """A sentence on the number farthest from the mean of its column, in standard deviations.

        It is empty where the table is not in memory.

        Args:
            rows: the numbers of rows of the table; None for all rows of training.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TabularDataModule) or data.streams("train") or self.columns is None:
            return ""
        part, state = data.part("train"), Columns.from_state(self.columns)
        names, columns = list(state.feature_names), [part.features.double()]
        if part.y.is_floating_point() and self.head is not None:
            y = self.head.family.points_of(part.y).double()
            names, columns = names + state.outputs, [*columns, y.reshape(len(y), -1)]
        numbers, table_rows = torch.cat(columns, 1), part.rows
        loc, scale = mean_and_std(numbers)
        distance = torch.where(scale > 0, (numbers - loc).abs() / scale, 0.0)
        if rows is not None:
            distance = torch.where(
                torch.isin(table_rows, torch.tensor(rows)).unsqueeze(1), distance, -1.0
            )
        place, column = divmod(int(distance.argmax()), numbers.shape[1])
        return (
            f"The most extreme number {'there' if rows is not None else 'of training'} is "
            f"{numbers[place, column]:g} in column {names[column]!r} at row "
            f"{int(table_rows[place])}, {distance[place, column]:.3g} standard deviations from "
            "the mean."
        )

    def on_fit_start(self) -> None:
        several = takes_several_steps(self.trainer, self, DistributionModule)
        within = self._resumes_within_epoch and self.trainer.ckpt_path is not None
        self._resumes_within_epoch = False
        if several and not within and isinstance(self.trainer.datamodule, TabularDataModule):
            self.steps_at_once, self.automatic_optimization = _STEPS_PER_CALL, False

    def on_train_start(self) -> None:
        self._losses = StepLosses(self._means["train"], self.objective_name, _STEPS_PER_CALL)
        # Lightning has its loader by now; loaders that are made for others give single batches
        self.steps_at_once = 1
        if self.trainer.ckpt_path is None:
            self._means["train"].sums.clear()
        state, self._random_state = self._random_state, None
        if state is not None and self.global_rank == 0 and self.trainer.ckpt_path is not None:
            torch.set_rng_state(state.cpu())  # so that dropout continues as without interruption

    def on_train_end(self) -> None:
        if not self.trainer.fast_dev_run:
            warn_of_unfinished(self.objective, self.objective_name, self.global_step)

    def on_fit_end(self) -> None:
        self.steps_at_once = 1  # also where `on_train_start` was not called

    def on_train_epoch_start(self) -> None:
        self._made = 0

    def training_step(self, batch: Any, batch_index: int) -> Tensor | None:
        if self.automatic_optimization:
            loss, penalty = self._loss(Batch.of(batch).present()), self._penalty()
            return loss if penalty is None else loss + penalty
        self._several_steps(batch if isinstance(batch, Steps) else Steps.of(Batch.of(batch)))
        return None

    def _several_steps(self, steps: Steps) -> None:
        """Make a step with each batch, by manual optimisation, and update the learning rates."""
        trainer, optimizer = self.trainer, self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        bare = BareSteps(optimizer.optimizer)
        schedulers = [
            config.scheduler for config in trainer.lr_scheduler_configs if config.interval == "step"
        ]
        callbacks: list[Any] = [
            callback for callback in trainer.callbacks if hasattr(callback, "after_step")
        ]
        with bare.used_by(trainer.strategy):
            for made, batch in enumerate(steps.batches(self.device), start=1):
                if bare.needs_closure:
                    optimizer.step(
                        functools.partial(
                            self._gradient, batch, optimizer.optimizer, bare.zero_grad
                        )
                    )
                else:  # a step whose gradient raises an error is not counted
                    self._gradient(batch, optimizer.optimizer, bare.zero_grad)
                    optimizer.step()
                self._made += 1
                for scheduler in schedulers:
                    self.lr_scheduler_step(scheduler, None)
                if made < steps.count:  # after the last step Lightning calls `on_train_batch_end`
                    for callback in callbacks:
                        callback.after_step(trainer, self)
        if trainer.is_last_batch:
            self._step_schedulers(on_plateau=False)

    def _step_schedulers(self, on_plateau: bool) -> None:
        """Update learning rates at the end of an epoch, as Lightning does for its own steps."""
        for config in self.trainer.lr_scheduler_configs:
            is_due = config.interval == "epoch" and (self.current_epoch + 1) % config.frequency == 0
            if config.reduce_on_plateau != on_plateau or not is_due:
                continue
            metric = None
            if on_plateau:
                metric = self.trainer.callback_metrics.get(config.monitor)
                if metric is None and config.strict:
                    raise unknown_name(
                        "metric that the scheduler monitors",
                        config.monitor,
                        self.trainer.callback_metrics,
                    )
                if metric is None:
                    warn(
                        f"the scheduler monitors {config.monitor}, which is not there: the "
                        "learning rate stays."
                    )
                    continue
            self.lr_scheduler_step(config.scheduler, metric)

    def _gradient(
        self, batch: Batch, optimizer: torch.optim.Optimizer, zero_grad: Callable[[], None]
    ) -> Tensor:
        values, weight = self._values(batch)
        share = (
            values.new_full(values.shape, 1 / values.numel())
            if weight is None
            else weight * (1 / batch.total)
        )
        zero_grad()
        values.backward(share)  # the gradient of `_loss`, without the operations of its mean
        penalty = self._penalty()
        if penalty is not None:
            penalty.backward()
        if self.trainer.gradient_clip_val:
            self.configure_gradient_clipping(
                optimizer, self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm
            )
        return values.detach() @ share

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The objective of each row that is there, summed over the members, and its weight."""
        standardised, objective = self._is_standardised_objective, self._objective_of_step
        assert self.objective is not None
        if self.members is None:
            options = {"standardised": True} if standardised else {}
            weight, dist, y = batch.weigh(self(batch.features, **options, **batch.known))
        else:
            dist = self.by_member(batch.features, standardised=standardised, **batch.known)
            weight, y = batch.weight, batch.y.expand(self.members, *batch.y.shape)
        if standardised:
            with torch.no_grad():
                logged = self._per_row(
                    self.objective,
                    dist.affine(self.target_loc, self.target_scale),
                    y,
                    batch.rows,
                )
            loc, scale = self.target_loc, self.target_scale
            if is_pair(y.shape, dist.batch_shape + dist.event_shape):
                loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
            y = ((y - loc) / scale).to(dist.dtype)
        values = self._per_row(objective, dist, y, batch.rows)
        if not standardised:
            logged = values
            if objective is not self.objective:
                with torch.no_grad():
                    logged = self._per_row(self.objective, dist, y, batch.rows)
        self._losses.add(
            logged,
            weight,
            batch.rows if batch.rows is not None else batch.positions,
        )
        # the gradient of each member is then that of a single network
        return values if self.members is None else values * self.members, weight

    @property
    def _is_standardised_objective(self) -> bool:
        """Whether the objective is that of the standardised target.

        The likelihood has the same gradient in all units.
        """
        if self.objective is nll or is_overridden("forward", self, DistributionModule):
            return False
        return self.head is not None and self.head.is_standardised

    @property
    def _objective_of_step(self) -> Callable[..., Any]:
        """The objective of the step that is about to be made, where it changes with the steps."""
        assert self.objective is not None
        at_step = getattr(self.objective, "at_step", None)
        return self.objective if at_step is None else at_step(self.global_step)

    def _penalty(self) -> Tensor | None:
        """What the objective of this step adds to its mean over rows, a function of the weights."""
        penalty = getattr(self._objective_of_step, "penalty", None)
        if penalty is None:
            return None
        if self._training_rows is None:
            self._training_rows = count_rows(self.trainer, self.objective_name)
        return penalty(model_weights(self), self._training_rows)

    def _per_row(
        self, objective: Callable[..., Any], dist: Distribution, y: Tensor, rows: Tensor | None
    ) -> Tensor:
        """The objective of each row; in an ensemble the mean over members that learn the row."""
        values = objective(dist, y)
        if self.members is None:
            return values
        if rows is None:
            return values.mean(0)
        members = torch.arange(self.members, device=values.device).unsqueeze(-1)
        return torch.where(rows % self.members == members, 0.0, values).sum(0) / (self.members - 1)

    def _loss(self, batch: Batch) -> Tensor:
        """The mean objective of the batch; of a part of a batch, its share of that mean."""
        processes = self.trainer.world_size
        if processes == 1 and batch.is_absent:
            zero = torch.zeros(1, device=self.device)
            self._losses.add(zero, zero)
            return self._zero_loss()
        values, weight = self._values(batch)
        if batch.total is None:
            return (
                reduce(values, weight)
                if weight is None
                else (values * weight).sum() / weight_of(weight)
            )
        if processes == 1 and weight is None:
            return reduce(values)
        weighted = values if weight is None else values * weight
        # Lightning's ddp averages gradients over processes, whose parts of the batch may differ in
        # size
        return weighted.sum() * processes / batch.total

    def _zero_loss(self) -> Tensor:
        """The loss of a batch in which no row is there: zero, with a gradient of zero."""
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return sum(
            (0.0 * parameter.sum() for parameter in learned), torch.zeros((), device=self.device)
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        if self._losses.is_due:
            self._losses.look(self)

    def on_train_epoch_end(self) -> None:
        self._losses.look(self)
        self._log("train")
        if not self.automatic_optimization and self._made:
            self._step_schedulers(on_plateau=True)

    def on_validation_epoch_start(self) -> None:
        self._losses.look(self)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        dist = self._evaluate("val", Batch.of(batch).present())
        if dist is not None and self.has_min_scale:
            if self.members is not None:  # scales collapse in each member by itself
                dist = dist.components
            dims = len(dist.batch_shape)
            self._collapsed.add(
                dist.map(lambda parameter: parameter.flatten(0, dims - 1)), self.target_scale
            )

    def on_validation_epoch_end(self) -> None:
        self._refuse_infinite("validation")
        self._log("val")
        self._collapsed.warn()

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate("test", Batch.of(batch).present())

    def on_test_epoch_end(self) -> None:
        self._refuse_infinite("test")
        self._log("test")

    def predict_step(self, batch: Any, batch_index: int) -> Distribution:
        batch = Batch.of(batch)
        return self.predictive(batch.features, **batch.known)

    def _evaluate(self, part: str, batch: Batch) -> Distribution | None:
        """Add the scores of the rows that are there to the means; returns their distributions.

        The result is None where no row is there.
        """
        objectives: dict[str, Callable] = {"nll": nll}
        if self.objective is not None:
            objectives[self.validated_by] = getattr(self.objective, "validated_by", self.objective)
            objectives[self.objective_name] = self.objective
        if batch.is_absent:
            for name in objectives:
                self._means[part].add(name, *torch.zeros(2, 1, device=self.device))
            return None
        dist = (self if part == "val" else self.predictive)(batch.features, **batch.known)
        baseline = self.marginal(*dist.batch_shape, **batch.known) if self.has_baseline else None
        weight, dist, y, baseline = batch.weigh(dist, baseline)
        values = {}
        for name, objective in objectives.items():
            with contextlib.suppress(NotImplementedError):  # some recalibrations have no density
                values[name] = objective(dist, y)
            if baseline is not None:
                values[f"{name}_marginal"] = objective(baseline, y)
        for name, value in (values | _hits(dist, y)).items():
            self._means[part].add(name, value, weight)
        if self.validated_by in values:
            self._note_infinite(values[self.validated_by], weight, batch)
        return dist

    @torch.no_grad()
    def _note_infinite(self, values: Tensor, weight: Tensor | None, batch: Batch) -> None:
        """Note the first row of a batch whose objective is not finite, and their number.

        Both stay on the device until the end of the epoch.
        """
        bad = ~values.detach().isfinite()
        if weight is not None:
            bad = bad & (weight > 0).reshape(weight.shape + (1,) * (bad.ndim - weight.ndim))
        if not bad.numel():
            return
        bad = bad.reshape(len(values), -1).any(-1) if bad.ndim else bad.reshape(1)
        rows = batch.rows if batch.rows is not None else batch.positions
        rows = (
            torch.arange(len(bad), device=bad.device)
            if rows is None or len(rows) != len(bad)
            else rows.to(bad.device)
        )
        first = torch.where(bad.any(), rows[bad.to(torch.uint8).argmax()], -1)
        self._infinite.append(torch.stack([first, bad.sum()]))

    def _refuse_infinite(self, part: str) -> None:
        """Refuse an objective that is not finite, by which no weights can be chosen."""
        noted, self._infinite = self._infinite, []
        if not self._has_started:  # an untrained model may have any objective
            return
        pairs = [pair for pair in torch.stack(noted).tolist() if pair[1]] if noted else []
        if pairs:
            count = sum(count for _, count in pairs)
            fits = self.trainer.state.fn == "fit"
            rows = f"{count} {part} row{'s' * (count != 1)}"
            raise NonFiniteLoss(
                (
                    f"the likelihood of {rows} is zero or not a number"
                    if self.validated_by == "nll"
                    else f"the {self.validated_by} of {rows} is infinite or not a number"
                )
                + f" in epoch {self.current_epoch}" * fits
                + f", at row {pairs[0][0]}: "
                + (
                    "no weights can be chosen by it"
                    if fits
                    else "there is no mean of it over the rows"
                )
                + ". Look for extreme values in the features and the target of that row; or try a "
                "family with heavier tails."
            )

    def _log(self, part: str) -> None:
        means = {
            f"{part}/{name}": mean for name, mean in self._means[part].take(self.trainer).items()
        }
        for name, mean in means.items():
            options: dict[str, Any] = {"logger": False} if self._counts_steps else {}
            options["prog_bar"] = name == f"{part}/{self.objective_name}"
            # the mean is the same in every process
            super().log(name, mean, sync_dist=self.trainer.world_size > 1, **options)
        if self._counts_steps and means and not self.trainer.sanity_checking:
            numbers = {name: mean.item() for name, mean in means.items()}
            numbers["epoch"] = self.current_epoch
            for logger in self.loggers:
                logger.log_metrics(numbers, self.global_step - 1)
                logger.save()

    @property
    def _counts_steps(self) -> bool:
        """Whether the module counts steps for the logs, since Lightning would count its calls."""
        return not self.automatic_optimization and self.trainer.state.fn == "fit"

    def log(self, name: str, value: Any, *arguments: Any, **options: Any) -> None:
        """Log a value as Lightning does, with the right step where several are made in one call."""
        super().log(name, value, *arguments, **options)
        if self._counts_steps:
            for name, number in (("step", self.global_step - 1), ("epoch", self.current_epoch)):
                super().log(name, float(number), on_step=False, on_epoch=True)

    def _planned(self, kind: str) -> Any:
        """The specification of an optimizer or scheduler, with numbers of the recipe for None."""
        spec = self.hparams[kind]
        options = spec.get("init_args") or {} if isinstance(spec, Mapping) else {}
        missing = [name for name in ("lr", "steps") if name in options and options[name] is None]
        if not missing:
            return spec
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TabularDataModule):
            raise ValueError(
                f"{missing[0]}=None is planned for the rows of a TabularDataModule: give the "
                f"{kind} a number."
            )
        rows, size = data.count("train"), data.batch_size
        values = {"lr": plan(rows, size).learning_rate, "steps": steps_of(self.trainer, rows, size)}
        return {**spec, "init_args": options | {name: values[name] for name in missing}}

    def configure_optimizers(self) -> Any:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        scales = (
            getattr(getattr(self._attached, "precision_plugin", None), "scaler", None) is not None
        )
        optimizer = build(
            "optimizer", fused(self._planned("optimizer"), parameters, scales), parameters
        )
        spec = self._planned("scheduler")
        if spec is None:
            return optimizer
        spec = dict(spec) if isinstance(spec, Mapping) else spec
        timing = {
            name: spec.pop(name) for name in TIMING if isinstance(spec, dict) and name in spec
        }
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": build("scheduler", spec, optimizer)} | timing,
        }

    @property
    def _attached(self) -> Any:
        """The trainer; None where there is none."""
        with contextlib.suppress(RuntimeError):
            return self.trainer
        return None

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._losses.look(self)  # which raises an error where losses were not finite
        checkpoint["random_state"] = torch.get_rng_state()
        checkpoint["train_sums"] = dict(self._means["train"].sums)
        if "loops" in checkpoint:
            self._count_batches(checkpoint["loops"]["fit_loop"])
        if self.recalibration is not None:
            checkpoint["recalibration"] = self.recalibration.config

    def _count_batches(self, loop: dict[str, Any]) -> None:
        """Let the saved epoch continue after the last step.

        It may not be that of the last batch, since an exception may come between the two.
        """
        loaders = loop["state_dict"].get("combined_loader", [])
        progress = loop["epoch_loop.batch_progress"]
        if len(loaders) != 1 or "position" not in loaders[0]:
            return
        done = progress["current"]["processed"] if self.automatic_optimization else self._made
        if done != loaders[0]["position"]:
            loaders[0]["position"] = done
            progress["current"] = dict.fromkeys(progress["current"], done)
            progress["is_last_batch"] = False

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        source = (self._attached and self._attached.ckpt_path) or "the checkpoint"
        saved = checkpoint.get("hyper_parameters", {})
        for name in _IDENTITY:
            if name in saved and comparable(saved[name]) != comparable(self.hparams[name]):
                raise ValueError(
                    f"{source} is of another model: {name} is {saved[name]!r} there and "
                    f"{self.hparams[name]!r} here."
                )
        check_callbacks(checkpoint.get("callbacks"))
        self._random_state = checkpoint.get("random_state")
        sums = checkpoint.get("train_sums", {})
        check_type(
            sums,
            f"train_sums of {source}",
            Mapping,
            "a mapping; take another copy of the checkpoint",
        )
        self._means["train"].sums = dict(sums)
        loop = checkpoint.get("loops", {}).get("fit_loop", {})
        if loop and self._attached is not None:
            count_steps(loop, checkpoint["global_step"])
        progress = loop.get("epoch_loop.batch_progress")
        self._resumes_within_epoch = bool(
            progress and progress["current"]["ready"] and not progress["is_last_batch"]
        )
        config = checkpoint.get("recalibration")
        self.recalibration = None if config is None else rebuild(config)
        state = checkpoint.get("state_dict", {})
        if self.objective is None:  # which predictions do not need
            state = checkpoint["state_dict"] = without_objective(state)
        check_weights(state, self.state_dict(), source)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        *,
        trust: str | Iterable[str] = (),
        **options: Any,
    ) -> Self:
        """The trained model in a checkpoint, with everything it needs to predict.

        A stranger's checkpoint runs no code (SECURITY.md).

        Args:
            checkpoint_path: a file on this machine, or a folder that an estimator saved. The model
                of weights in double precision, such as those of an estimator, stays in it.
            map_location: the device of the model; the CPU unless given.
            hparams_file: not supported; give other options by name.
            strict: whether the weights must be exactly those of this model; True unless given.
            weights_only: False is not supported, since torch would then run code from the file.
            trust: names of your own packages, modules or classes that the checkpoint may use
                beside those of torch.nn, torch.optim and disthead, such as that of a backbone.
            options: options that replace those of the checkpoint, such as `backbone`.

        Raises:
            ValueError: for a missing or corrupt file, one of another model, or one that names a
                class that is not trusted, with its name.
        """
        if weights_only is False:
            raise ValueError(
                "weights_only=False would run code that a checkpoint may hold; those of a "
                "DistributionModule are plain data and tensors, which are read without it: leave "
                "it out."
            )
        if hparams_file is not None:
            raise ValueError(
                f"hparams_file {hparams_file} is not read, since checkpoints hold their options: "
                "give others by name, such as load_from_checkpoint(path, min_scale=0)."
            )
        checkpoint = read_checkpoint(checkpoint_path)
        saved = own_options(cls, checkpoint["hyper_parameters"])
        if "family" in options and options["family"] != saved["family"]:
            raise ValueError(
                f"{checkpoint_path} is a checkpoint of {saved['family']}, not of "
                f"{options['family']}."
            )
        saved = {name: value for name, value in saved.items() if name not in options}
        check_classes(saved, checkpoint_path, trust)
        with rebuilding(checkpoint_path):
            if cls is DistributionModule and _is_of_torch((saved | options).get("backbone")):
                check_sizes(
                    lambda: cls(**saved | options), checkpoint["state_dict"], checkpoint_path
                )
            module = cls(**saved | options)
            if is_double(checkpoint["state_dict"]):
                module.double()
            module.configure_model()
            if is_model_folder(checkpoint_path):  # which holds nothing that an objective learned
                checkpoint["state_dict"] |= {
                    name: value
                    for name, value in module.state_dict().items()
                    if name.startswith(OBJECTIVE)
                }
            module.on_load_checkpoint(checkpoint)
            strict = module.strict_loading if strict is None else strict
            missing, unexpected = module.load_state_dict(checkpoint["state_dict"], strict=strict)
        if missing or unexpected:
            warn(
                f"{checkpoint_path} does not fit this model: missing {missing}, unexpected "
                f"{unexpected}."
            )
        return module.to(map_location or "cpu")


def _resolved(objective: Any) -> tuple[Callable | None, str, Any]:
    """An objective, its name, and its plain data for checkpoints.

    The objective is None where it is that of a checkpoint and was a function, which has to be given
    again.
    """
    if isinstance(objective, str) and objective.startswith(GIVEN):
        return None, objective.rpartition(".")[2], objective
    # options of checkpoints are tried on the meta device, which has no numbers to compute with
    with torch.device("cpu"):
        function = get_objective(objective)
    name, plain_data = name_of(function), specification(function)
    if plain_data is None:
        if name in _LOGGED:
            reason = f"{name} is logged already"
            raise ValueError(
                f"an objective of your own needs a name of its own, {reason}: rename it."
            )
        plain_data = f"{GIVEN}{function.__module__}.{name}"
    return function, name, plain_data


def _check_order(target: str, labels: Sequence[str]) -> None:
    """Refuse classes whose order is not that of numbers.

    Raises:
        DataError: with the first labels, and how to write them.
    """
    numbers = [number for number in map(parse_number, labels) if number is not None]
    if len(numbers) < len(labels) or numbers != sorted(numbers):
        raise DataError(
            f"target {target!r} holds classes without an order ({', '.join(labels[:5])}), ordinal "
            "needs one: name them from the lowest to the highest, --data.order '[low, high]' "
            "(order=['low', 'high'] in Python); or take the family categorical."
        )


def _is_of_torch(backbone: Any) -> bool:
    """Whether the backbone is of torch or disthead, which can be made on the meta device."""
    path = backbone.get("class_path") if isinstance(backbone, Mapping) else backbone
    return backbone is None or (
        isinstance(path, str) and path.startswith(("torch.nn.", "disthead."))
    )


def _hits(dist: Distribution, y: Tensor) -> dict[str, Tensor]:
    """The accuracy of each row's most probable class, or the coverage of its central intervals."""
    if each_output(dist).kind in CLASSES:
        return {"accuracy": _row_share(dist.mode == y)}
    try:
        below, at = (dist.marginals if dist.event_shape else dist).cdf_limits(y)
    except (NotImplementedError, AttributeError):
        return {}
    tail = (1 - _LEVEL) / 2
    hits = (at >= tail) & (below <= 1 - tail)
    if dist.is_censored and is_pair(y.shape, dist.batch_shape + dist.event_shape):
        # the expected share, where the number lies anywhere between its ends
        inside = (at.clamp(max=1 - tail) - below.clamp(min=tail)).clamp(min=0)
        width = at - below
        hits = torch.where(width > 0, inside / torch.where(width > 0, width, 1.0), hits.float())
    return {f"coverage_{_LEVEL * 100:.0f}": _row_share(hits)}


def _row_share(hits: Tensor) -> Tensor:
    hits = hits.float()
    return hits.flatten(1).mean(1) if hits.ndim > 1 else hits
