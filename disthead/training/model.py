"""`DistributionModel`: backbone and distribution head, between the statistics that standardise inputs and targets."""

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from disthead.calibration import Recalibration
from disthead.families.distribution import Distribution
from disthead.families.ensembles import ensemble
from disthead.families.family import Family, get_family, takes_classes, takes_vectors
from disthead.head import DistributionHead
from disthead.training.backbone import build, completed, multilayer_perceptron
from disthead.training.collapse import SPREADS
from disthead.training.columns import Columns
from disthead.training.summary import Summary
from disthead.training.table import DataError
from disthead.training.tabular import MemberHead, TabularBackbone, start_near_the_marginal_fit

__all__ = ["DistributionModel"]

_WITHOUT_UNIT = ("df", "logits")  # parameters that a change of the target's unit leaves alone


class DistributionModel(lightning.LightningModule):
    """Features in, a distribution in the user's own units out; built from `hparams`, which hold plain data.

    It is complete once the columns of a table, or the number of features, are known. `DistributionModule` trains it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head: DistributionHead | None = None
        self.columns: dict[str, Any] | None = None
        self.recalibration: Recalibration | None = None
        self.has_baseline = self._scales_target = self._has_floor = False
        self._given_backbone: Any = None

    def forward(self, features: Tensor, **known: Tensor) -> Distribution:
        """Features (N, in_features) -> the distribution of the target, in the user's units; of an ensemble the mixture."""
        dist = self._by_member(features, **known)
        return dist if self._members is None else ensemble(dist)

    @property
    def _members(self) -> int | None:
        """How many, in an ensemble."""
        return self.hparams.ensemble if self.hparams.ensemble > 1 else None

    def _by_member(self, features: Tensor, **known: Tensor) -> Distribution:
        """With batch_shape (members, N) in an ensemble."""
        if self.head is None:
            raise RuntimeError(
                "the model does not know its inputs yet: call fit with a TabularDataModule, or give in_features."
            )
        if self.columns is not None:
            features = (features - self.feature_loc) * self.feature_rate
        return self._in_units(self.head(self.backbone(features), **known))

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
            weight: what each row counts.
            groups: a label for each row, for recalibrations that ask which rows belong together.
            known: per-row quantities, as in `forward`.
        """
        training = self.training
        options = {} if groups is None else {"groups": groups}
        self.eval()
        try:
            self.recalibration = recalibration.fit(self(features, **known), y, weight, **options).to(self.device)
        finally:
            self.train(training)
        return self.recalibration

    def marginal(self, rows: int, **known: Tensor) -> Distribution:
        """The fit without features, in the user's units, for so many rows: the baseline."""
        return self._in_units(self.baseline(torch.zeros(rows, 1, device=self.device), **known))

    def _in_units(self, dist: Distribution) -> Distribution:
        return dist.affine(self.target_loc, self.target_scale) if self._scales_target else dist

    def _check_family(self) -> None:
        """Errors in the options come before any data are read; what depends on the data may be missing still."""
        hparams = self.hparams
        options = dict(hparams.family_options or {})
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

    def _build(self, columns: dict[str, Any] | None) -> None:
        hparams = self.hparams
        self.columns = columns
        options, event_shape = dict(hparams.family_options or {}), tuple(hparams.event_shape)
        in_features = hparams.in_features
        if columns is not None:
            found = Columns.from_state(columns)
            width, targets = len(found.feature_names), len(found.target)
            if in_features not in (None, width):
                raise DataError(f"in_features is {in_features}, the table has {width} features after encoding.")
            in_features = width
            if not event_shape and targets > 1:
                event_shape = (targets,)
            if takes_classes(hparams.family) and found.classes:
                options.setdefault("num_classes", max(map(len, found.classes.values())))
        self.backbone = self._make_backbone(in_features)
        width = hparams.backbone_features or self._measure(in_features)
        self._scales_target = False
        family = get_family(hparams.family, event_shape=event_shape, **options)
        if columns is not None:
            self._scales_target = bool(hparams.standardise) and self._is_affine(family)
            self.register_buffer("feature_loc", torch.zeros(in_features))
            self.register_buffer("feature_rate", torch.ones(in_features))
        if self._scales_target:
            self.register_buffer("target_loc", torch.zeros(event_shape))
            self.register_buffer("target_scale", torch.ones(event_shape))
        options |= {"event_shape": event_shape, "links": hparams.links}
        fixed = self._fixed(event_shape)
        floored = options | {"links": self._links_with_floor(family)}
        floored |= {"shared": hparams.shared, "fixed": fixed}
        if self._members is None:
            self.head = DistributionHead(hparams.family, width, **floored)
        else:
            self.head = MemberHead(hparams.family, width, members=self._members, **floored)
        self.has_baseline = columns is not None
        if self.has_baseline:
            fixed = self._fixed(event_shape)
            self.baseline = DistributionHead(hparams.family, 1, shared="all", fixed=fixed, **options)
            self.baseline.requires_grad_(False)

    def _make_backbone(self, in_features: int) -> nn.Module:
        given, members = self._given_backbone, self._members
        if isinstance(given, nn.Module):
            return self._with_members(given)
        if given is not None:
            made = build("backbone", completed(given, in_features=in_features, members=members))
            if not isinstance(made, nn.Module):
                raise ValueError(f"backbone must be an nn.Module, {given!r} makes a {type(made).__name__}.")
            return self._with_members(made)
        if members is not None:
            options = {"activation": self.hparams.activation, "dropout": self.hparams.dropout, "members": members}
            return TabularBackbone(in_features, self.hparams.hidden_sizes, bins=0, **options)
        return multilayer_perceptron(
            in_features, self.hparams.hidden_sizes, self.hparams.activation, self.hparams.dropout
        )

    def _with_members(self, backbone: nn.Module) -> nn.Module:
        members, theirs = self._members, getattr(backbone, "members", None)
        if members != theirs and not (members is None and theirs == 1):
            raise ValueError(
                f"ensemble={self.hparams.ensemble} needs a backbone with as many members, such as "
                f"TabularBackbone(..., members={members}); {type(backbone).__name__} has {theirs or 'no members'}."
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

    def _is_affine(self, family: Family) -> bool:
        """Whether the targets are real numbers, and what is fixed can be put into other units."""
        support = family.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        rescalable = (*_WITHOUT_UNIT, "loc", "scale") if family.event_dim == 0 and not family.shapes else _WITHOUT_UNIT
        return support is constraints.real and all(name in rescalable for name in self.hparams.fixed or {})

    def _links_with_floor(self, family: Family) -> dict[str, Any]:
        """The links, that of the spread with the floor below it."""
        links, floor = dict(self.hparams.links or {}), self.hparams.spread_floor
        spread = next((name for name in SPREADS if name in family.parameters), None)
        self._has_floor = (
            self._scales_target and floor > 0 and spread is not None and spread not in (self.hparams.fixed or {})
        )
        if spread and self._has_floor:
            links[spread] = family.resolve_links(links)[spread].shifted(floor ** SPREADS[spread])
        return links

    def _fixed(self, event_shape: tuple[int, ...]) -> dict[str, Any]:
        """Fixed values; those with a unit become buffers, which `_standardise` puts into standardised units."""
        fixed = dict(self.hparams.fixed or {})
        if self._scales_target:
            for name in ("loc", "scale"):
                if name in fixed:
                    fixed[name] = torch.as_tensor(fixed[name], dtype=torch.float32).expand(event_shape).clone()
        return fixed

    @torch.no_grad()
    def _standardise(self, train: Summary) -> None:
        """Take the statistics of the training rows, and start head and baseline at their marginal fit."""
        assert self.head is not None
        y, known = train.sample.y, train.sample.known
        if self.hparams.standardise:
            spread = train.features.spread
            self.feature_loc.copy_(train.features.mean)
            self.feature_rate.copy_(torch.where(spread > 0, 1 / spread, 0.0))
        if isinstance(self.backbone, TabularBackbone):
            self.backbone.fit((train.sample.features - self.feature_loc) * self.feature_rate)
        if self._scales_target:
            spread = train.y.spread
            self.target_loc.copy_(train.y.mean)
            self.target_scale.copy_(torch.where(spread > 0, spread, 1.0))
            for head in (self.head, self.baseline):
                for name in set(head.fixed) & {"loc", "scale"}:
                    value = getattr(head, f"fixed_{name}")
                    value.copy_((value - self.target_loc if name == "loc" else value) / self.target_scale)
            y = ((y.double() - self.target_loc) / self.target_scale).to(y.dtype)
        fitted = self.baseline.initialize(y, **known).shared
        for name, value in self.head.shared.items():
            value.copy_(fitted[name])
        if self.head.linear is not None:
            self.head.linear.bias.copy_(torch.cat([fitted[name].flatten() for name in self.head.predicted]))
            start_near_the_marginal_fit(self.head)
