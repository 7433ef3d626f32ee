"""`PredictiveModel`: networks between the statistics that standardise features and target, as one module."""

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
from disthead.networks.tabular import MemberHead, TabularBackbone, start_near_the_marginal_fit
from disthead.standardisation import SCALES, check_relative_spread, robust_units, why_not
from disthead.weights import check_share, present

__all__ = ["PredictiveModel"]

# What `from_options` takes, and what stands for an option that is not given.
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
    "min_scale": 1e-4,
    "ensemble": 1,
    "columns": None,
}


class PredictiveModel(nn.Module):
    """Features (N, in_features) in their own units -> the distribution of the target in its own.

    The order is the same for every model: features are standardised, the backbone and the head give
    the distribution of each member, which is put into the units of the target; an ensemble is the
    mixture of its members with equal weights (Lakshminarayanan, Pritzel and Blundell 2017, without
    their normal approximation); and `predictive` recalibrates it where a recalibration was learned.

    The training loop of Lightning (`disthead.training.DistributionModule`) and the default recipe
    (`disthead.recipe.fit_tabular`) both train one of these, so that checkpoints, saved folders,
    predictions and evaluations take either. It computes in the precision of its weights:
    `model.double()` predicts in double precision.

    Args:
        backbone: features -> what the head takes; with `members` as the head has, in an ensemble.
        head: a `DistributionHead`, or a `MemberHead` in an ensemble.

    Attributes:
        options: plain data from which `from_options` makes the same networks again.
        columns: what the columns of the table are, as `Columns.state`; None where that is unknown.
        baseline: the fit without features, where there is one (`has_baseline`).
        recalibration: what `recalibrate` learned; None before.

    Raises:
        ValueError: where backbone and head differ in their number of members.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    feature_loc: Tensor
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
        self.has_baseline = self._has_started = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "PredictiveModel":
        """The networks, with random weights, that plain data describe: the options of a `DistributionModule`.

        Raises:
            ValueError: for options of which no model can be made, as `DistributionModule` says.
        """
        model = PredictiveModel()
        model.options = _OPTIONS | {name: options[name] for name in _OPTIONS if name in options}
        model.build(model.options["columns"])
        return model

    def forward(
        self, features: Tensor, *, standardised: bool = False, **known: Tensor
    ) -> Distribution:
        """The distribution of the target before any recalibration; of an ensemble the mixture.

        Args:
            features: (N, in_features), or whatever the backbone takes.
            standardised: whether the distribution is that of the standardised target instead.
            known: quantities of each row that the family takes, such as `exposure`.
        """
        dist = self.by_member(features, standardised=standardised, **known)
        return dist if self.members is None else ensemble(dist)

    def predictive(self, features: Tensor, **known: Tensor) -> Distribution:
        """What is predicted, tested and evaluated: `forward`, recalibrated where `recalibrate` was called."""
        dist = self(features, **known)
        return dist if self.recalibration is None else self.recalibration(dist)

    def by_member(
        self, features: Tensor, *, standardised: bool = False, **known: Tensor
    ) -> Distribution:
        """The distributions of all members, batch_shape (members, N); without members as `forward`."""
        if self.head is None:
            raise RuntimeError(
                "the model does not know its inputs yet: call fit with a TabularDataModule, or "
                "give in_features."
            )
        features = self.backbone(self.standardise(features))
        return self.head(features, standardised=standardised, **known)

    @property
    def members(self) -> int | None:
        """How many networks are in the ensemble; None for a single one."""
        return _members(self.head)

    def standardise(self, features: Any) -> Any:
        """Features in standard deviations from their mean, as the backbone takes them; constant ones are zero.

        Where the model has no statistics of them, features come back as they are.
        """
        if "feature_loc" not in self._buffers:
            return features
        assert self.head is not None
        dtype = next(self.head.parameters()).dtype
        return ((features - self.feature_loc) * self.feature_rate).to(dtype)

    @property
    def target_loc(self) -> Tensor:
        """The mean that standardises the target, of shape event_shape; 0 where it is not standardised."""
        return self._unit("target_loc", 0.0)

    @property
    def target_scale(self) -> Tensor:
        """The standard deviation that standardises the target, of shape event_shape; 1 where it is not."""
        return self._unit("target_scale", 1.0)

    def _unit(self, name: str, otherwise: float) -> Tensor:
        assert self.head is not None
        if self.head.is_standardised:
            return getattr(self.head, name)
        device = next(self.head.parameters()).device
        return torch.full(self.head.event_shape, otherwise, device=device)

    @torch.no_grad()
    def recalibrate(
        self,
        recalibration: Recalibration,
        features: Tensor,
        y: Tensor,
        *,
        weight: Any = None,
        groups: Any = None,
        **known: Tensor,
    ) -> Recalibration:
        """Learn a recalibration from rows that training has not seen; it is saved with the model.

        Args:
            recalibration: of `disthead.calibration`, such as `ScaleCalibration()`.
            features: (N, in_features), in the user's units.
            y: targets of these rows.
            weight: one per row, zero or more; a row with the weight 0 is not there.
            groups: a label for each row, for recalibrations that ask which rows belong together.
            known: per-row quantities, as in `forward`.
        """
        training = self.training
        options = {} if groups is None else {"groups": groups}
        self.eval()
        try:
            dist = self(features, **known)
            fitted = recalibration.fit(dist, y, weight, **options)
            self.recalibration = fitted.to(dist.device)
        finally:
            self.train(training)
        return fitted

    def marginal(self, *rows: int, **known: Tensor) -> Distribution:
        """The fit without features, in the user's units, for so many rows: the baseline."""
        device = next(self.baseline.parameters()).device
        return self.baseline(torch.zeros(*rows, 1, device=device), **known)

    def only(self, member: int) -> "PredictiveModel":
        """The one member by itself, between the same statistics."""
        assert isinstance(self.head, MemberHead)
        model = PredictiveModel(self.backbone.only(member), self.head.only(member))
        model.options = {**self.options, "ensemble": 1}
        model.columns, model.recalibration = self.columns, self.recalibration
        if "feature_loc" in self._buffers:
            model.take_feature_statistics(self.feature_loc, self.feature_rate)
        if self.has_baseline:
            model.baseline, model.has_baseline = self.baseline, True
        return model

    # What training sets.

    def take_feature_statistics(self, loc: Tensor, rate: Tensor) -> None:
        """Standardise features as (features - loc) * rate from now on, both of shape (in_features,)."""
        self.register_buffer("feature_loc", loc)
        self.register_buffer("feature_rate", rate)

    def add_baseline(self) -> None:
        """Add the baseline: a head of the same family, links and fixed values that sees no features."""
        head = self.head
        assert head is not None
        self.baseline = head.without_features().requires_grad_(False)
        self.baseline.min_scale = 0.0
        self.has_baseline = True

    def drop_baseline(self) -> None:
        """Take the baseline away, as for a model that was saved without one."""
        if self.has_baseline:
            del self.baseline
            self.has_baseline = False

    def start_at(self, biases: Mapping[str, Tensor], least_scale: float = 0.0) -> None:
        """Start head and baseline at the raw outputs of the fit without features."""
        assert self.head is not None
        if self.has_baseline:
            self.baseline.start_at(biases)
        self.head.start_at(biases)
        start_near_the_marginal_fit(self.head, least_scale)

    @torch.no_grad()
    def start_from(self, train: Summary) -> None:
        """Take the statistics of the training rows, and start head and baseline at their fit without features."""
        assert self.head is not None
        self._has_started = True
        sample = train.sample
        weight, features, y, *values = present(
            sample.weight, sample.features, sample.y, *sample.known.values()
        )
        check_share(sample.weight, sample.rows if isinstance(sample.rows, Tensor) else None)
        check_relative_spread(self.head.family, y, weight, "the target")
        known = dict(zip(sample.known, values, strict=True))
        if train.features is not None and self.options["standardise"]:
            std = train.features.spread
            self.feature_loc.copy_(train.features.mean)
            self.feature_rate.copy_(torch.where(std > 0, 1 / std, 0.0))
        if train.features is not None and isinstance(self.backbone, TabularBackbone):
            self.backbone.fit(self.standardise(features), weight)
        if self.options["standardise"] and self.can_standardise_target:
            loc, scale = robust_units(train.y.mean, train.y.spread, y, weight, self.head.family)
            dtype = torch.promote_types(next(self.head.parameters()).dtype, torch.float32)
            scale = torch.where(scale > 0, scale, 1.0)
            for head in (self.head, self.baseline):
                head.change_units(loc.to(dtype), scale.to(dtype))
            y = (y.double() - self.target_loc.to(y.device)) / self.target_scale.to(y.device)
        self.start_at(self.baseline.fitted_biases(y, known, weight))

    @property
    def can_standardise_target(self) -> bool:
        """Whether the family and its fixed parameters allow a standardised target."""
        assert self.head is not None
        return why_not(self.head.family, self.options["fixed"] or {}) is None

    @property
    def has_min_scale(self) -> bool:
        """Whether the predicted scale has a minimum."""
        head, fixed = self.head, self.options["fixed"] or {}
        return bool(
            head is not None
            and head.is_standardised
            and head.min_scale
            and any(name in head.links and name not in fixed for name in SCALES)
        )

    # How it is made of its options.

    def build(self, columns: dict[str, Any] | None, backbone: nn.Module | None = None) -> None:
        """Make the networks, once the columns of the table, or the number of features, are known.

        Args:
            columns: of the table, as `Columns.state`; None for loaders of one's own.
            backbone: in place of the one in the options.
        """
        options = self.options
        self.columns = columns
        family_options = dict(options["family_options"] or {})
        event_shape = tuple(options["event_shape"])
        in_features = options["in_features"]
        if columns is not None:
            known = Columns.from_state(columns)
            in_features = _width_of(known, in_features)
            event_shape = _event_shape_of(known, event_shape)
            if takes_classes(options["family"]) and known.classes:
                family_options.setdefault("num_classes", max(map(len, known.classes.values())))
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
        if self._wanted_members is None:
            self.head = DistributionHead(options["family"], width, **family_options)
        else:
            family_options["members"] = self._wanted_members
            self.head = MemberHead(options["family"], width, **family_options)
        self.head.min_scale = options["min_scale"]
        if columns is not None:
            self.add_baseline()

    @property
    def _wanted_members(self) -> int | None:
        return self.options["ensemble"] if self.options["ensemble"] > 1 else None

    def _make_backbone(self, in_features: int, own: nn.Module | None) -> nn.Module:
        options, members = self.options, self._wanted_members
        if own is not None:
            return self._with_members(own)
        spec = options["backbone"]
        if spec is not None:
            made = build("backbone", completed(spec, in_features=in_features, members=members))
            if not isinstance(made, nn.Module):
                raise ValueError(
                    f"backbone must be an nn.Module, {spec!r} makes a {type(made).__name__}."
                )
            return self._with_members(made)
        sizes, activation, dropout = (
            options[name] for name in ("hidden_sizes", "activation", "dropout")
        )
        if members is not None:
            return TabularBackbone(in_features, sizes, activation, dropout, 0, members=members)
        return multilayer_perceptron(in_features, sizes, activation, dropout)

    def _with_members(self, backbone: nn.Module) -> nn.Module:
        members, theirs = self._wanted_members, _members(backbone)
        if members != theirs and not (members is None and theirs == 1):
            raise ValueError(
                f"ensemble={self.options['ensemble']} needs a backbone with as many members, such "
                f"as TabularBackbone(..., members={members}); {type(backbone).__name__} has "
                f"{theirs or 'no members'}."
            )
        return backbone

    @torch.no_grad()
    def _measure(self, in_features: int, own: nn.Module | None) -> int:
        """The size of what the backbone puts out."""
        if own is None and self.options["backbone"] is None:
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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """What is loaded says what there is: statistics of features, and a baseline."""
        if self.head is not None:
            self._has_started = True
            # where checkpoints had them once
            for name in ("target_loc", "target_scale"):
                if prefix + name in state_dict:
                    value = state_dict.pop(prefix + name)
                    state_dict |= {f"{prefix}{part}.{name}": value for part in ("head", "baseline")}
            feature_loc = state_dict.get(prefix + "feature_loc")
            if feature_loc is not None and "feature_loc" not in self._buffers:
                width = len(feature_loc)
                self.take_feature_statistics(torch.zeros(width), torch.ones(width))
            has_baseline = any(name.startswith(prefix + "baseline.") for name in state_dict)
            if has_baseline and not self.has_baseline:
                self.add_baseline()
        super()._load_from_state_dict(state_dict, prefix, *others)


def _members(module: nn.Module | None) -> int | None:
    return getattr(module, "members", None)


def _width_of(columns: Columns, in_features: int | None) -> int:
    """How many features the table has, which an option, where it is given, has to confirm."""
    width = len(columns.feature_names)
    if in_features not in (None, width):
        raise DataError(
            f"in_features is {in_features}, the table has {width} features after encoding: leave "
            f"in_features out, or give {width}."
        )
    return width


def _event_shape_of(columns: Columns, event_shape: tuple[int, ...]) -> tuple[int, ...]:
    targets = len(columns.target)
    own_shape = (targets,) if targets > 1 else ()
    if event_shape not in ((), own_shape):
        raise DataError(
            f"event_shape must be {own_shape} for a table with {targets} "
            f"target{'s' * (targets > 1)}, got {event_shape}: leave it out, or name other targets."
        )
    return own_shape
