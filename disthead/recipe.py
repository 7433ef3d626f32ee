"""The default recipe: a table and a target in, a calibrated distribution out, with one setting for all tables.

features -> standardised -> TabularBackbone -> MemberHead -> objective (-log_prob unless another is
given), trained with AdamW, WarmupConstantDecay and WeightAverage; members are stopped on rows held
out from them (`train`), and become one model (`fit_tabular`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer, as_integers, as_mapping
from disthead.calibration import Recalibration, ScaleCalibration, TemperatureScaling
from disthead.data.split import draw_folds, equal_rows, numbered, row_numbers, warn_of_copies
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import each_output
from disthead.errors import NonFiniteLoss, TargetError, locate, warn
from disthead.families.family import Family, get_family
from disthead.families.von_mises import VonMises
from disthead.networks.averaging import WeightAverage
from disthead.networks.predictive_model import PredictiveModel
from disthead.networks.schedule import PATIENCE, WarmupConstantDecay, plan
from disthead.networks.tabular import (
    Dropout,
    MemberHead,
    TabularBackbone,
    start_near_the_marginal_fit,
)
from disthead.objectives import check_objective, get_objective, name_of
from disthead.objectives.likelihood import nll
from disthead.standardisation import (
    check_relative_spread,
    is_real,
    mean_and_std,
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

_LEAST_ROWS = 30  # with fewer, what a hold-out says is chance
_WITHOUT_HOLD_OUT = 200  # steps
_LEAST_SCALE = 0.1  # at the start, of a standardised target
_INTEGERS = ("max_steps", "batch_size", "check_every", "patience")  # of training


def from_encoded(model: PredictiveModel, encoded: Tensor) -> Distribution:
    """The members' distributions of standardised targets, from what `backbone.encode` made of the features once for all steps."""
    assert model.head is not None
    return model.head(model.backbone.layers(encoded), standardised=True)


