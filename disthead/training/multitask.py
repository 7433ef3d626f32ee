"""`MultitaskModule`: one backbone with several distribution heads, trained by Lightning."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from disthead.data.summary import Moments, Summary
from disthead.distributions.base import Distribution
from disthead.errors import first_line, locate
from disthead.networks.backbone import TIMING, build, fused, qualified
from disthead.networks.multitask_model import MultitaskModel, head_options, is_table, naming
from disthead.objectives import check_objective, get_objective, name_of, warn_of_untrained
from disthead.objectives.composite import check_names, sum_of
from disthead.objectives.likelihood import nll
from disthead.special.eager import are_concrete
from disthead.targets import check_target
from disthead.training.first_rows import from_first_batches, summary_of
from disthead.training.head_rows import HeadRows
from disthead.training.saved import check_checkpoint, class_path, is_double, plain, rebuilding
from disthead.training.steps import RowMeans, StepLosses
from disthead.training.trust import GIVEN, check_classes
from disthead.weights import present

__all__ = ["MultitaskModule"]


class MultitaskModule(MultitaskModel, lightning.LightningModule):
    """A backbone that is shared by several distribution heads, each with a target of its own.

    Batches are (features, targets), (features, targets, weight), or mappings with the keys
    "features", "y" and "weight". Targets are a mapping from the names of the heads. A target whose
    numbers are all NaN is missing: its row counts for the other heads alone. The weight has one
    number for each row, (N,), or is a mapping of such weights, or of masks, for single heads.

    Training starts from the first 10,000 rows of the loader, as that of a `DistributionModule`:
    features that are a table are standardised, and so are real-valued targets, and each head starts
    at its unconditional model (no features). `start` does the same by hand.

    What is minimised is the sum of the objectives of the standardised targets over heads and rows,
    divided by the sum of the weights of the rows; the weight of a row is the largest of those of
    its heads. In several processes each divides by the weight of its own rows. Logged are
    `train/objective` and `val/objective`, the means of that sum, and for each head, such as
    "price", `val/price/nll`, `val/price/nll_marginal` (the unconditional model) and another
    objective by its name: means over the rows whose target is there, in the units of the target.
    Learned weights are logged as `train/price/factor`.

    Args:
        heads: the family of each head by name, or a mapping with `family`, its options and those of
            `DistributionHead`, such as `{"family": "categorical", "num_classes": 3}`; `standardise`
            and `min_scale` are as for `DistributionModule`.
        objective: `disthead.objectives.sum_of` with the same names, or a mapping of objectives by
            name; the likelihood of all heads, "nll", unless given.
        hidden_sizes: the sizes of the layers of the default backbone, a multilayer perceptron;
            without any sizes the heads are linear.
        activation: that of the default backbone.
        dropout: that of the default backbone.
        backbone: another backbone, as for `DistributionModule`.
        in_features: the number of features; not needed with `backbone_features`.
        backbone_features: the size of the backbone's outputs; measured on zeros unless given.
        optimizer: as for `DistributionModule`.
        scheduler: as for `DistributionModule`.

    Raises:
        ValueError: for invalid options, names that differ, and objectives by which a family cannot
            be trained.

    >>> heads = {"price": "normal", "class": {"family": "categorical", "num_classes": 3}}
    >>> module = MultitaskModule(heads, in_features=4, hidden_sizes=[8])
    >>> module(torch.zeros(5, 4))["class"].probs.shape
    torch.Size([5, 3])
    """

    has_started: Tensor
    validated_by = "objective"  # what early stopping and the best checkpoint monitor

    def __init__(
        self,
        heads: Mapping[str, Any],
        objective: Any = None,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "SiLU",
        dropout: float = 0.0,
        backbone: str | dict[str, Any] | nn.Module | None = None,
        in_features: int | None = None,
        backbone_features: int | None = None,
        optimizer: str | dict[str, Any] = "AdamW",
        scheduler: str | dict[str, Any] | None = None,
    ):
        super().__init__()
        options = {
            name: plain(value)
            for name, value in locals().items()
            if name not in ("self", "__class__", "heads", "objective")
        }
        for kind in ("backbone", "optimizer", "scheduler"):
            options[kind] = qualified(kind, options[kind])
        if isinstance(backbone, nn.Module):
            options["backbone"] = GIVEN + class_path(backbone)
        specs = head_options(heads)
        self.objective = _as_sum(objective, tuple(specs))
        options |= {"heads": plain(specs), "objective": _plain_objective(self.objective)}
        # `save_hyperparameters` compares each argument with the options, which arrays do not allow
        self._set_hparams(options)
        self._hparams_initial, self._log_hyperparams = dict(options), True
        if isinstance(backbone, str) and backbone.startswith(GIVEN):
            raise ValueError(
                f"this model was trained with a backbone {backbone}. Give it again: "
                "MultitaskModule.load_from_checkpoint(path, backbone=...)."
            )
        self.build(specs, options, backbone if isinstance(backbone, nn.Module) else None)
        for name, model in self.named_heads():
            assert model.head is not None
            function = self.objective.functions[name]
            if function is not nll:  # every family can be trained by its likelihood
                with naming(name):
                    check_objective(function, model.head.family, model.head.event_shape)
        self.register_buffer("has_started", torch.tensor(False))
        self._means = {part: RowMeans() for part in ("train", "val", "test")}
        self._losses = StepLosses(self._means["train"], "objective")

    # The start.

    def setup(self, stage: str) -> None:
        """Start from the first rows of the training loader, unless the model has started."""
        if stage == "fit" and not self.has_started and self.trainer.ckpt_path is None:
            summaries = from_first_batches(self.trainer, self, self._rows, self._summaries)
            if summaries is not None:
                self.start_from(*summaries)

    def start(self, features: Any, targets: Mapping[str, Any], weight: Any = None) -> Self:
        """Learn the statistics of features and targets, and the unconditional models, from rows.

        Args:
            features: (N, in_features), which are standardised, or other inputs of the backbone.
            targets: of each head by name, (N, *event_shape).
            weight: of the rows, as in a batch.

        Raises:
            TargetError: for targets outside the support of a family, with the name of the head.
            ValueError: for names that differ, and numbers that cannot be standardised.
        """
        self.start_from(*self._summaries([self._rows((features, targets, weight))]))
        return self

    def _summaries(self, batches: Sequence[HeadRows]) -> tuple[Moments | None, list[Summary]]:
        """The moments of features that are a table, and the summary of each head's rows."""
        features, summaries = None, []
        if all(is_table(batch.features) for batch in batches):
            features = Moments()
            for batch in batches:
                bad = ~batch.features.isfinite()
                if bool(bad.any()):
                    raise ValueError(
                        f"features must be finite, got {locate(bad, batch.features)} of a batch. "
                        "Impute missing ones, or leave such rows out."
                    )
                features.add(batch.features.detach(), batch.total_weight)
        for name, model in self.named_heads():
            assert model.head is not None
            with naming(name):
                summaries.append(summary_of([row.of_head(name) for row in batches], model.head))
        return features, summaries

    def start_from(self, features: Moments | None, summaries: Sequence[Summary]) -> None:
        """Start as `MultitaskModel` does; what objectives do not train is the same for all rows."""
        super().start_from(features, summaries)
        for name, model in self.named_heads():
            function, head = self.objective.functions[name], model.head
            if function is not nll:
                assert head is not None
                fixed = model.options["fixed"] or ()
                known = head.family, head.event_shape, 1, fixed
                head.hold(warn_of_untrained(function, *known))
        self.has_started.fill_(True)

    # Steps.

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """The mean objective of the rows."""
        rows = self._rows(batch)
        values = self._values(self.objective.at_step(self.global_step), rows)
        self._losses.add(rows.unweighted(values), rows.total_weight)
        return rows.mean(values)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Look from time to time whether losses are finite."""
        if self._losses.is_due:
            self._losses.look(self)

    def on_train_epoch_end(self) -> None:
        """Log the mean objective, and the weights of the heads where they are learned."""
        self._losses.look(self)
        self._log("train")
        if self.objective.weights == "learned":
            for name, factor in self.objective.factors.items():
                self.log(f"train/{name}/factor", factor)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Add the scores of the rows to the means of validation."""
        self._evaluate("val", self._rows(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the means of validation."""
        self._log("val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        """Add the scores of the rows to the means of the test."""
        self._evaluate("test", self._rows(batch))

    def on_test_epoch_end(self) -> None:
        """Log the means of the test."""
        self._log("test")

    def predict_step(self, batch: Any, batch_index: int) -> dict[str, Distribution]:
        """The distributions of all heads by name."""
        return self(HeadRows.parts(batch)[0])

    def _rows(self, batch: Any) -> HeadRows:
        return HeadRows.of(batch, self.names)

    def _values(self, objective: sum_of, rows: HeadRows) -> Tensor:
        """An objective of the standardised targets, one number for each row."""
        dists, targets = self(rows.features, standardised=True), {}
        for name, model in self.named_heads():
            dist, y, weight = dists[name], rows.targets[name], rows.weight[name]
            if are_concrete(y):  # a look at those on a GPU would make the host wait
                check_target(dist, y, weight=weight, soft_labels=True, name=f"target {name!r}")
            if model.head.is_standardised:
                loc, scale = model.target_loc, model.target_scale
                if y.ndim > 1 + loc.ndim:  # pairs of censored targets
                    loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
                y = ((y - loc) / scale).to(dist.dtype)
            targets[name] = y
        return objective(dists, targets, rows.weight)

    @torch.no_grad()
    def _evaluate(self, part: str, rows: HeadRows) -> None:
        means, dists = self._means[part], self(rows.features)
        values = rows.unweighted(self._values(self.objective.validated_by, rows))
        means.add("objective", values, rows.total_weight)
        for name, model in self.named_heads():
            weight, dist, y, baseline = present(
                rows.weight[name], dists[name], rows.targets[name], model.marginal(len(rows.y))
            )
            function = self.objective.functions[name]
            scores: dict[str, Callable] = {"nll": nll, name_of(function): function}
            for score, of_rows in scores.items():
                means.add(f"{name}/{score}", of_rows(dist, y), weight)
            means.add(f"{name}/nll_marginal", nll(baseline, y), weight)

    def _log(self, part: str) -> None:
        for name, mean in self._means[part].take(self.trainer).items():
            if not mean.isnan():  # no row has a target of that head
                self.log(f"{part}/{name}", mean, prog_bar=name == "objective")

    def configure_optimizers(self) -> Any:
        """The optimizer of all weights, those of the objective too, and the scheduler."""
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = build("optimizer", fused(self.hparams.optimizer, learned, False), learned)
        spec = self.hparams.scheduler
        if spec is None:
            return optimizer
        spec = {"class_path": spec} if isinstance(spec, str) else dict(spec)
        timing = {name: spec.pop(name) for name in TIMING if name in spec}
        scheduler = build("scheduler", spec, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler} | timing}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights after losses that are not finite."""
        self._losses.look(self)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        *,
        trust: str | Iterable[str] = (),
        **options: Any,
    ) -> Self:
        """The trained model in a checkpoint; a stranger's checkpoint runs no code.

        Args:
            checkpoint_path: a file on this machine.
            map_location: the device of the model; the CPU unless given.
            trust: as for `DistributionModule.load_from_checkpoint`.
            options: options that replace those of the checkpoint, such as `backbone`.

        Raises:
            ValueError: for a missing or corrupt file, one of another model, or one that names a
                class that is not trusted, with its name.
        """
        check_checkpoint(checkpoint_path)
        try:
            contents = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
            saved, state = contents["hyper_parameters"], contents["state_dict"]
        except Exception as error:  # torch raises what its unpickler and the archive raise
            raise ValueError(f"{checkpoint_path} is no checkpoint: {first_line(error)}") from error
        if "heads" not in saved:
            raise ValueError(f"{checkpoint_path} is not a checkpoint of a MultitaskModule.")
        check_classes(saved, checkpoint_path, trust)
        with rebuilding(checkpoint_path):
            module = cls(**saved | options)
            if is_double(state):
                module.double()
            module.load_state_dict(state)
        return module.to(map_location or "cpu")


def _as_sum(objective: Any, names: Sequence[str]) -> sum_of:
    """The objective of all heads; by default, and by "nll", their likelihood."""
    if objective is None or objective == "nll":
        objective = dict.fromkeys(names, "nll")
    if isinstance(objective, Mapping):
        parts = objective.get("objectives", objective)
        given = [name for name, part in parts.items() if str(part).startswith(GIVEN)]
        if given:
            raise ValueError(
                f"the objective of {', '.join(given)} was {parts[given[0]]}. Give it again: "
                "MultitaskModule.load_from_checkpoint(path, objective=...)."
            )
        is_sum = objective.get("name") == "sum_of"
        objective = get_objective(objective) if is_sum else sum_of(objective)
    if not isinstance(objective, sum_of):
        raise ValueError(
            "objective must be disthead.objectives.sum_of, or a mapping of objectives by head, "
            f"got {objective!r}."
        )
    check_names(names, objective.functions, "objectives")
    return objective


def _plain_objective(objective: sum_of) -> dict[str, Any]:
    """The objective as plain data for checkpoints, which hold no functions."""
    parts = {
        name: part
        if isinstance(part, (str, Mapping))
        else f"{GIVEN}{type(part).__module__}.{name_of(part)}"
        for name, part in objective.objectives.items()
    }
    return {"name": "sum_of", "objectives": parts, "weights": objective.weights}
