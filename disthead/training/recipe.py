"""The default recipe: a table and a target in, a calibrated distribution out, with one setting for all tables.

features -> standardised -> TabularBackbone -> MemberHead -> -log_prob, trained with AdamW, WarmupConstantDecay and
WeightAverage; members are stopped on rows held out from them (`train`), and become one model (`fit_tabular`).
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from disthead.calibration import Recalibration, ScaleCalibration, TemperatureScaling
from disthead.families.distribution import Distribution
from disthead.families.ensembles import ensemble
from disthead.families.family import get_family
from disthead.training.averaging import WeightAverage
from disthead.training.schedule import PATIENCE, WarmupConstantDecay, plan
from disthead.training.tabular import MemberHead, MemberLinear, TabularBackbone, start_near_the_marginal_fit

__all__ = ["Members", "TabularModel", "Training", "fit_tabular", "tabular_model", "train"]

_LEAST_ROWS = 30  # with fewer, what a hold-out says is chance
_WITHOUT_HOLD_OUT = 200  # steps


class Members(nn.Module):
    """Networks side by side: a backbone and a head with the same number of members; features -> batch_shape (members, N)."""

    def __init__(self, backbone: TabularBackbone, head: MemberHead):
        super().__init__()
        if backbone.members != head.members:
            raise ValueError(f"backbone has {backbone.members} members and head has {head.members}: make them equal.")
        self.backbone, self.head = backbone, head

    def forward(self, features: Tensor, **known: Tensor) -> Distribution:
        return self.head(self.backbone(features), **known)

    def only(self, member: int) -> "Members":
        """The one member by itself."""
        alone = copy.deepcopy(self)
        for layer in alone.modules():
            if isinstance(layer, (MemberLinear, TabularBackbone, MemberHead)):
                layer.members = 1
        for parameter in alone.parameters():
            parameter.data = parameter.data[member].unsqueeze(0).clone()
        return alone

    def from_encoded(self, encoded: Tensor, **known: Tensor) -> Distribution:
        """From what `backbone.encode` made of the features, once for all steps."""
        return self.head(self.backbone.layers(encoded), **known)


@dataclass(frozen=True)
class Training:
    """How a training went.

    Attributes:
        steps: until the weights that were kept, for each member.
        stopped: the steps that were made.
        nll: on the rows held out, in the units of the given y; nan where no rows were.
    """

    steps: Tensor
    stopped: int
    nll: Tensor


def train(
    members: Members,
    features: Tensor,
    y: Tensor,
    held_out: Tensor,
    *,
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

    Every member sees the same batches, in which rows held out from it weigh nothing. Every `check_every` steps the averaged
    weights are scored on the rows held out. A member keeps its best weights; where some members have no rows held out
    (they learn from everything), all members keep those of the step with the best mean of the others. Training ends
    after `max_steps`, or once as many steps as the best took, and at least `patience`, have brought nothing better.

    Args:
        features: (N, in_features), standardised; y: (N, *event_shape).
        held_out: booleans (members, N).
        weight: one per row.
        learning_rate, batch_size, max_steps: those of `disthead.training.schedule.plan` unless given.
        progress: called every `check_every` steps with the step, the most steps there may be, and the mean likelihood of
            the rows held out, negative.
    """
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
    check = _HeldOutRows(held_out, weight)

    parameters = [parameter for parameter in members.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    # A slow rise: tables that are soon overfitted are learned at a low rate, and stopped at a well-chosen step.
    schedule = WarmupConstantDecay(optimizer, max_steps, warmup=None)
    average = WeightAverage(parameters, average_decay)
    best = [value.clone() for value in average.values]
    best_nll = features.new_full((count,), math.inf)
    best_step = torch.zeros(count, dtype=torch.long, device=features.device)
    encoded = members.backbone.encode(features)

    step, batches = 0, _batches(rows, batch_size, generator, features.device)
    while step < max_steps:
        batch = next(batches)
        targets = y.index_select(0, batch)
        dist = members.from_encoded(encoded.index_select(0, batch))
        losses = -dist.log_prob(targets.expand(count, *targets.shape)) * trained_on.index_select(1, batch)
        optimizer.zero_grad()
        losses.mean(1).sum().backward()
        optimizer.step()
        schedule.step()
        average.update()
        step += 1
        if step % check_every and step < max_steps:
            continue
        if not bool(judges.any()):
            continue
        with average.applied():
            nll = check.nll(members, encoded, y)
        if together:
            nll = nll[judges].mean().expand(count)
        better = nll < best_nll
        best_nll = torch.where(better, nll, best_nll)
        best_step[better] = step
        for kept, value in zip(best, average.values, strict=True):
            kept[better] = value[better]
        if progress is not None:
            progress(step, max_steps, float(nll[judges].mean()))
        last = int(best_step.max())
        if step >= last + max(patience, last):
            break
    with torch.no_grad():
        torch._foreach_copy_(parameters, best if bool(judges.any()) else average.values)
    return Training(best_step.cpu(), step, torch.where(best_nll.isfinite(), best_nll, math.nan).cpu())


def _batches(rows: int, size: int, generator: torch.Generator | None, device: torch.device) -> Iterator[Tensor]:
    """Batches of row numbers in a new random order each epoch, without end; what does not fill a batch is left out."""
    while True:
        yield from torch.randperm(rows, generator=generator).to(device)[: rows // size * size].split(size)


class _HeldOutRows:
    """The rows held out from each member, side by side: as many for each, the missing ones without weight."""

    def __init__(self, held_out: Tensor, weight: Tensor | None):
        size = int(held_out.sum(1).max())
        self.rows = held_out.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :size]
        self.weight = held_out.gather(1, self.rows).float()
        if weight is not None:
            self.weight = self.weight * weight[self.rows]

    @torch.no_grad()
    def nll(self, members: Members, encoded: Tensor, y: Tensor) -> Tensor:
        """The mean over the rows held out from each member."""
        losses = -members.from_encoded(encoded[self.rows]).log_prob(y[self.rows])
        return (losses * self.weight).sum(1) / self.weight.sum(1)


class TabularModel(nn.Module):
    """A trained table model: features (N, in_features) in their own units -> the distribution of the target in its own.

    One member gives its distribution, several the mixture of theirs with equal weights: deep ensembles (Lakshminarayanan,
    Pritzel and Blundell 2017) without their normal approximation.

    Args:
        members: the networks that predict.
        features, y: training rows, whose statistics standardise the features and a real-valued target.

    It computes in the precision of its weights: `model.double()` predicts in double precision.
    """

    feature_loc: Tensor
    feature_rate: Tensor
    target_loc: Tensor
    target_scale: Tensor

    def __init__(self, members: Members, features: Tensor, y: Tensor):
        super().__init__()
        self.members = members
        loc, spread = _mean_and_spread(features)
        self.register_buffer("feature_loc", loc)
        self.register_buffer("feature_rate", torch.where(spread > 0, 1 / spread, 0.0))
        self.is_scaled = _is_real(members.head.family.support)
        loc, spread = _mean_and_spread(y) if self.is_scaled else (torch.zeros(y.shape[1:]), torch.ones(y.shape[1:]))
        self.register_buffer("target_loc", loc)
        self.register_buffer("target_scale", torch.where(spread > 0, spread, 1.0))
        self.recalibration: Recalibration | None = None

    def standardise(self, features: Tensor) -> Tensor:
        dtype = next(self.members.parameters()).dtype
        return ((features - self.feature_loc) * self.feature_rate).to(dtype)

    def standardise_target(self, y: Tensor) -> Tensor:
        if self.is_scaled:
            y = (y - self.target_loc) / self.target_scale
        return y.float() if y.is_floating_point() else y

    def forward(self, features: Tensor) -> Distribution:
        dist = self.members(self.standardise(features))
        if self.recalibration is not None:
            dist = self.recalibration(dist)
        dist = dist[0] if dist.batch_shape[0] == 1 else ensemble(dist)
        return dist.affine(self.target_loc.to(dist.dtype), self.target_scale.to(dist.dtype)) if self.is_scaled else dist


def tabular_model(
    features: Tensor,
    y: Tensor,
    *,
    family: str = "student_t",
    family_options: Mapping[str, Any] | None = None,
    members: int = 1,
    hidden_sizes: Sequence[int] = (128, 128),
    bins: int = 16,
    spread_floor: float = 1e-4,
    encoded: Sequence[int] | None = None,
) -> TabularModel:
    """The model before training: networks with random weights, between the statistics of the rows given.

    Args:
        features: (N, in_features); y: (N,), or (N, D) for several targets.
        members: how many networks.
        family, family_options, hidden_sizes, bins, spread_floor, encoded: as for `fit_tabular`.
    """
    event_shape = tuple(y.shape[1:])
    chosen = get_family(family, event_shape=event_shape, **dict(family_options or {}))
    backbone = TabularBackbone(features.shape[1], hidden_sizes, bins=bins, encoded=encoded, members=members)
    scale = chosen.parameters.get("scale")
    links = {"scale": scale.shifted(spread_floor)} if scale is not None and _is_real(chosen.support) else None
    head = MemberHead(chosen, backbone.out_features, members=members, links=links, event_shape=event_shape)
    return TabularModel(Members(backbone, head), features, y).to(features.device)


def fit_tabular(
    features: Tensor,
    y: Tensor,
    *,
    family: str = "student_t",
    family_options: Mapping[str, Any] | None = None,
    ensemble: int = 1,
    hidden_sizes: Sequence[int] = (128, 128),
    bins: int = 16,
    spread_floor: float = 1e-4,
    encoded: Sequence[int] | None = None,
    weight: Tensor | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[TabularModel, Training]:
    """Train the default recipe on a table.

    - `ensemble=1`: two networks at once, one of them without a fifth of the rows, the other with all. The first says which
      step is best and by what factor the spread is wrong on rows not seen (`ScaleCalibration` on the whole line and for
      directions, `TemperatureScaling` for classes and rankings; other families would not stay of their kind); the second
      predicts.
    - `ensemble=8`: eight networks at once, each without an eighth of the rows, which say when it is best; all predict.

    Args:
        features: (N, in_features), finite numbers in any units, on the device to train on; y: (N,), in any units, or (N, D)
            for several targets.
        family, family_options: as for `DistributionHead`.
        hidden_sizes, bins, encoded: as for `TabularBackbone`.
        spread_floor: the least scale of a standardised target, so that no spread collapses onto a single row.
        weight: one per row.
        seed: of weights, folds and batches; the same seed gives the same model on a CPU.
        options: as for `train`.

    With fewer than 30 rows nothing is held out: a fixed small number of steps is made, and a warning says so.

    Raises:
        TargetError: for targets outside the support of the family.
    """
    if not isinstance(ensemble, int) or ensemble < 1:
        raise ValueError(f"ensemble must be a number of networks, 1 or more, got {ensemble!r}.")
    generator = torch.Generator().manual_seed(seed)
    get_family(family, event_shape=tuple(y.shape[1:]), **dict(family_options or {})).check_target(y)
    held_out = _folds(len(y), ensemble, generator).to(features.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = tabular_model(
            features,
            y,
            family=family,
            family_options=family_options,
            members=len(held_out),
            hidden_sizes=hidden_sizes,
            bins=bins,
            spread_floor=spread_floor,
            encoded=encoded,
        )
    backbone, head = model.members.backbone, model.members.head
    inputs, targets = model.standardise(features), model.standardise_target(y)
    backbone.fit(inputs)
    head.initialize(targets)
    start_near_the_marginal_fit(head)
    course = train(model.members, inputs, targets, held_out, weight=weight, generator=generator, **options)
    if ensemble == 1:
        with torch.no_grad():
            dist = model.members(inputs)
            recalibration = _recalibration(dist)
            if recalibration is not None and bool(held_out.any()):
                rows = held_out[0]
                model.recalibration = recalibration.fit(dist[0][rows], targets[rows])
        model.members = model.members.only(-1)
    return model.eval(), course


def _folds(rows: int, ensemble: int, generator: torch.Generator) -> Tensor:
    """Which rows are held out from which member, booleans (members, rows)."""
    count = 2 if ensemble == 1 else ensemble
    held_out = torch.zeros(count, rows, dtype=torch.bool)
    if rows < _LEAST_ROWS:
        warnings.warn(
            f"{rows} rows are too few to hold some of them out (from {_LEAST_ROWS} on a part is): the model makes "
            f"{_WITHOUT_HOLD_OUT} steps, and nothing corrects its spread.",
            stacklevel=3,
        )
        return held_out if ensemble > 1 else held_out[:1]
    permutation = torch.randperm(rows, generator=generator)
    if ensemble == 1:
        held_out[0, permutation[: rows // 5]] = True
    else:
        for member, fold in enumerate(permutation.tensor_split(ensemble)):
            held_out[member, fold] = True
    return held_out


def _is_real(support: constraints.Constraint) -> bool:
    return _of_one(support) is constraints.real


def _of_one(support: constraints.Constraint) -> constraints.Constraint:
    """The support of one of several independent outputs."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _recalibration(dist: Distribution) -> Recalibration | None:
    """The one number that mends the spread of such distributions and leaves them of their kind."""
    if hasattr(dist, "expected_cost") or hasattr(dist, "num_items"):
        return TemperatureScaling()
    keeps_kind = _is_real(dist.support) or getattr(_of_one(dist.support), "is_circular", False)
    return ScaleCalibration() if keeps_kind else None


def _mean_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.double().mean(0), values.double().std(0, correction=0)