@dataclass(frozen=True)
class Training:
    """How a training went.

    Attributes:
        steps: until the weights that were kept, for each member.
        stopped: the steps that were made.
        loss: the mean objective on the rows held out, in the units of the y that training was
            given; nan where none were.
        objective: its name.
    """

    steps: Tensor
    stopped: int
    loss: Tensor
    objective: str = "nll"

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
    """Train all members at once, each on the rows that are not held out from it, and keep the best averaged weights.

    Every member sees the same batches, in which rows held out from it weigh nothing. Every
    `check_every` steps the averaged weights are scored on the rows held out. A member keeps its
    best weights; where some members have no rows held out (they learn from everything), all members
    keep those of the step with the best mean of the others. Training ends after `max_steps`, or
    once as many steps as the best took, and at least `patience`, have brought nothing better.

    Args:
        features: (N, in_features), standardised; y: (N, *event_shape).
        held_out: booleans (members, N).
        objective: what is minimised, as for `disthead.objectives.get_objective`.
        weight: one per row, above zero.
        learning_rate, batch_size, max_steps: those of `disthead.networks.schedule.plan` unless
            given.
        progress: called every `check_every` steps with the step, the most steps there may be, and
            the mean objective of the rows held out.

    Raises:
        NonFiniteLoss: where the loss becomes NaN or infinite, with rows and targets. On a GPU,
            which looking at every loss would stop, it is looked for every `check_every` steps.
    """
    objective = get_objective(objective)
    count, rows = held_out.shape
    batch_size, max_steps, learning_rate = plan(rows, batch_size, max_steps, learning_rate)
    trained_on = (~held_out).to(features.dtype)
    if weight is not None:
        weight = weight.to(features.dtype)
        trained_on = trained_on * weight
    trained_on = trained_on / trained_on.mean(1, keepdim=True)
    judges = held_out.any(1)
    together = not bool(judges.all())
    if not bool(judges.any()):
        max_steps = min(max_steps, _WITHOUT_HOLD_OUT)  # nothing tells when to stop
    check = _HeldOutRows(objective, held_out, weight)

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    # A slow rise: tables that are soon overfitted are learned at a low rate, and stopped at a
    # well-chosen step.
    schedule = WarmupConstantDecay(optimizer, max_steps, warmup=None)
    average = WeightAverage(parameters, average_decay)
    best = [value.clone() for value in average.values]
    best_loss = features.new_full((count,), math.inf)
    best_step = torch.zeros(count, dtype=torch.long, device=features.device)
    encoded = model.backbone.encode(features)
    watches = encoded.is_cpu
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator

    step, batches = 0, _batches(rows, batch_size, generator, features.device)
    while step < max_steps:
        batch = next(batches)
        targets = y.index_select(0, batch)
        dist = from_encoded(model, encoded.index_select(0, batch))
        losses = objective(dist, targets.expand(count, *targets.shape))
        loss = (losses * trained_on.index_select(1, batch)).mean(1).sum()
        if watches and not math.isfinite(loss.detach().item()):
            raise _Stopped(losses.detach(), batch, step + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update()
        step += 1
        if step % check_every and step < max_steps:
            continue
        if not bool(judges.any()):
            continue
        with average.applied():
            scores = check.loss(model, encoded, y)
            if bool(scores[judges].isnan().any()):
                raise check.stopped(model, encoded, y, step)
        if together:
            scores = scores[judges].mean().expand(count)
        better = scores < best_loss
        best_loss = torch.where(better, scores, best_loss)
        best_step[better] = step
        for kept, value in zip(best, average.values, strict=True):
            kept[better] = value[better]
        if progress is not None:
            progress(step, max_steps, float(scores[judges].mean()))
        last = int(best_step.max())
        if step >= last + max(patience, last):
            break
    with torch.no_grad():
        torch._foreach_copy_(parameters, best if bool(judges.any()) else average.values)
    if bool(best_loss[judges].isinf().any()):
        raise check.stopped(model, encoded, y, step)
    best_loss = torch.where(best_loss.isfinite(), best_loss, math.nan).cpu()
    return Training(best_step.cpu(), step, best_loss, name_of(objective))


def _batches(
    rows: int, size: int, generator: torch.Generator | None, device: torch.device
) -> Iterator[Tensor]:
    """Batches of row numbers in a new random order each epoch, without end; what does not fill a batch is left out."""
    while True:
        yield from (
            torch.randperm(rows, generator=generator).to(device)[: rows // size * size].split(size)
        )


class _HeldOutRows:
    """The rows held out from each member, side by side: as many for each, the missing ones without weight."""

    def __init__(self, objective: Callable, held_out: Tensor, weight: Tensor | None):
        self.objective = objective
        size = int(held_out.sum(1).max())
        self.rows = held_out.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :size]
        self.weight = held_out.gather(1, self.rows).float()
        if weight is not None:
            self.weight = self.weight * weight[self.rows]

    @torch.no_grad()
    def loss(self, model: PredictiveModel, encoded: Tensor, y: Tensor) -> Tensor:
        """The mean objective over the rows held out from each member."""
        losses = self._losses(model, encoded, y)
        return (losses * self.weight).sum(1) / self.weight.sum(1)

    @torch.no_grad()
    def stopped(
        self, model: PredictiveModel, encoded: Tensor, y: Tensor, step: int
    ) -> NonFiniteLoss:
        """The error for losses of these rows that are no numbers."""
        return _Stopped(self._losses(model, encoded, y), self.rows, step)

    def _losses(self, model: PredictiveModel, encoded: Tensor, y: Tensor) -> Tensor:
        model.eval()
        losses = self.objective(from_encoded(model, encoded[self.rows]), y[self.rows])
        model.train()
        return torch.where(self.weight > 0, losses, 0.0)


class _Stopped(NonFiniteLoss):
    """The error for losses (members, n) of these rows, (n,) or (members, n), in a step of training."""

    def __init__(self, losses: Tensor, rows: Tensor, step: int):
        bad = ~losses.isfinite()
        self.rows = rows.expand(bad.shape)[bad].unique().cpu()
        self.begin = f"the loss became NaN or infinite at step {step}"
        self.end = (
            "These are all rows of the batch, so the weights of the network have become too "
            "large. Look for extreme features and "
            "targets first, then try a lower learning_rate."
            if bool(bad.all())
            else "Look there for extreme targets, or try a family with heavier tails, such as "
            "student_t."
        )
        shown = ", ".join(map(str, self.rows[:3].tolist())) + (
            ", ..." if len(self.rows) > 3 else ""
        )
        super().__init__(f"{self.begin}, in the rows {shown}. {self.end}")

    def of_targets(self, y: Tensor, rows: Tensor) -> NonFiniteLoss:
        """The same with targets `y`, of which the rows with these numbers were trained on."""
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
    min_scale: float = 1e-4,
    encoded: Sequence[int] | None = None,
    weight: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> PredictiveModel:
    """The model before training: networks with random weights, between the statistics of the rows.

    Where a real-valued target has outliers, farther from the median than 30 times the range of the
    middle nine tenths, and the family is one of which they are expected (its own start has a
    smaller scale), they do not squeeze all others together: they count as if they were no farther.
    Constant targets are standardised by a millionth of their size.

    Args:
        features: (N, in_features); y: (N,), or (N, D) for several targets.
        members: how many networks.
        weight: one per row, above zero.
        generator: where the weights are drawn from; torch's global one unless given.
        family, family_options, hidden_sizes, bins, min_scale, encoded: as for `fit_tabular`.
    """
    event_shape = tuple(y.shape[1:])
    chosen = _family(family, family_options, event_shape)
    own: dict[str, Any] = {"members": members, "generator": generator}
    backbone = TabularBackbone(features.shape[1], hidden_sizes, bins=bins, encoded=encoded, **own)
    head = MemberHead(chosen, backbone.out_features, event_shape=event_shape, **own)
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
        "backbone": {
            "class_path": f"{TabularBackbone.__module__}.{TabularBackbone.__qualname__}",
            "init_args": {
                "hidden_sizes": list(hidden_sizes),
                "bins": bins,
                "encoded": None if encoded is None else list(encoded),
            },
        },
        "min_scale": min_scale,
        "ensemble": members,
    }
    return model.to(features.device)


