"""`DistributionModule`: a backbone and a distribution head, trained by Lightning."""

import contextlib
import inspect
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from disthead.calibration import Recalibration, rebuild
from disthead.families.distribution import Distribution
from disthead.families.family import Family, _table, get_family
from disthead.head import DistributionHead
from disthead.losses import nll, reduce
from disthead.metrics import RowMean
from disthead.training.backbone import TIMING, build, multilayer_perceptron, qualified
from disthead.training.columns import Columns
from disthead.training.data import PARTS, Part, TabularDataModule
from disthead.training.table import DataError

__all__ = ["DistributionModule", "NonFiniteLoss", "read_checkpoint"]

_GIVEN = "given as an object: "
_IDENTITY = ("family", "family_options", "event_shape", "links", "fixed", "shared")
_WITHOUT_UNIT = ("df", "logits")  # parameters that a change of the target's unit leaves alone
_SPREADS = {
    "scale": 1,
    "scale_tril": 1,
    "cov_diag": 2,
}  # parameters that can collapse -> power of the target's unit in them
_LEVEL = 0.9


class NonFiniteLoss(ValueError):
    """Training stopped because the loss became NaN or infinite."""


class _Batch(NamedTuple):
    features: Tensor
    y: Tensor
    weight: Tensor | None
    known: dict[str, Tensor]
    rows: Tensor | None
    total: Tensor | None


