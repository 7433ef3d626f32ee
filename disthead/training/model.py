"""`DistributionModel`: backbone and distribution head, between the statistics that standardise inputs and targets."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from disthead.arrays import as_mapping, as_names
from disthead.calibration import Recalibration
from disthead.data.columns import Columns
from disthead.data.summary import Summary
from disthead.data.table import DataError
from disthead.distributions.base import Distribution
from disthead.families.ensembles import ensemble
from disthead.families.family import Family, get_family, takes_classes, takes_vectors
from disthead.head import DistributionHead
from disthead.networks.backbone import build, completed, multilayer_perceptron
from disthead.networks.tabular import MemberHead, TabularBackbone, start_near_the_marginal_fit
from disthead.objectives import check_objective
from disthead.objectives.likelihood import nll
from disthead.standardisation import SCALES, check_relative_spread, robust_units, why_not
from disthead.weights import check_share, present

__all__ = ["DistributionModel"]


class DistributionModel(lightning.LightningModule):
    """Features in, a distribution in the user's own units out; built from `hparams`, which hold plain data.

    It is complete once the columns of a table, or the number of features, are known.
    `DistributionModule` trains it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head: DistributionHead | None = None
        self.columns: dict[str, Any] | None = None
        self.recalibration: Recalibration | None = None
        self.has_baseline = self._has_started = False
        self._given_backbone: Any = None
        self._objective: Callable | None = None

    def forward(
        self, features: Tensor, *, standardised: bool = False, **known: Tensor
    ) -> Distribution:
        """Features (N, in_features) -> the distribution of the target, in the user's units; of an ensemble the mixture.

        With `standardised` it is that of the standardised target.
        """
        dist = self._by_member(features, standardised=standardised, **known)
        return dist if self._members is None else ensemble(dist)

    @property
    def _members(self) -> int | None:
        """How many, in an ensemble."""
        return self.hparams.ensemble if self.hparams.ensemble > 1 else None

    def _by_member(
        self, features: Tensor, *, standardised: bool = False, **known: Tensor
    ) -> Distribution:
        """With batch_shape (members, N) in an ensemble."""
        if self.head is None:
            raise RuntimeError(
                "the model does not know its inputs yet: call fit with a TabularDataModule, or "
                "give in_features."
            )
        return self.head(
            self.backbone(self._standardised(features)), standardised=standardised, **known
        )

    def _standardised(self, features: Any) -> Any:
        if "feature_loc" not in self._buffers:
            return features
        return ((features - self.feature_loc) * self.feature_rate).to(self.feature_rate.dtype)

    def predictive(self, features: Tensor, **known: Tensor) -> Distribution:
        """What is predicted, tested and evaluated: `forward`, recalibrated where `recalibrate` was called."""
        dist = self(features, **known)
        return dist if self.recalibration is None else self.recalibration(dist)

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
        """Learn a recalibration from rows that training has not seen; checkpoints keep it, predictions go through it.

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
            self.recalibration = recalibration.fit(
                self(features, **known), y, weight, **options
            ).to(self.device)
        finally:
            self.train(training)
        return self.recalibration

    def marginal(self, *rows: int, **known: Tensor) -> Distribution:
        """The fit without features, in the user's units, for so many rows: the baseline."""
        return self.baseline(torch.zeros(*rows, 1, device=self.device), **known)

    @property
    def target_loc(self) -> Tensor:
        """The mean that standardises the target, of shape event_shape; 0 where it is not standardised."""
        return self._unit("target_loc", 0.0)

    @property
    def target_scale(self) -> Tensor:
        """The standard deviation that standardises the target, of shape event_shape; 1 where it is not standardised."""
        return self._unit("target_scale", 1.0)

    def _unit(self, name: str, otherwise: float) -> Tensor:
        assert self.head is not None
        if self.head.is_standardised:
            return getattr(self.head, name)
        return torch.full(self.head.event_shape, otherwise, device=self.device)

    @property
    def _can_standardise_target(self) -> bool:
        assert self.head is not None
        return why_not(self.head.family, self.hparams.fixed or {}) is None

    @property
    def _has_floor(self) -> bool:
        """Whether the predicted scale has a minimum."""
        head, fixed = self.head, self.hparams.fixed or {}
        return bool(
            head is not None
            and head.is_standardised
            and head.min_scale
            and any(name in head.links and name not in fixed for name in SCALES)
        )

    def _check_family(self) -> None:
        """Errors in the options come before any data are read; what depends on the data may be missing still."""
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

    def _check_objective(self, family: Family, event_shape: tuple[int, ...]) -> None:
        if self._objective is not None and self._objective is not nll:  # which every family has
            check_objective(self._objective, family, event_shape, self.hparams.ensemble)

    def _build(self, columns: dict[str, Any] | None) -> None:
        hparams = self.hparams
        self.columns = columns
        options, event_shape = dict(hparams.family_options or {}), tuple(hparams.event_shape)
        in_features = hparams.in_features
        if columns is not None:
            found = Columns.from_state(columns)
            width, targets = len(found.feature_names), len(found.target)
            if in_features not in (None, width):
                raise DataError(
                    f"in_features is {in_features}, the table has {width} features after "
                    "encoding: leave in_features out, or "
                    f"give {width}."
                )
            in_features = width
            own_shape = (targets,) if targets > 1 else ()
            if event_shape not in ((), own_shape):
                raise DataError(
                    f"event_shape must be {own_shape} for a table with {targets} "
                    f"target{'s' * (targets > 1)}, got "
                    f"{event_shape}: leave it out, or name other targets."
                )
            event_shape = own_shape
            if takes_classes(hparams.family) and found.classes:
                options.setdefault("num_classes", max(map(len, found.classes.values())))
        self.backbone = self._make_backbone(in_features)
        width = hparams.backbone_features or self._measure(in_features)
        if columns is not None:
            self._add_feature_statistics(in_features)
        options |= {"event_shape": event_shape, "links": hparams.links, "fixed": hparams.fixed}
        if self._members is None:
            self.head = DistributionHead(hparams.family, width, shared=hparams.shared, **options)
        else:
            self.head = MemberHead(
                hparams.family, width, members=self._members, shared=hparams.shared, **options
            )
        self.head.min_scale = hparams.spread_floor
        self._check_objective(self.head.family, event_shape)
        if columns is not None:
            self._add_baseline()

    def _add_feature_statistics(self, in_features: int) -> None:
        self.register_buffer("feature_loc", torch.zeros(in_features))
        self.register_buffer("feature_rate", torch.ones(in_features))

    def _add_baseline(self) -> None:
        head, hparams = self.head, self.hparams
        assert head is not None
        options = {"event_shape": head.event_shape, "links": hparams.links, "fixed": hparams.fixed}
        self.baseline = DistributionHead(head.family, 1, shared="all", **options).requires_grad_(
            False
        )
        self.baseline.min_scale = 0.0
        self.has_baseline = True

    def _make_backbone(self, in_features: int) -> nn.Module:
        given, members = self._given_backbone, self._members
        if isinstance(given, nn.Module):
            return self._with_members(given)
        if given is not None:
            made = build("backbone", completed(given, in_features=in_features, members=members))
            if not isinstance(made, nn.Module):
                raise ValueError(
                    f"backbone must be an nn.Module, {given!r} makes a {type(made).__name__}."
                )
            return self._with_members(made)
        if members is not None:
            options = {
                "activation": self.hparams.activation,
                "dropout": self.hparams.dropout,
                "members": members,
            }
            return TabularBackbone(in_features, self.hparams.hidden_sizes, bins=0, **options)
        return multilayer_perceptron(
            in_features, self.hparams.hidden_sizes, self.hparams.activation, self.hparams.dropout
        )

    def _with_members(self, backbone: nn.Module) -> nn.Module:
        members, theirs = self._members, getattr(backbone, "members", None)
        if members != theirs and not (members is None and theirs == 1):
            raise ValueError(
                f"ensemble={self.hparams.ensemble} needs a backbone with as many members, such as "
                f"TabularBackbone(..., members={members}); {type(backbone).__name__} has "
                f"{theirs or 'no members'}."
            )
        return backbone

    @torch.no_grad()
    def _measure(self, in_features: int) -> int:
        """The size of what the backbone puts out."""
        if self._given_backbone is None:
            return (list(self.hparams.hidden_sizes) or [in_features])[-1]
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

    @torch.no_grad()
    def _start(self, train: Summary) -> None:
        """Take the statistics of the training rows, and start head and baseline at their marginal fit."""
        assert self.head is not None
        self._has_started = True
        sample = train.sample
        weight, features, y, *values = present(
            sample.weight, sample.features, sample.y, *sample.known.values()
        )
        check_share(sample.weight, sample.rows if isinstance(sample.rows, Tensor) else None)
        check_relative_spread(self.head.family, y, weight, "the target")
        known = dict(zip(sample.known, values, strict=True))
        if train.features is not None and self.hparams.standardise:
            spread = train.features.spread
            self.feature_loc.copy_(train.features.mean)
            self.feature_rate.copy_(torch.where(spread > 0, 1 / spread, 0.0))
        if train.features is not None and isinstance(self.backbone, TabularBackbone):
            self.backbone.fit(self._standardised(features), weight)
        if self.hparams.standardise and self._can_standardise_target:
            loc, scale = robust_units(train.y.mean, train.y.spread, y, weight, self.head.family)
            for head in (self.head, self.baseline):
                head.change_units(loc, torch.where(scale > 0, scale, 1.0))
            y = (y.double() - self.target_loc.to(y.device)) / self.target_scale.to(y.device)
        biases = self.baseline.fitted_biases(y, known, weight)
        self.baseline.start_at(biases)
        self.head.start_at(biases)
        start_near_the_marginal_fit(self.head)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """What is loaded says what there is: statistics of features, and a baseline."""
        if self.head is not None:
            self._has_started = True
            for name in ("target_loc", "target_scale"):  # where checkpoints had them once
                if prefix + name in state_dict:
                    value = state_dict.pop(prefix + name)
                    state_dict |= {f"{prefix}{part}.{name}": value for part in ("head", "baseline")}
            feature_loc = state_dict.get(prefix + "feature_loc")
            if feature_loc is not None and "feature_loc" not in self._buffers:
                self._add_feature_statistics(len(feature_loc))
            if not self.has_baseline and any(
                name.startswith(prefix + "baseline.") for name in state_dict
            ):
                self._add_baseline()
        super()._load_from_state_dict(state_dict, prefix, *others)