def _family(family: str, options: Mapping[str, Any] | None, event_shape: tuple[int, ...]) -> Family:
    options = as_mapping(options, "family_options", "{'num_classes': 3}")
    return get_family(family, event_shape=event_shape, **options)


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
    min_scale: float = 1e-4,
    encoded: Sequence[int] | None = None,
    weight: Tensor | None = None,
    groups: Tensor | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[PredictiveModel, Training]:
    """Train the default recipe on a table.

    - `ensemble=1`: two networks at once, one of them without a fifth of the rows, the other with
      all. The first says which step is best and by what factor the spread is wrong on rows not seen
      (`ScaleCalibration` on the whole line and for directions, `TemperatureScaling` for classes and
      rankings; other families would not stay of their kind); the second predicts.
    - `ensemble=8`: eight networks at once, each without an eighth of the rows, which say when it is
      best; all predict.

    Rows with equal features are held out together, since copies of a row in training would tell its
    target, unless 20 or more with different targets share them, as in tables of a few categories
    (`disthead.data.split.equal_rows`). With `groups` the rows of one group are.

    Args:
        features: (N, in_features), finite numbers in any units, on the device to train on; y: (N,),
            in any units, or (N, D) for several targets.
        family, family_options: as for `DistributionHead`.
        objective: what is minimised, of the standardised target, and judged by on the rows held
            out; as for `disthead.objectives.get_objective`. Only with the likelihood a factor
            corrects the spread.
        ensemble: how many networks predict.
        hidden_sizes, bins, encoded: as for `TabularBackbone`.
        min_scale: the least scale of a standardised target, so that no scale collapses onto a
            single row.
        weight: one per row, zero or more: in all statistics, the start, the loss, the likelihood of
            rows held out and the factor for the spread. A row with the weight 0 is not there,
            whatever its features and its target are.
        groups: a number for each row: those of one panel, person or site, whose rows are not
            independent, are equal.
        seed: of weights, folds and batches; the same seed gives the same model on a CPU. No other
            generator is used.
        options: as for `train`.

    With fewer than 30 rows, or fewer than 30 different ones, nothing is held out: a fixed small
    number of steps is made, and a warning says so.

    Raises:
        TargetError: for targets outside the support of the family.
        NonFiniteLoss: where training goes astray, with rows and targets.
        ValueError: for features that are not finite, for weights and groups that cannot be, and for
            an objective that the family cannot be trained by.
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
        name: as_integer(options[name], name) for name in _INTEGERS if options.get(name) is not None
    }
    weight = as_weight(weight, y.shape[:1], device=y.device)
    all_y, rows = y, torch.arange(len(y), device=y.device)
    weight, features, y, groups, rows = present(weight, features, y, groups, rows)
    if weight is not None:
        weight = (
            None if bool((weight == weight[0]).all()) else weight.double() / weight.double().mean()
        )
    _check_features(features, rows)
    chosen = _family(family, family_options, tuple(y.shape[1:]))
    if objective is not nll:  # which every family has
        check_objective(objective, chosen, tuple(y.shape[1:]))
    chosen.check_target(y)
    check_share(weight, rows)
    check_relative_spread(chosen, y, weight)
    columns = ["y"] if y.ndim == 1 else [f"column {column} of y" for column in range(y[0].numel())]
    warn_of_dominant_rows(chosen, y, weight, {}, columns, rows)
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
    biases = head.fitted_biases(targets, {}, weight)
    values = chosen.constrain(biases, head.links)
    learned = {name: values[name] for name in biases}
    model.baseline.start_at(chosen.unconstrain(learned, model.baseline.links))
    head.start_at(biases)
    start_near_the_marginal_fit(head, _LEAST_SCALE if head.is_standardised else 0.0)
    try:
        course = train(
            model,
            inputs,
            targets,
            held_out,
            objective=objective,
            weight=weight,
            generator=generator,
            **options,
        )
    except _Stopped as error:
        raise error.of_targets(all_y, rows) from None
    if ensemble == 1:
        # a row of too narrow a spread, which other scores forgive, makes this factor large
        if objective is nll:
            _recalibrate(model, inputs, targets, held_out[0], weight)
        model = model.only(-1)
    return model.eval(), course


def _standardised(model: PredictiveModel, y: Tensor) -> Tensor:
    """Targets as the networks learn them: in single precision, standardised where the family can be."""
    assert model.head is not None
    if model.head.is_standardised:
        y = (y - model.target_loc) / model.target_scale
    return y.float() if y.is_floating_point() else y


def _recalibrate(
    model: PredictiveModel,
    inputs: Tensor,
    targets: Tensor,
    held_out: Tensor,
    weight: Tensor | None,
) -> None:
    """The factor for the scale, from the rows held out from the first member.

    It is that of standardised targets, and the same in the units of the target.
    """
    assert model.head is not None
    with torch.no_grad():
        dist = model.head(model.backbone(inputs), standardised=True)[0][held_out]
    recalibration = _recalibration(dist)
    if recalibration is not None and bool(held_out.any()):
        rows = None if weight is None else weight[held_out]
        model.recalibration = recalibration.fit(dist, targets[held_out], rows)


def _held_out(
    features: Tensor, y: Tensor, groups: Tensor | None, ensemble: int, generator: torch.Generator
) -> Tensor:
    """Which rows are held out from which member, booleans (members, rows)."""
    rows, members = len(features), 2 if ensemble == 1 else ensemble
    sizes = (
        [rows // 5]
        if ensemble == 1
        else [rows // members + (fold < rows % members) for fold in range(members)]
    )
    found = _groups(features, y, groups)
    if found is None:
        return torch.zeros(1 if ensemble == 1 else members, rows, dtype=torch.bool)
    folds = draw_folds(found, sizes, generator)
    return folds == torch.arange(members).where(torch.arange(members) < len(sizes), -1).unsqueeze(1)


def _groups(features: Tensor, y: Tensor, groups: Tensor | None) -> Tensor | None:
    """The rows that are held out together have one number; None where there are too few to hold any out."""
    rows = len(features)
    if groups is not None:
        found = numbered(groups)
        if int(found.max()) == 0:
            raise ValueError(
                f"groups must be two or more, got {groups[0].item()} in all {rows} rows."
            )
    else:
        copy = row_numbers(torch.cat([features.double(), y.reshape(rows, -1).double()], 1))
        found = equal_rows(row_numbers(features), copy, _LEAST_ROWS)
    count = int(found.max()) + 1
    is_few = rows < _LEAST_ROWS or (groups is None and count < _LEAST_ROWS)
    if is_few:
        different = f"only {count} of them differ; " if count < rows and groups is None else ""
        warn(
            f"{rows} rows are too few to hold some of them out ({different}from {_LEAST_ROWS} on "
            "a part is): the model makes "
            f"{_WITHOUT_HOLD_OUT} steps, and nothing corrects its spread."
        )
    elif groups is None:
        warn_of_copies(found, copy, "give `groups`")
    return None if is_few else found


def _check_precision(family: Family, targets: Tensor, y: Tensor, rows: Tensor) -> None:
    """Refuse targets that rounding to single precision makes infinite or moves outside the support."""
    lost = (
        ~targets.isfinite()
        if targets.is_floating_point()
        else torch.zeros_like(targets, dtype=torch.bool)
    )
    inside = family.support.check(targets)
    lost = lost | ~inside.reshape(inside.shape + (1,) * (targets.ndim - inside.ndim))
    if bool(lost.any()):
        place = lost.nonzero()[0].tolist()
        raise TargetError(
            "y must keep its values in single precision, in which training computes, got "
            f"{y[tuple(place)]:g} at row "
            f"{int(rows[place[0]])} ({int(lost.sum())} of {lost.numel()} values). Try other "
            "units, in which targets are neither "
            "tiny nor huge."
        )


def _check_standardised(inputs: Tensor, features: Tensor, rows: Tensor) -> None:
    """Refuse features that are not finite once they are standardised: their spread, or its inverse, overflows."""
    bad = ~inputs.isfinite()
    if bool(bad.any()):
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(
            f"features must be numbers that can be standardised, got {features[row, column]:g} at "
            f"row {int(rows[row])}, column "
            f"{column}. Use other units, in which numbers are neither tiny nor huge."
        )


def _check_features(features: Tensor, rows: Tensor) -> None:
    bad = ~features.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(
            f"features must be finite, got {features[row, column]:g} at row {int(rows[row])}, "
            f"column {column} "
            f"({int(bad.any(1).sum())} rows in all). Impute them first, as the estimators do."
        )


def _recalibration(dist: Distribution) -> Recalibration | None:
    """The one number that mends the spread of such distributions and leaves them of their kind."""
    one = each_output(dist)
    if one.kind in (*CLASSES, "ranking"):
        return TemperatureScaling()
    return ScaleCalibration() if is_real(dist.support) or isinstance(one, VonMises) else None
