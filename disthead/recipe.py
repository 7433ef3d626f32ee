"""The default recipe: it learns a calibrated distribution from a table, with one set of settings.

features -> standardised -> TabularBackbone -> MemberHead -> objective (-log_prob unless another is
given), trained with AdamW, WarmupConstantDecay and WeightAverage. Members are networks that are
trained side by side. Rows held out from a member decide when it stops (`train`), and `fit_tabular`
makes one model of the members.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer, as_integers, as_mapping
from disthead.calibration import Recalibration, ScaleCalibration, TemperatureScaling
from disthead.data.split import draw_folds, equal_rows, numbered, row_numbers, warn_of_copies
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.circular import Circular
from disthead.distributions.independent import each_output
from disthead.errors import NonFiniteLoss, TargetError, locate, warn
from disthead.families.family import Family, get_family
from disthead.networks.averaging import WeightAverage
from disthead.networks.predictive_model import PredictiveModel
from disthead.networks.schedule import PATIENCE, WarmupConstantDecay, plan, warn_of_unfinished
from disthead.networks.tabular import (
    Dropout,
    MemberHead,
    TabularBackbone,
    backbone_options,
    start_near_unconditional_fit,
)
from disthead.objectives import check_objective, get_objective, name_of, warn_of_untrained
from disthead.objectives.likelihood import nll
from disthead.standardisation import (
    MIN_SCALE,
    check_relative_spread,
    is_real,
    mean_and_std,
    standardised,
    target_units,
    warn_of_dominant_rows,
    why_not,
)
from disthead.weights import as_weight, check_share, present

__all__ = [
    "Training",
    "fit_tabular",
    "tabular_model",
    "train",
]

_MIN_ROWS_TO_SPLIT = 30  # the loss on a part of fewer rows is too noisy to stop by
_STEPS_WITHOUT_VALIDATION = 200
_MIN_INITIAL_SCALE = 0.1  # of a standardised target
_INTEGER_OPTIONS = ("max_steps", "batch_size", "check_every", "patience")  # of `train`


@dataclass(frozen=True)
class EncodedRows:
    """Encoded features of rows with the row constants beside them, indexed as one tensor is.

    Attributes:
        features: (rows, entries), or (members, rows, entries).
        row_constants: quantities of each row by name, (rows,), or (members, rows).
    """

    features: Tensor
    row_constants: Mapping[str, Tensor]

    @property
    def is_cpu(self) -> bool:
        """Whether the rows are in the memory of the host."""
        return self.features.is_cpu

    def index_select(self, dim: int, rows: Tensor) -> "EncodedRows":
        """The rows with these numbers; `dim` is 0."""
        return self[rows]

    def __getitem__(self, rows: Tensor) -> "EncodedRows":
        constants = {name: values[rows] for name, values in self.row_constants.items()}
        return EncodedRows(self.features[rows], constants)


def from_encoded(model: PredictiveModel, encoded: "Tensor | EncodedRows") -> Distribution:
    """The members' distributions of standardised targets, from features that are encoded already.

    Args:
        model: a model with a head.
        encoded: (rows, entries), or (members, rows, entries) for other rows in each member, as
            `backbone.encode` returns them; with row constants as `EncodedRows`.

    Returns:
        A distribution with batch_shape (members, rows).
    """
    assert model.head is not None
    constants: Mapping[str, Tensor] = {}
    if isinstance(encoded, EncodedRows):
        encoded, constants = encoded.features, encoded.row_constants
    return model.head(model.backbone.layers(encoded), standardised=True, **constants)


@dataclass(frozen=True)
class Training:
    """The record of a training.

    Attributes:
        steps: the number of steps until the weights that were kept, (members,); 0 where no rows
            were held out at all.
        stopped: the number of steps that were made.
        loss: the mean objective on the rows held out from each member, (members,), in the units of
            the targets of the training. Where some members have no rows held out, it is the mean of
            the others; nan where no rows were held out at all.
        objective: the name of the objective of `loss`, that of the training unless this is
            validated by another, as `beta_nll` is by the likelihood.
        learned: the objective with the values that it learned; None where it learns none.
    """

    steps: Tensor
    stopped: int
    loss: Tensor
    objective: str = "nll"
    learned: nn.Module | None = None

    @property
    def nll(self) -> Tensor:
        """The former name of `loss`."""
        warn(
            "Training.nll is called loss now, since training may have another objective.",
            DeprecationWarning,
        )
        return self.loss


def train(
    model: PredictiveModel,
    features: Tensor,
    y: Tensor,
    held_out: Tensor,
    *,
    objective: "str | Mapping[str, Any] | Callable" = "nll",
    weight: Tensor | None = None,
    row_constants: Mapping[str, Tensor] | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 1e-4,
    batch_size: int | None = None,
    max_steps: int | None = None,
    check_every: int = 50,
    patience: int = PATIENCE,
    average_decay: float = 0.99,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Training:
    """Train all members at once, with early stopping on the rows held out from each of them.

    All members see the same batches, in which rows held out from a member have the weight 0. Every
    `check_every` steps the averaged weights are evaluated on the rows held out. A member keeps its
    best averaged weights. Where some members have no rows held out, since they learn from all rows,
    all members keep the weights of one step, the one with the best mean of the others. Training
    ends after `max_steps`. It ends earlier when `patience` steps, and as many as the best weights
    took, have brought no improvement.

    Args:
        model: the networks; their weights become the ones that are kept.
        features: (N, in_features), standardised.
        y: targets (N, *event_shape), standardised where the head is.
        held_out: booleans (members, N).
        objective: what is minimised, as for `disthead.objectives.get_objective`. Of an `nn.Module`
            a copy is trained; the values that it learns are the same for all members.
        weight: (N,), positive.
        row_constants: quantities of each row by name, (N,), such as `exposure`.
        learning_rate: the peak of the learning rate; `disthead.networks.schedule.plan` chooses it,
            `batch_size` and `max_steps` unless they are given.
        weight_decay: that of AdamW.
        batch_size: rows in a step.
        max_steps: the largest number of steps.
        check_every: steps between two evaluations.
        patience: the smallest number of steps without improvement after which training ends.
        average_decay: that of `WeightAverage`.
        generator: of batches and dropout; torch's global one unless given.
        progress: called after each evaluation with the step, `max_steps`, and the mean objective
            on the rows held out.

    Raises:
        NonFiniteLoss: where the loss becomes NaN or infinite, with rows and targets. On a GPU,
            where reading every loss would cost time, the losses are read every `check_every` steps.
    """
    objective = get_objective(objective)
    learned = None
    if isinstance(objective, nn.Module):
        objective = learned = copy.deepcopy(objective).to(features.device)
    at_step = getattr(objective, "at_step", None)
    count, rows = held_out.shape
    batch_size, max_steps, learning_rate = plan(rows, batch_size, max_steps, learning_rate)
    trained_on = (~held_out).to(features.dtype)
    if weight is not None:
        weight = weight.to(features.dtype)
        trained_on = trained_on * weight
    trained_on = trained_on / trained_on.mean(1, keepdim=True)
    has_validation_rows = held_out.any(1)
    is_validated = bool(has_validation_rows.any())
    shares_best_step = not bool(has_validation_rows.all())
    if not is_validated:
        max_steps = min(max_steps, _STEPS_WITHOUT_VALIDATION)
    validated_by = getattr(objective, "validated_by", objective)
    validation = _HeldOutRows(validated_by, held_out, weight)

    weights = [pair for pair in model.named_parameters() if pair[1].requires_grad]
    parameters = [parameter for _, parameter in weights]
    if learned is not None:
        parameters += [parameter for parameter in learned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    # A warmup over a fifth of the steps: tables that are overfitted soon are learned at a low
    # rate, where steps next to the best one are about as good.
    schedule = WarmupConstantDecay(optimizer, max_steps, warmup=None)
    average = WeightAverage(parameters, average_decay)
    best = [value.clone() for value in average.values]
    best_loss = features.new_full((count,), math.inf)
    best_step = torch.zeros(count, dtype=torch.long, device=features.device)
    encoded: Any = model.backbone.encode(features)
    if row_constants:
        encoded = EncodedRows(encoded, row_constants)
    checks_every_loss = encoded.is_cpu
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator

    # patience counts from the first step of the last objective
    step, last_change, batches = 0, 0, _batches(rows, batch_size, generator, features.device)
    while step < max_steps:
        batch = next(batches)
        targets = y.index_select(0, batch)
        dist = from_encoded(model, encoded.index_select(0, batch))
        present_objective: Any = objective if at_step is None else at_step(step)
        if at_step is not None and present_objective is not at_step(max_steps):
            last_change = step + 1
        losses = present_objective(dist, targets.expand(count, *targets.shape))
        loss = (losses * trained_on.index_select(1, batch)).mean(1).sum()
        penalty = getattr(present_objective, "penalty", None)
        if penalty is not None:
            loss = loss + penalty(weights, rows)
        if checks_every_loss and not math.isfinite(loss.detach().item()):
            raise _NonFiniteRows(losses.detach(), batch, step + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update()
        step += 1
        if step % check_every and step < max_steps:
            continue
        if not is_validated:
            continue
        with average.applied():
            validation_loss = validation.loss(model, encoded, y)
            if bool(validation_loss[has_validation_rows].isnan().any()):
                raise validation.error(model, encoded, y, step)
        if shares_best_step:
            validation_loss = validation_loss[has_validation_rows].mean().expand(count)
        is_better = validation_loss < best_loss
        best_loss = torch.where(is_better, validation_loss, best_loss)
        best_step[is_better] = step
        for place, (kept, value) in enumerate(zip(best, average.values, strict=True)):
            if place < len(weights):
                kept[is_better] = value[is_better]
            elif bool(is_better.any()):  # what the objective learns is common to all members
                kept.copy_(value)
        if progress is not None:
            progress(step, max_steps, float(validation_loss[has_validation_rows].mean()))
        last = max(int(best_step.max()), last_change)
        if step >= last + max(patience, last):
            break
    if bool(best_loss[has_validation_rows].isinf().any()):
        with average.applied():  # the weights of the last check, by which the rows are found
            raise validation.error(model, encoded, y, step)
    with torch.no_grad():
        torch._foreach_copy_(parameters, best if is_validated else average.values)
    warn_of_unfinished(objective, name_of(objective), step)
    best_loss = torch.where(best_loss.isfinite(), best_loss, math.nan).cpu()
    return Training(best_step.cpu(), step, best_loss, name_of(validated_by), learned)


def _batches(
    rows: int, size: int, generator: torch.Generator | None, device: torch.device
) -> Iterator[Tensor]:
    """Batches of row numbers without end, in a new random order each epoch; all are full."""
    while True:
        yield from (
            torch.randperm(rows, generator=generator).to(device)[: rows // size * size].split(size)
        )


class _HeldOutRows:
    """The rows held out from each member, filled up to one number with rows of weight 0."""

    def __init__(self, objective: Callable, held_out: Tensor, weight: Tensor | None):
        self.objective = objective
        size = int(held_out.sum(1).max())
        self.rows = held_out.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :size]
        self.weight = held_out.gather(1, self.rows).float()
        if weight is not None:
            self.weight = self.weight * weight[self.rows]

    @torch.no_grad()
    def loss(self, model: PredictiveModel, encoded: Any, y: Tensor) -> Tensor:
        """The mean objective over the rows held out from each member."""
        losses = self._losses(model, encoded, y)
        return (losses * self.weight).sum(1) / self.weight.sum(1)

    @torch.no_grad()
    def error(self, model: PredictiveModel, encoded: Any, y: Tensor, step: int) -> NonFiniteLoss:
        """The error for losses of these rows that are not finite."""
        return _NonFiniteRows(self._losses(model, encoded, y), self.rows, step)

    def _losses(self, model: PredictiveModel, encoded: Any, y: Tensor) -> Tensor:
        model.eval()
        losses = self.objective(from_encoded(model, encoded[self.rows]), y[self.rows])
        model.train()
        return torch.where(self.weight > 0, losses, 0.0)


class _NonFiniteRows(NonFiniteLoss):
    """The error for losses (members, n) that are not all finite, of rows (n,) or (members, n)."""

    def __init__(self, losses: Tensor, rows: Tensor, step: int):
        bad = ~losses.isfinite()
        self.rows = rows.expand(bad.shape)[bad].unique().cpu()
        self.begin = f"the loss became NaN or infinite at step {step}"
        if not len(self.rows):
            self.end = (
                "The loss of each single row is finite with the weights of this step: their sum "
                "is not, or one was infinite at an earlier step. Look for extreme targets first, "
                "then try a lower learning_rate, or a family whose support has no learned end."
            )
            super().__init__(f"{self.begin}. {self.end}")
            return
        self.end = (
            "These are all rows of the batch, so the weights of the network have become too "
            "large. Look for extreme features and targets first, then try a lower learning_rate."
            if bool(bad.all())
            else "Look there for extreme targets, or try a family with heavier tails, such as "
            "student_t."
        )
        shown = ", ".join(map(str, self.rows[:3].tolist())) + (
            ", ..." if len(self.rows) > 3 else ""
        )
        super().__init__(f"{self.begin}, in the rows {shown}. {self.end}")

    def of_targets(self, y: Tensor, rows: Tensor) -> NonFiniteLoss:
        """The same error with the targets; `rows` are the numbers of the training rows in `y`."""
        if not len(self.rows):
            return NonFiniteLoss(str(self))
        bad = torch.zeros(y.shape, dtype=torch.bool)
        bad[rows.cpu()[self.rows]] = True
        return NonFiniteLoss(f"{self.begin}, in {locate(bad, y.cpu())}. {self.end}")


def tabular_model(
    features: Tensor,
    y: Tensor,
    *,
    family: str = "student_t",
    family_options: Mapping[str, Any] | None = None,
    members: int = 1,
    hidden_sizes: Sequence[int] = (128, 128),
    bins: int = 16,
    min_scale: float = MIN_SCALE,
    encoded: Sequence[int] | None = None,
    weight: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> PredictiveModel:
    """The model before training: networks with random weights, and the statistics of the rows.

    Features are standardised by their mean and standard deviation, real-valued targets by
    `disthead.standardisation.target_units`: outliers count as if they were nearer where the family
    expects them, and constant targets are standardised by a millionth of their size.

    Args:
        features: (N, in_features).
        y: (N,), (N, D) for several targets, or pairs (N, 2) of the family censored.
        family: as for `fit_tabular`.
        family_options: as for `fit_tabular`.
        members: the number of networks.
        hidden_sizes: as for `fit_tabular`.
        bins: as for `fit_tabular`.
        min_scale: as for `fit_tabular`.
        encoded: as for `fit_tabular`.
        weight: (N,), positive.
        generator: where the weights are drawn from; torch's global one unless given.
    """
    chosen = _family(family, family_options, y)
    event_shape = chosen.event_shape_of(y)
    common: dict[str, Any] = {"members": members, "generator": generator}
    backbone = TabularBackbone(
        features.shape[1], hidden_sizes, bins=bins, encoded=encoded, **common
    )
    head = MemberHead(chosen, backbone.out_features, event_shape=event_shape, **common)
    head.min_scale = min_scale
    model = PredictiveModel(backbone, head)
    loc, std = mean_and_std(features, weight)
    model.take_feature_statistics(loc, torch.where(std > 0, 1 / std, 0.0))
    model.add_baseline()
    if why_not(chosen, {}) is None:
        for one in (head, model.baseline):
            one.change_units(*target_units(y, weight, chosen))
    model.options = {
        "family": family,
        "family_options": dict(family_options or {}),
        "event_shape": list(event_shape),
        "in_features": features.shape[1],
        "backbone": backbone_options(hidden_sizes, bins, encoded),
        "min_scale": min_scale,
        "ensemble": members,
    }
    return model.to(features.device)


def _family(family: str, options: Mapping[str, Any] | None, y: Tensor) -> Family:
    options = as_mapping(options, "family_options", "{'num_classes': 3}")
    return get_family(family, event_shape=tuple(y.shape[1:]), **options)


def fit_tabular(
    features: Tensor,
    y: Tensor,
    *,
    family: str = "student_t",
    family_options: Mapping[str, Any] | None = None,
    objective: "str | Mapping[str, Any] | Callable" = "nll",
    ensemble: int = 1,
    hidden_sizes: Sequence[int] = (128, 128),
    bins: int = 16,
    min_scale: float = MIN_SCALE,
    encoded: Sequence[int] | None = None,
    weight: Tensor | None = None,
    groups: Tensor | None = None,
    row_constants: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[PredictiveModel, Training]:
    """Train the default recipe on a table.

    - `ensemble=1` trains two networks at once. A fifth of the rows is held out from the first one,
      which finds the best step and a factor that corrects the scale of predictions on unseen rows:
      `ScaleCalibration` for real numbers and directions, `TemperatureScaling` for classes and
      rankings, none for other families, which it would not leave in the family. The second network
      learns from all rows, and predicts.
    - `ensemble=8` trains eight networks at once. From each another eighth of the rows is held out,
      by which its best step is found. All predict.

    Rows with equal features are held out together, since copies of a row in training would reveal
    its target. Excepted are features that 20 or more rows with different targets share, as in
    tables of a few categories (`disthead.data.split.equal_rows`). With `groups`, the rows of a
    group are held out together instead.

    With fewer than 30 rows, or fewer than 30 different ones, nothing is held out: training makes a
    fixed small number of steps, and a warning says so.

    Args:
        features: (N, in_features), finite numbers in any units, on the device to train on.
        y: (N,), (N, D) for several targets, or pairs (N, 2) of the family censored, in any units.
        family: as for `DistributionHead`.
        family_options: as for `DistributionHead`.
        objective: what is minimised, of the standardised target, as for
            `disthead.objectives.get_objective`. The best step is that with the least objective on
            the rows held out, or the least likelihood where the objective is validated by that,
            as `beta_nll`, `faithful`, `warm_up`, `tempered` and `map` are. The scale is corrected
            only where the likelihood validates, or where the objective trains none.
        ensemble: the number of networks that predict.
        hidden_sizes: as for `TabularBackbone`.
        bins: as for `TabularBackbone`.
        min_scale: the minimum scale of a standardised target, so that no scale collapses onto a
            single row.
        encoded: as for `TabularBackbone`.
        weight: (N,), zero or more, used in all statistics, the initial values, the loss, the
            objective on rows held out and the factor for the scale. A row of weight 0 is not there,
            whatever its features and its target are.
        groups: (N,), integers; equal ones for rows that are not independent, such as those of one
            panel, person or site.
        row_constants: quantities of each row by name, (N,), such as `exposure` and `total_count`
            (`Family.row_constants`).
        seed: of weights, folds and batches; the same seed gives the same model on a CPU. No other
            generator is used.
        options: as for `train`.

    Returns:
        The model, in evaluation mode, and the record of its training.

    Raises:
        TargetError: for targets outside the support of the family.
        NonFiniteLoss: where the loss becomes NaN or infinite, with rows and targets.
        ValueError: for features that are not finite, for invalid weights and groups, and for an
            objective that the family cannot be trained by.
    """
    if "spread_floor" in options:
        warn("spread_floor is called min_scale now.", DeprecationWarning)
        min_scale = options.pop("spread_floor")
    objective = get_objective(objective)
    ensemble, hidden_sizes = (
        as_integer(ensemble, "ensemble"),
        as_integers(hidden_sizes, "hidden_sizes"),
    )
    bins = as_integer(bins, "bins", 0)
    options |= {
        name: as_integer(options[name], name)
        for name in _INTEGER_OPTIONS
        if options.get(name) is not None
    }
    weight = as_weight(weight, y.shape[:1], device=y.device)
    all_y, rows = y, torch.arange(len(y), device=y.device)
    constants = dict(row_constants or {})
    weight, features, y, groups, rows, *values_there = present(
        weight, features, y, groups, rows, *constants.values()
    )
    constants = dict(zip(constants, values_there, strict=True))
    if weight is not None:
        weight = (
            None if bool((weight == weight[0]).all()) else weight.double() / weight.double().mean()
        )
    _check_features(features, rows)
    chosen = _family(family, family_options, y)
    untrained: list[str] = []
    if objective is not nll:  # every family can be trained by its likelihood
        check_objective(objective, chosen, chosen.event_shape_of(y))
        untrained = warn_of_untrained(objective, chosen, chosen.event_shape_of(y))
    chosen.check_target(y)
    chosen.check_row_constants(constants)
    chosen.check_beside(y, constants, "y")
    check_share(weight, rows)
    check_relative_spread(chosen, y, weight)
    count = chosen.points_of(y)[0].numel()
    columns = ["y"] if count == 1 else [f"column {column} of y" for column in range(count)]
    warn_of_dominant_rows(chosen, y, weight, constants, columns, rows)
    generator = torch.Generator().manual_seed(seed)  # of folds and batches
    held_out = _held_out(features, y, groups, ensemble, generator).to(features.device)
    model = tabular_model(
        features,
        y,
        family=family,
        family_options=family_options,
        members=len(held_out),
        hidden_sizes=hidden_sizes,
        bins=bins,
        min_scale=min_scale,
        encoded=encoded,
        weight=weight,
        generator=torch.Generator().manual_seed(seed),
    )
    backbone, head = model.backbone, model.head
    assert head is not None
    inputs, targets = model.standardise(features), _standardised(model, y)
    _check_standardised(inputs, features, rows)
    backbone.fit(inputs, weight)
    _check_precision(chosen, targets, y, rows)
    constants = {name: values.to(inputs.dtype) for name, values in constants.items()}
    biases = head.fitted_biases(targets, constants, weight)
    values = chosen.constrain(biases, head.links)
    learned = {name: values[name] for name in biases}
    model.baseline.start_at(chosen.unconstrain(learned, model.baseline.links))
    head.start_at(biases)
    start = max(_MIN_INITIAL_SCALE, 2 * min_scale)  # above the minimum scale
    start_near_unconditional_fit(head, start if head.is_standardised else 0.0)
    head.hold(untrained)
    try:
        training = train(
            model,
            inputs,
            targets,
            held_out,
            objective=objective,
            weight=weight,
            row_constants=constants,
            generator=generator,
            **options,
        )
    except _NonFiniteRows as error:
        raise error.of_targets(all_y, rows) from None
    if ensemble == 1:
        # the factor is fitted by the likelihood, so that a single row whose scale is too small
        # would make it large; other objectives let scales become that small, or do not train them
        if getattr(objective, "validated_by", objective) is nll or untrained:
            _recalibrate(model, inputs, targets, held_out[0], weight, constants)
        model = model.only(-1)
    return model.eval(), training


def _standardised(model: PredictiveModel, y: Tensor) -> Tensor:
    """Targets in single precision, standardised where the head is."""
    assert model.head is not None
    if model.head.is_standardised:
        y = standardised(y, model.target_loc, model.target_scale)
    return y.float() if y.is_floating_point() else y


def _recalibrate(
    model: PredictiveModel,
    inputs: Tensor,
    targets: Tensor,
    held_out: Tensor,
    weight: Tensor | None,
    row_constants: Mapping[str, Tensor],
) -> None:
    """Fit the factor for the scale to the rows held out from the first member.

    The factor is the same for standardised targets and for targets in their units.
    """
    assert model.head is not None
    with torch.no_grad():
        dist = model.head(model.backbone(inputs), standardised=True, **row_constants)
        dist = dist[0][held_out]
    recalibration = _recalibration(dist)
    if recalibration is not None and bool(held_out.any()):
        rows = None if weight is None else weight[held_out]
        model.recalibration = recalibration.fit(dist, targets[held_out], rows)


def _held_out(
    features: Tensor, y: Tensor, groups: Tensor | None, ensemble: int, generator: torch.Generator
) -> Tensor:
    """Booleans (members, rows): which rows are held out from which member."""
    rows, members = len(features), 2 if ensemble == 1 else ensemble
    sizes = (
        [rows // 5]
        if ensemble == 1
        else [rows // members + (fold < rows % members) for fold in range(members)]
    )
    numbers = _group_numbers(features, y, groups)
    if numbers is None:
        return torch.zeros(1 if ensemble == 1 else members, rows, dtype=torch.bool)
    folds = draw_folds(numbers, sizes, generator)
    return folds == torch.arange(members).where(torch.arange(members) < len(sizes), -1).unsqueeze(1)


def _group_numbers(features: Tensor, y: Tensor, groups: Tensor | None) -> Tensor | None:
    """One number for rows that are held out together; None for too few rows to hold any out."""
    rows = len(features)
    if groups is not None:
        numbers = numbered(groups)
        if int(numbers.max()) == 0:
            raise ValueError(
                f"groups must be two or more, got {groups[0].item()} in all {rows} rows."
            )
    else:
        copy = row_numbers(torch.cat([features.double(), y.reshape(rows, -1).double()], 1))
        numbers = equal_rows(row_numbers(features), copy, _MIN_ROWS_TO_SPLIT)
    count = int(numbers.max()) + 1
    is_few = rows < _MIN_ROWS_TO_SPLIT or (groups is None and count < _MIN_ROWS_TO_SPLIT)
    if is_few:
        different = f"only {count} of them differ; " if count < rows and groups is None else ""
        warn(
            f"{rows} rows are too few to hold some of them out ({different}from "
            f"{_MIN_ROWS_TO_SPLIT} on a part is): the model makes {_STEPS_WITHOUT_VALIDATION} "
            "steps, and nothing corrects its spread."
        )
    elif groups is None:
        warn_of_copies(numbers, copy, "give `groups`")
    return None if is_few else numbers


def _check_precision(family: Family, targets: Tensor, y: Tensor, rows: Tensor) -> None:
    """Refuse targets that become infinite or leave the support in single precision."""
    if family.is_censored:
        targets, y = family.points_of(targets), family.points_of(y)
    lost = (
        ~targets.isfinite()
        if targets.is_floating_point()
        else torch.zeros_like(targets, dtype=torch.bool)
    )
    # an end of a censored target may lie outside of the support
    inside = torch.ones_like(lost) if family.is_censored else family.support.check(targets)
    lost = lost | ~inside.reshape(inside.shape + (1,) * (targets.ndim - inside.ndim))
    if bool(lost.any()):
        place = lost.nonzero()[0].tolist()
        raise TargetError(
            "y must keep its values in single precision, in which training computes, got "
            f"{y[tuple(place)]:g} at row {int(rows[place[0]])} ({int(lost.sum())} of "
            f"{lost.numel()} values). Try other units, in which targets are neither tiny nor huge."
        )


def _check_standardised(inputs: Tensor, features: Tensor, rows: Tensor) -> None:
    """Refuse features whose standard deviation, or its inverse, overflows in single precision."""
    bad = ~inputs.isfinite()
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(
            f"features must be numbers that can be standardised, got {features[row, column]:g} at "
            f"row {int(rows[row])}, column {column}. Use other units, in which numbers are neither "
            "tiny nor huge."
        )


def _check_features(features: Tensor, rows: Tensor) -> None:
    bad = ~features.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(
            f"features must be finite, got {features[row, column]:g} at row {int(rows[row])}, "
            f"column {column} ({int(bad.any(1).sum())} rows in all). Impute them first, as the "
            "estimators do."
        )


def _recalibration(dist: Distribution) -> Recalibration | None:
    """The recalibration by one number that leaves such distributions in their family, if any."""
    output = each_output(dist)
    if dist.is_censored:  # no recalibration learns from censored targets
        return None
    if output.kind in (*CLASSES, "ranking"):
        return TemperatureScaling()
    return ScaleCalibration() if is_real(dist.support) or isinstance(output, Circular) else None
