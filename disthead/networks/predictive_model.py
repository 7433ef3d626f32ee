"""`PredictiveModel`: standardisation, networks, ensemble and recalibration as one module."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from disthead.calibration import Recalibration
from disthead.data.columns import Columns
from disthead.data.summary import Summary
from disthead.data.table import DataError
from disthead.distributions.base import Distribution
from disthead.families.ensembles import ensemble
from disthead.families.family import takes_classes
from disthead.head import DistributionHead
from disthead.networks.backbone import build, completed, multilayer_perceptron
from disthead.networks.tabular import MemberHead, TabularBackbone, start_near_unconditional_fit
from disthead.standardisation import (
    MIN_SCALE,
    SCALES,
    check_relative_spread,
    mean_and_std,
    robust_units,
    standardised,
    why_not,
)
from disthead.weights import check_share, present

__all__ = ["PredictiveModel"]

# the options of `from_options` with their defaults
_OPTIONS: dict[str, Any] = {
    "family": "normal",
    "family_options": None,
    "event_shape": (),
    "links": None,
    "fixed": None,
    "shared": (),
    "hidden_sizes": (64, 64),
    "activation": "SiLU",
    "dropout": 0.0,
    "backbone": None,
    "in_features": None,
    "backbone_features": None,
    "standardise": True,
    "min_scale": MIN_SCALE,
    "ensemble": 1,
    "columns": None,
}


class PredictiveModel(nn.Module):
    """A model from features in their own units to the distribution of the target in its own.

    - Features (N, in_features) are standardised.
    - The backbone and the head give the distribution of each member.
    - This distribution is put into the units of the target.
    - An ensemble is the mixture of its members with equal weights (Lakshminarayanan, Pritzel and
      Blundell 2017, without their normal approximation).
    - `predictive` recalibrates the result where a recalibration was learned.

    The training loop of Lightning (`disthead.training.DistributionModule`) and the default recipe
    (`disthead.recipe.fit_tabular`) both train such a model, so that checkpoints, saved folders,
    predictions and evaluations take either. It computes in the precision of its weights:
    `model.double()` predicts in double precision.

    Args:
        backbone: features -> inputs of the head. In an ensemble it has the attribute `members`,
            equal to that of the head.
        head: a `DistributionHead`, or a `MemberHead` in an ensemble.

    Attributes:
        options: plain data from which `from_options` makes the same networks again.
        columns: the columns of the table, as `Columns.state`; None where they are unknown.
        baseline: the head of the unconditional model (no features), where `has_baseline`.
        recalibration: the result of `recalibrate`; None before.

    Raises:
        ValueError: where backbone and head differ in their number of members.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    feature_loc: Tensor
    # One over the standard deviation, under the name that checkpoints have for it. It is no scale,
    # since it is zero for constant features, which have no effect then.
    feature_rate: Tensor
    baseline: DistributionHead
    backbone: Any

    def __init__(self, backbone: nn.Module | None = None, head: DistributionHead | None = None):
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
        self.head = head
        if head is not None and _members(backbone) != _members(head):
            raise ValueError(
                f"backbone has {_members(backbone) or 'no'} members and head has "
                f"{_members(head) or 'no members'}: make them equal."
            )
        self.columns: dict[str, Any] | None = None
        self.recalibration: Recalibration | None = None
        self.has_baseline = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "PredictiveModel":
        """A model with random weights.

        Args:
            options: those of a `DistributionModule`, as plain data; others are ignored.

        Raises:
            ValueError: for invalid options, as for `DistributionModule`.
        """
        model = PredictiveModel()
        model.options = _OPTIONS | {name: options[name] for name in _OPTIONS if name in options}
        model.build(model.options["columns"])
        return model

    def forward(
        self, features: Tensor, *, standardised: bool = False, **row_constants: Tensor
    ) -> Distribution:
        """The distribution of the target before any recalibration; of an ensemble the mixture.

        Args:
            features: (N, in_features), or whatever the backbone takes.
            standardised: whether it is the distribution of the standardised target.
            row_constants: quantities of each row that the family takes, such as `exposure`, (N,).
        """
        dist = self.by_member(features, standardised=standardised, **row_constants)
        return dist if self.members is None else ensemble(dist)

    def predictive(self, features: Tensor, **row_constants: Tensor) -> Distribution:
        """The distribution of the target for predictions, tests and evaluations.

        It is that of `forward`, recalibrated where `recalibrate` was called. Arguments are those
        of `forward`.
        """
        dist = self(features, **row_constants)
        return dist if self.recalibration is None else self.recalibration(dist)

    def by_member(
        self, features: Tensor, *, standardised: bool = False, **row_constants: Tensor
    ) -> Distribution:
        """The distributions of all members, with batch_shape (members, N).

        Without members it is the distribution of `forward`. Arguments are those of `forward`.

        Raises:
            RuntimeError: before the number of features is known.
        """
        head = self._known_head()
        features = self.backbone(self.standardise(features))
        return head(features, standardised=standardised, **row_constants)

    def _known_head(self) -> DistributionHead:
        """The head, which there is once the number of features is known."""
        if self.head is None:
            raise RuntimeError(
                "the model does not know its inputs yet: call fit with a TabularDataModule, or "
                "give in_features."
            )
        return self.head

    @property
    def members(self) -> int | None:
        """The number of networks in the ensemble; None for a single network."""
        return _members(self.head)

    def standardise(self, features: Any) -> Any:
        """Features in standard deviations from their mean, as the backbone takes them.

        Constant features are zero. Where the model has no statistics, features come back as they
        are.
        """
        if "feature_loc" not in self._buffers:
            return features
        dtype = next(self._known_head().parameters()).dtype
        return ((features - self.feature_loc) * self.feature_rate).to(dtype)

    @property
    def target_loc(self) -> Tensor:
        """The mean by which the target is standardised, of shape event_shape; 0 where it is not."""
        return self._unit("target_loc", 0.0)

    @property
    def target_scale(self) -> Tensor:
        """The standard deviation by which the target is standardised, of shape event_shape.

        It is 1 where the target is not standardised.
        """
        return self._unit("target_scale", 1.0)

    def _unit(self, name: str, default: float) -> Tensor:
        head = self._known_head()
        if head.is_standardised:
            return getattr(head, name)
        device = next(head.parameters()).device
        return torch.full(head.event_shape, default, device=device)

    @torch.no_grad()
    def recalibrate(
        self,
        recalibration: Recalibration,
        features: Tensor,
        y: Tensor,
        *,
        weight: Any = None,
        groups: Any = None,
        **row_constants: Tensor,
    ) -> Recalibration:
        """Learn a recalibration from rows that training has not seen; it is saved with the model.

        Args:
            recalibration: of `disthead.calibration`, such as `ScaleCalibration()`.
            features: (N, in_features), in the user's units.
            y: targets (N, *event_shape).
            weight: (N,), zero or more; a row of weight 0 is not there.
            groups: (N,), a label for each row, for recalibrations of groups.
            row_constants: quantities of each row, as for `forward`.

        Returns:
            The recalibration that was learned.
        """
        training = self.training
        options = {} if groups is None else {"groups": groups}
        self.eval()
        try:
            dist = self(features, **row_constants)
            fitted = recalibration.fit(dist, y, weight, **options)
            self.recalibration = fitted.to(dist.device)
        finally:
            self.train(training)
        return fitted

    def marginal(self, *rows: int, **row_constants: Tensor) -> Distribution:
        """The distribution of the unconditional model, in the user's units, with batch_shape rows.

        Args:
            rows: the batch_shape.
            row_constants: quantities of each row, as for `forward`.

        Raises:
            RuntimeError: for a model without a baseline, such as one before training.
        """
        if not self.has_baseline:
            raise RuntimeError(
                "marginal needs the unconditional model (no features), which training makes and "
                "this model does not have: ask has_baseline first."
            )
        device = next(self.baseline.parameters()).device
        return self.baseline(torch.zeros(*rows, 1, device=device), **row_constants)

    def only(self, member: int) -> "PredictiveModel":
        """The model of one member, with the same statistics, baseline and recalibration.

        Raises:
            ValueError: for a model of a single network.
        """
        if not isinstance(self.head, MemberHead):
            raise ValueError("only needs an ensemble with several members, got a single network.")
        model = PredictiveModel(self.backbone.only(member), self.head.only(member))
        model.options = {**self.options, "ensemble": 1}
        model.columns, model.recalibration = self.columns, self.recalibration
        if "feature_loc" in self._buffers:
            model.take_feature_statistics(self.feature_loc, self.feature_rate)
        if self.has_baseline:
            model.baseline, model.has_baseline = self.baseline, True
        return model

    # Set by training.

    def take_feature_statistics(self, loc: Tensor, rate: Tensor) -> None:
        """Standardise features as (features - loc) * rate from now on.

        Args:
            loc: the means, (in_features,).
            rate: one over the standard deviations, zero for constant features, (in_features,).
        """
        self.register_buffer("feature_loc", loc)
        self.register_buffer("feature_rate", rate)

    def add_baseline(self) -> None:
        """Add the head of the unconditional model, with the same family, links and fixed values."""
        self.baseline = self._known_head().without_features().requires_grad_(False)
        self.baseline.min_scale = 0.0
        self.has_baseline = True

    def start_at(self, biases: Mapping[str, Tensor]) -> None:
        """Start head and baseline at the raw outputs of the fit of the unconditional model."""
        head = self._known_head()
        if self.has_baseline:
            self.baseline.start_at(biases)
        head.start_at(biases)
        start_near_unconditional_fit(head)

    @torch.no_grad()
    def start_from(self, train: Summary) -> None:
        """Take the statistics of the training rows, and start at their unconditional model.

        Raises:
            TargetError: for targets that the family cannot learn.
            ValueError: for weights of which one row has nearly all.
        """
        head = self._known_head()
        sample = train.sample
        weight, features, y, *values = present(
            sample.weight, sample.features, sample.y, *sample.known.values()
        )
        check_share(sample.weight, sample.rows if isinstance(sample.rows, Tensor) else None)
        check_relative_spread(head.family, y, weight, "the target")
        row_constants = dict(zip(sample.known, values, strict=True))
        if train.features is not None and self.options["standardise"]:
            std = train.features.spread
            self.feature_loc.copy_(train.features.mean)
            self.feature_rate.copy_(torch.where(std > 0, 1 / std, 0.0))
        if train.features is not None and isinstance(self.backbone, TabularBackbone):
            self.backbone.fit(self.standardise(features), weight)
        if self.options["standardise"] and self.can_standardise_target:
            moments = train.y.mean, train.y.spread
            observed, share = head.family.observed_rows(y, weight)
            if observed is not y:  # the moments of ends, some of which are infinite, tell nothing
                moments = mean_and_std(observed, share)
            loc, scale = robust_units(*moments, observed, share, head.family)
            dtype = torch.promote_types(next(head.parameters()).dtype, torch.float32)
            scale = torch.where(scale > 0, scale, 1.0)
            for one in (head, self.baseline):
                one.change_units(loc.to(dtype), scale.to(dtype))
            y = standardised(
                y.double(), self.target_loc.to(y.device), self.target_scale.to(y.device)
            )
        self.start_at(self.baseline.fitted_biases(y, row_constants, weight))

    @property
    def can_standardise_target(self) -> bool:
        """Whether the family and its fixed parameters allow a standardised target."""
        fixed = self.options.get("fixed") or {}
        return why_not(self._known_head().family, fixed) is None

    @property
    def has_min_scale(self) -> bool:
        """Whether the predicted scale has a minimum."""
        head, fixed = self.head, self.options.get("fixed") or {}
        return bool(
            head is not None
            and head.is_standardised
            and head.min_scale
            and any(name in head.links and name not in fixed for name in SCALES)
        )

    # Making the networks.

    def build(self, columns: dict[str, Any] | None, backbone: nn.Module | None = None) -> None:
        """Make the networks, once the columns of the table, or the number of features, are known.

        Args:
            columns: of the table, as `Columns.state`; None for loaders of one's own.
            backbone: a module in place of that of the options.

        Raises:
            ValueError: for invalid options.
            DataError: for options that contradict the table.
        """
        options = self.options
        self.columns = columns
        family_options = dict(options["family_options"] or {})
        event_shape = tuple(options["event_shape"])
        in_features = options["in_features"]
        if columns is not None:
            table = Columns.from_state(columns)
            in_features = _width_of(table, in_features)
            event_shape = _event_shape_of(table, event_shape)
            if takes_classes(options["family"]) and table.classes:
                family_options.setdefault("num_classes", max(map(len, table.classes.values())))
        self.backbone = self._make_backbone(in_features, backbone)
        width = options["backbone_features"] or self._measure(in_features, backbone)
        if columns is not None:
            self.take_feature_statistics(torch.zeros(in_features), torch.ones(in_features))
        family_options |= {
            "event_shape": event_shape,
            "links": options["links"],
            "fixed": options["fixed"],
            "shared": options["shared"],
        }
        if self._ensemble_members is None:
            self.head = DistributionHead(options["family"], width, **family_options)
        else:
            family_options["members"] = self._ensemble_members
            self.head = MemberHead(options["family"], width, **family_options)
        self.head.min_scale = options["min_scale"]
        if columns is not None:
            self.add_baseline()

    @property
    def _ensemble_members(self) -> int | None:
        return self.options["ensemble"] if self.options["ensemble"] > 1 else None

    def _make_backbone(self, in_features: int, backbone: nn.Module | None) -> nn.Module:
        options, members = self.options, self._ensemble_members
        if backbone is not None:
            return self._with_members(backbone)
        spec = options["backbone"]
        if spec is not None:
            module = build("backbone", completed(spec, in_features=in_features, members=members))
            if not isinstance(module, nn.Module):
                raise ValueError(
                    f"backbone must be an nn.Module, {spec!r} makes a {type(module).__name__}."
                )
            return self._with_members(module)
        sizes, activation, dropout = (
            options[name] for name in ("hidden_sizes", "activation", "dropout")
        )
        if members is not None:
            return TabularBackbone(in_features, sizes, activation, dropout, 0, members=members)
        return multilayer_perceptron(in_features, sizes, activation, dropout)

    def _with_members(self, backbone: nn.Module) -> nn.Module:
        members, count = self._ensemble_members, _members(backbone)
        if members != count and not (members is None and count == 1):
            raise ValueError(
                f"ensemble={self.options['ensemble']} needs a backbone with as many members, such "
                f"as TabularBackbone(..., members={members}); {type(backbone).__name__} has "
                f"{count or 'no members'}."
            )
        return backbone

    @torch.no_grad()
    def _measure(self, in_features: int, backbone: nn.Module | None) -> int:
        """The size of the backbone's outputs."""
        if backbone is None and self.options["backbone"] is None:
            return (list(self.options["hidden_sizes"]) or [in_features])[-1]
        training = self.backbone.training
        try:
            output = self.backbone.eval()(torch.zeros(2, in_features))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the backbone does not take features of shape (2, {in_features}): {error}. "
                "Give backbone_features if it takes another shape."
            ) from error
        finally:
            self.backbone.train(training)
        return output.shape[-1]

    def adapt_to(self, state: dict[str, Any], prefix: str = "") -> None:
        """Get the statistics of features and the baseline that a state has, before it is loaded.

        The baseline is dropped where the state has a head and no baseline, as folders of formats 1
        and 2 do.

        Args:
            state: the weights by name, in which former names are replaced.
            prefix: of the names of this model.
        """
        if self.head is None:
            return
        # where former checkpoints have them
        for name in ("target_loc", "target_scale"):
            if prefix + name in state:
                value = state.pop(prefix + name)
                state |= {f"{prefix}{part}.{name}": value for part in ("head", "baseline")}
        feature_loc = state.get(prefix + "feature_loc")
        if feature_loc is not None and "feature_loc" not in self._buffers:
            width = len(feature_loc)
            self.take_feature_statistics(torch.zeros(width), torch.ones(width))
        has_head, has_baseline = (
            any(name.startswith(f"{prefix}{part}.") for name in state)
            for part in ("head", "baseline")
        )
        if has_baseline and not self.has_baseline:
            self.add_baseline()
        elif has_head and not has_baseline and self.has_baseline:
            del self.baseline
            self.has_baseline = False

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        self.adapt_to(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others)


def _members(module: nn.Module | None) -> int | None:
    return getattr(module, "members", None)


def _width_of(columns: Columns, in_features: int | None) -> int:
    """The number of features of the table, which the option must equal where it is given."""
    width = len(columns.feature_names)
    if in_features not in (None, width):
        raise DataError(
            f"in_features is {in_features}, the table has {width} features after encoding: leave "
            f"in_features out, or give {width}."
        )
    return width


def _event_shape_of(columns: Columns, event_shape: tuple[int, ...]) -> tuple[int, ...]:
    targets = len(columns.outputs)
    table_shape = (targets,) if targets > 1 else ()
    if event_shape not in ((), table_shape):
        raise DataError(
            f"event_shape must be {table_shape} for a table with {targets} "
            f"target{'s' * (targets > 1)}, got {event_shape}: leave it out, or name other targets."
        )
    return table_shape