class DistributionModule(lightning.LightningModule):
    """Features in, a distribution in the user's own units out; the loss is its negative log-likelihood.

    With a `TabularDataModule` everything is set up when `fit` starts: the number of inputs, the statistics that
    standardise inputs and real-valued targets (with the exact change of variable, so that the loss, too, is in the user's
    units), the marginal fit where the head starts, and the baseline `nll_marginal` that it has to beat. All of this is
    in the checkpoint. With data loaders of your own, whose batches are (features, y) or (features, y, weight), give
    `in_features`; nothing is standardised then.

    Logs `nll`, `nll_marginal` and `coverage_90` (of ordered targets, by the central interval) or `accuracy` (of classes)
    for `val/` and `test/`, and `train/nll`: means over rows, in nats.

    Args:
        family: name of the family (`disthead families`).
        family_options: what the family takes, such as `{"num_classes": 3}`. The number of classes may be left out
            where targets are given as text.
        event_shape: shape of one target; taken from the target columns unless given.
        links, fixed, shared: as for `DistributionHead`. Fixed values are in the user's units.
        hidden_sizes, activation, dropout: the default backbone, a multilayer perceptron; no sizes make the model linear.
        backbone: another backbone, a class path or `{"class_path": ..., "init_args": {...}}`, so that checkpoints can
            rebuild it; or an `nn.Module`, which has to be given again to load a checkpoint.
        in_features: number of features; taken from the table unless given.
        backbone_features: size of what the backbone puts out; found by a trial on zeros unless given.
        standardise: whether inputs and real-valued targets are standardised.
        spread_floor: the least `scale` of a standardised target (for vectors: the least diagonal of `scale_tril`, or root of
            `cov_diag`), in standard deviations of the training targets, so that no spread collapses onto a single row;
            0 switches it off (docs/edges.md).
        optimizer, scheduler: class path or class_path and init_args, such as
            `{"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}}`. A scheduler may also have `interval` ("epoch", "step"),
            `frequency` and `monitor`.
        columns: what the columns of the table are; found by `fit`, and read from checkpoints.

    >>> module = DistributionModule("normal", in_features=3, hidden_sizes=[8])
    >>> module(torch.zeros(5, 3)).batch_shape
    torch.Size([5])
    """

    _collapsed: Tensor

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
        spread_floor: float = 1e-4,
        optimizer: str | dict[str, Any] = "AdamW",
        scheduler: str | dict[str, Any] | None = None,
        columns: dict[str, Any] | None = None,
    ):
        super().__init__()
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._set_hparams({name: _plain(value) for name, value in given.items()})
        for kind in ("backbone", "optimizer", "scheduler"):
            self.hparams[kind] = qualified(kind, self.hparams[kind])
        self._hparams_initial = dict(self.hparams)
        self._log_hyperparams = True
        if isinstance(backbone, nn.Module):
            self.hparams["backbone"] = _GIVEN + _class_path(backbone)
        elif isinstance(backbone, str) and backbone.startswith(_GIVEN):
            raise ValueError(
                f"this model was trained with a backbone {backbone}. Give it again: "
                "DistributionModule.load_from_checkpoint(path, backbone=...)."
            )
        self._given_backbone = backbone if isinstance(backbone, nn.Module) else self.hparams["backbone"]
        self.head: DistributionHead | None = None
        self.columns: dict[str, Any] | None = None
        self.recalibration: Recalibration | None = None
        self._check_family()
        if not 0 <= spread_floor < 1:
            raise ValueError(
                f"spread_floor must be 0 (off) or a small positive number such as 1e-4, got {spread_floor!r}."
            )
        self._has_floor, self._warned_of_collapse = False, False
        if columns is not None:
            self._build(columns)
        elif in_features is not None:
            self._build(None)

    # The model.

    def forward(self, features: Tensor, **known: Tensor) -> Distribution:
        """Features (N, in_features) -> the distribution of the target, in the user's units."""
        if self.head is None:
            raise RuntimeError(
                "the model does not know its inputs yet: call fit with a TabularDataModule, or give in_features."
            )
        if self.columns is not None:
            features = (features - self.feature_loc) * self.feature_rate
        dist = self.head(self.backbone(features), **known)
        return dist.affine(self.target_loc, self.target_scale) if self._scales_target else dist

    def predictive(self, features: Tensor, **known: Tensor) -> Distribution:
        """What is predicted, tested and evaluated: `forward`, recalibrated where `recalibrate` was called."""
        dist = self(features, **known)
        return dist if self.recalibration is None else self.recalibration(dist)

    @torch.no_grad()
    def recalibrate(self, recalibration: Recalibration, features: Tensor, y: Tensor, **known: Tensor) -> Recalibration:
        """Learn a recalibration from rows that training has not seen; checkpoints keep it, predictions go through it.

        Args:
            recalibration: of `disthead.calibration`, such as `ScaleCalibration()`.
            features: (N, in_features), in the user's units.
            y: targets of these rows.
            known: per-row quantities, as in `forward`.
        """
        training = self.training
        self.eval()
        try:
            self.recalibration = recalibration.fit(self(features, **known), y).to(self.device)
        finally:
            self.train(training)
        return self.recalibration

    def marginal(self, rows: int, **known: Tensor) -> Distribution:
        """The fit without features, in the user's units, for so many rows: the baseline."""
        dist = self.baseline(torch.zeros(rows, 1, device=self.device), **known)
        return dist.affine(self.target_loc, self.target_scale) if self._scales_target else dist

    def _check_family(self) -> None:
        """Errors in the options come before any data are read; what depends on the data may be missing still."""
        hparams = self.hparams
        options = dict(hparams.family_options or {})
        if _takes_classes(hparams.family):
            options.setdefault("num_classes", 2)
        shape = tuple(hparams.event_shape)
        try:
            family = get_family(hparams.family, event_shape=shape, **options)
        except ValueError:
            if shape or not _takes_vectors(hparams.family):
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
            if _takes_classes(hparams.family) and found.classes:
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
        self.head = DistributionHead(hparams.family, width, shared=hparams.shared, fixed=fixed, **floored)
        self.has_baseline = columns is not None
        if self.has_baseline:
            fixed = self._fixed(event_shape)
            self.baseline = DistributionHead(hparams.family, 1, shared="all", fixed=fixed, **options)
            self.baseline.requires_grad_(False)
        self.metrics = nn.ModuleDict()
        for part in PARTS[:3]:
            for name in ("nll", "nll_marginal", f"coverage_{_LEVEL * 100:.0f}", "accuracy"):
                self.metrics[f"{part}/{name}"] = RowMean()

    def _make_backbone(self, in_features: int) -> nn.Module:
        given = self._given_backbone
        if isinstance(given, nn.Module):
            return given
        if given is not None:
            made = build("backbone", given)
            if not isinstance(made, nn.Module):
                raise ValueError(f"backbone must be an nn.Module, {given!r} makes a {type(made).__name__}.")
            return made
        return multilayer_perceptron(
            in_features, self.hparams.hidden_sizes, self.hparams.activation, self.hparams.dropout
        )

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
        spread = next((name for name in _SPREADS if name in family.parameters), None)
        self._has_floor = (
            self._scales_target and floor > 0 and spread is not None and spread not in (self.hparams.fixed or {})
        )
        if spread and self._has_floor:
            links[spread] = family.resolve_links(links)[spread].shifted(floor ** _SPREADS[spread])
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
    def _standardise(self, train: Part) -> None:
        """Find the statistics of the training rows, and start head and baseline at their marginal fit."""
        assert self.head is not None
        y = train.y
        if self.hparams.standardise:
            features = train.features.double()
            spread = features.std(0, correction=0)
            self.feature_loc.copy_(features.mean(0))
            self.feature_rate.copy_(torch.where(spread > 0, 1 / spread, 0.0))
        if self._scales_target:
            wide = y.double()
            spread = wide.std(0, correction=0)
            self.target_loc.copy_(wide.mean(0))
            self.target_scale.copy_(torch.where(spread > 0, spread, 1.0))
            for head in (self.head, self.baseline):
                for name in set(head.fixed) & {"loc", "scale"}:
                    value = getattr(head, f"fixed_{name}")
                    value.copy_((value - self.target_loc if name == "loc" else value) / self.target_scale)
            y = ((wide - self.target_loc) / self.target_scale).to(y.dtype)
        fitted = self.baseline.initialize(y, **train.known).shared
        for name, value in self.head.shared.items():
            value.copy_(fitted[name])
        if self.head.linear is not None:
            self.head.linear.bias.copy_(torch.cat([fitted[name].flatten() for name in self.head.predicted]))
            self.head.linear.weight.mul_(
                0.1
            )  # near the baseline, and enough to tell equal components of a mixture apart

    # Hooks of Lightning.

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TabularDataModule):
            if self.head is None:
                raise ValueError("without a TabularDataModule the model needs in_features, the number of features.")
            return
        if self.columns is None:
            if stage != "fit":
                raise ValueError(
                    f"{getattr(stage, 'value', stage)} needs a trained model: call fit first, or load a checkpoint."
                )
            columns = data.find_columns().state
            self._build(columns)
            self.hparams["columns"] = columns
            self._check_targets(data, stage)
            self._standardise(data.part("train"))
        else:
            self._check_targets(data, stage)

    def _check_targets(self, data: TabularDataModule, stage: str) -> None:
        assert self.head is not None
        assert self.columns is not None
        family, classes = self.head.family, self.columns["classes"]
        bounded = family.support is constraints.boolean or hasattr(family.support, "upper_bound")
        if classes and not (family.is_discrete and bounded):
            name = next(iter(classes))
            raise DataError(
                f"target {name!r} holds classes ({', '.join(classes[name][:3])} ...), {family.name} takes numbers."
            )
        wanted = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for part in wanted:
            if data.has(part):
                targets = data.part(part).table.y
                name = "column " + ", ".join(map(repr, self.columns["target"]))
                family.check_target(targets, column=name)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        batch = _unpack(batch)
        values, loss = self._loss(batch)
        if not torch.isfinite(loss):
            raise self._non_finite(values, batch)
        self._record("train", {"nll": values}, batch)
        return loss

    def _loss(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """The nll of each row, and what their share of the batch adds to the mean over the batch."""
        values = nll(self(batch.features, **batch.known), batch.y, reduction="none")
        if batch.total is None:
            return values, reduce(values, batch.weight)
        weighted = values if batch.weight is None else values * batch.weight
        # Lightning's ddp averages gradients over processes, whose shares of the batch may differ in size.
        return values, weighted.sum() * self.trainer.world_size / batch.total

    def _non_finite(self, values: Tensor, batch: _Batch) -> NonFiniteLoss:
        bad = ~values.isfinite()
        rows = batch.rows if batch.rows is not None else torch.arange(len(values))
        offending = rows.to(bad.device)[bad.reshape(len(values), -1).any(-1)].tolist()
        shown = ", ".join(map(str, offending[:10])) + (" ..." if len(offending) > 10 else "")
        kept = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        cause = (
            "All rows of the batch: the weights have become too large, not the data. Lower the learning rate, or set "
            "trainer.gradient_clip_val."
            if len(offending) == len(values)
            else "Look at these rows for extreme values, or try a family with heavier tails."
        )
        return NonFiniteLoss(
            f"the loss became NaN or infinite in epoch {self.current_epoch}, at rows {shown} "
            f"({len(offending)} of {len(values)} in the batch). {cause}"
            + (f" The last good checkpoint is {kept}." if kept else "")
        )

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate("val", _unpack(batch))

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate("test", _unpack(batch))

    def predict_step(self, batch: Any, batch_index: int) -> Distribution:
        batch = _unpack(batch)
        return self.predictive(batch.features, **batch.known)

    def _evaluate(self, part: str, batch: _Batch) -> None:
        dist = (self if part == "val" else self.predictive)(batch.features, **batch.known)
        values = {}
        with contextlib.suppress(NotImplementedError):  # some recalibrations have no density
            values["nll"] = nll(dist, batch.y, reduction="none")
        if self.has_baseline:
            baseline = self.marginal(len(batch.features), **batch.known)
            values["nll_marginal"] = nll(baseline, batch.y, reduction="none")
        self._record(part, values | _hits(dist, batch.y), batch)
        if part == "val" and self._has_floor:
            self._count_collapsed(dist)

    def _count_collapsed(self, dist: Distribution) -> None:
        """Count the rows whose spread lies within a factor of two of its floor."""
        name = next(name for name in _SPREADS if name in dist.parameters)
        scale = dist.parameters[name] ** (1 / _SPREADS[name])
        scale = scale.diagonal(dim1=-2, dim2=-1) if name == "scale_tril" else scale
        unit = self.target_scale.reshape(self.target_scale.shape + (1,) * (scale.ndim - 1 - self.target_scale.ndim))
        near = scale <= 2 * self.hparams.spread_floor * unit
        self._collapsed = self._collapsed + near.reshape(len(near), -1).any(-1).sum()

    def on_validation_epoch_start(self) -> None:
        self._collapsed = torch.zeros((), dtype=torch.long, device=self.device)

    def on_validation_epoch_end(self) -> None:
        if self._warned_of_collapse or not int(self._collapsed):
            return
        self._warned_of_collapse = True
        warnings.warn(
            f"the predicted scale of {int(self._collapsed)} validation rows has come down to its floor, "
            f"{self.hparams.spread_floor:g} standard deviations of the targets: their likelihood would grow without bound. "
            "Look for duplicates and for a target that is really discrete; share the scale (shared=['scale']), regularise, or "
            "choose a family for classes or counts.",
            stacklevel=2,
        )

    def _record(self, part: str, values: Mapping[str, Tensor], batch: _Batch) -> None:
        for name, value in values.items():
            metric = self.metrics[f"{part}/{name}"]
            metric.update(value, batch.weight)
            self.log(
                f"{part}/{name}",
                metric,
                on_step=False,
                on_epoch=True,
                prog_bar=name == "nll",
                batch_size=max(len(batch.features), 1),
                metric_attribute=f"metrics.{part}/{name}",
            )

    def configure_optimizers(self) -> Any:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = build("optimizer", self.hparams.optimizer, parameters)
        spec = self.hparams.scheduler
        if spec is None:
            return optimizer
        spec = {"class_path": spec} if isinstance(spec, str) else dict(spec)
        timing = {name: spec.pop(name) for name in TIMING if name in spec}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": build("scheduler", spec, optimizer)} | timing}

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["random_state"] = torch.get_rng_state()
        if self.recalibration is not None:
            checkpoint["recalibration"] = self.recalibration.config

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        theirs = checkpoint.get("hyper_parameters", {})
        for name in _IDENTITY:
            if name in theirs and _comparable(theirs[name]) != _comparable(self.hparams[name]):
                raise ValueError(
                    f"the checkpoint is of another model: {name} is {theirs[name]!r} there and {self.hparams[name]!r} here."
                )
        self._random_state = checkpoint.get("random_state")
        config = checkpoint.get("recalibration")
        self.recalibration = None if config is None else rebuild(config)

    def on_train_start(self) -> None:
        state, self._random_state = getattr(self, "_random_state", None), None
        if state is not None and self.global_rank == 0 and self.trainer.ckpt_path is not None:
            torch.set_rng_state(state.cpu())  # dropout continues where it was

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> "DistributionModule":
        """The trained model, with everything it needs to predict.

        Raises:
            ValueError: for a missing or corrupt file, or one of another model; the message says which.
        """
        theirs = read_checkpoint(checkpoint_path)["hyper_parameters"]
        if "family" in options and options["family"] != theirs["family"]:
            raise ValueError(f"{checkpoint_path} is a checkpoint of {theirs['family']}, not of {options['family']}.")
        return super().load_from_checkpoint(checkpoint_path, weights_only=True, **{"map_location": "cpu"} | options)


def read_checkpoint(path: Any) -> dict[str, Any]:
    """The contents of a checkpoint of a `DistributionModule`.

    Raises:
        ValueError: for a missing or corrupt file, or one that something else wrote.
    """
    if not Path(path).is_file():
        raise ValueError(f"no such checkpoint: {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a checkpoint, or it is corrupt: it is not the archive that torch.save writes.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler and the archive raise
        raise ValueError(f"{path} is not a checkpoint, or it is corrupt: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or "family" not in checkpoint.get("hyper_parameters", {}):
        raise ValueError(f"{path} is not a checkpoint of a DistributionModule.")
    return checkpoint


def _unpack(batch: Any) -> _Batch:
    if isinstance(batch, Mapping):
        y = batch.get("y")
        return _Batch(
            batch["features"], y, batch.get("weight"), batch.get("known", {}), batch.get("rows"), batch.get("total")
        )
    features, y, *weight = batch if isinstance(batch, (tuple, list)) else (batch, None)
    return _Batch(features, y, weight[0] if weight else None, {}, None, None)


def _hits(dist: Distribution, y: Tensor) -> dict[str, Tensor]:
    """Per row: whether the most probable class is right, or the share of outputs inside their central interval."""
    if hasattr(dist, "expected_cost"):
        return {"accuracy": _row_share(dist.mode == y)}
    try:
        below, upto = (dist.marginals if dist.event_shape else dist).cdf_limits(y)
    except (NotImplementedError, AttributeError):
        return {}
    tail = (1 - _LEVEL) / 2
    return {f"coverage_{_LEVEL * 100:.0f}": _row_share((upto >= tail) & (below <= 1 - tail))}


def _row_share(hits: Tensor) -> Tensor:
    hits = hits.float()
    return hits.flatten(1).mean(1) if hits.ndim > 1 else hits


def _takes_classes(family: str) -> bool:
    """Whether the family needs the number of classes, which the targets may give."""
    declared = _table().get(family)
    return declared is not None and "num_classes" in inspect.signature(declared.__init__).parameters


def _takes_vectors(family: str) -> bool:
    """Whether the family needs an event_shape, which the number of target columns may give."""
    declared = _table().get(family)
    return declared is not None and "event_shape" in inspect.signature(declared.__init__).parameters


def _comparable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_comparable(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _comparable(entry) for key, entry in value.items()} or None
    return value


def _plain(value: Any) -> Any:
    """Options as plain data, which checkpoints can hold."""
    if isinstance(value, nn.Module):
        return None
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _class_path(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
