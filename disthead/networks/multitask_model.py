"""`MultitaskModel`: a backbone that several distribution heads share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer, as_mapping
from disthead.data.summary import Moments, Summary
from disthead.distributions.base import Distribution
from disthead.networks.backbone import build, completed, multilayer_perceptron
from disthead.networks.predictive_model import PredictiveModel
from disthead.standardisation import check_precision

__all__ = ["MultitaskModel", "head_options", "is_table", "naming"]

_EXAMPLE = '{"price": "normal", "class": {"family": "categorical", "num_classes": 3}}'
_OF_MODEL = ("family", "event_shape", "links", "fixed", "shared", "standardise", "min_scale")


def head_options(heads: Any) -> dict[str, dict[str, Any]]:
    """The options of each head by name.

    Args:
        heads: the family of each head by name, or a mapping with `family` and further options.

    Raises:
        ValueError: for anything else, and for no heads at all.

    >>> head_options({"price": "normal"})
    {'price': {'family': 'normal'}}
    """
    options = {
        name: as_mapping({"family": head} if isinstance(head, str) else head, name, _EXAMPLE)
        for name, head in as_mapping(heads, "heads", _EXAMPLE).items()
    }
    if not options:
        raise ValueError(f"heads must name at least one head, such as {_EXAMPLE}.")
    for name, head in options.items():
        if not isinstance(head.get("family"), str):
            raise ValueError(f"head {name!r} needs a family by its name, such as in {_EXAMPLE}.")
    return options


class MultitaskModel(nn.Module):
    """A model from features to the distributions of several targets, in their own units.

    Features that are a table (N, in_features) are standardised and pass through the backbone. Each
    head is a `PredictiveModel` without layers of its own, whose features are what the backbone puts
    out: it standardises its target, and has the unconditional model (no features) as its baseline.

    Attributes:
        names: of the heads.
        heads: a `PredictiveModel` for each name, in their order.
    """

    names: tuple[str, ...]
    feature_loc: Tensor
    feature_rate: Tensor  # one over the standard deviation, zero for constant features

    def build(
        self,
        heads: Mapping[str, Mapping[str, Any]],
        options: Mapping[str, Any],
        backbone: nn.Module | None = None,
    ) -> None:
        """Make the networks.

        Args:
            heads: as `head_options` returns them.
            options: hidden_sizes, activation, dropout, backbone, in_features and backbone_features,
                as for `DistributionModule`.
            backbone: a module in place of that of the options.

        Raises:
            ValueError: for invalid options.
        """
        self.names = tuple(heads)
        in_features, width = options["in_features"], options["backbone_features"]
        if in_features is not None or width is None:
            in_features = as_integer(in_features, "in_features")
            self.register_buffer("feature_loc", torch.zeros(in_features))
            self.register_buffer("feature_rate", torch.ones(in_features))
        if backbone is None and options["backbone"] is None:
            layers = options["hidden_sizes"], options["activation"], options["dropout"]
            backbone = multilayer_perceptron(in_features, *layers)
        elif backbone is None:
            backbone = build("backbone", completed(options["backbone"], in_features=in_features))
        self.backbone = backbone
        width = width or self._measure(in_features)
        self.heads = nn.ModuleList()
        for name, head in heads.items():
            own = {key: head[key] for key in _OF_MODEL if key in head}
            own["family_options"] = {key: head[key] for key in head if key not in own}
            with naming(name):
                model = PredictiveModel.from_options(
                    own | {"hidden_sizes": (), "in_features": width}
                )
            model.add_baseline()
            self.heads.append(model)

    @torch.no_grad()
    def _measure(self, in_features: int) -> int:
        """The size of the backbone's outputs."""
        training = self.backbone.training
        try:
            return self.backbone.eval()(torch.zeros(2, in_features)).shape[-1]
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the backbone does not take features of shape (2, {in_features}): {error}. "
                "Give backbone_features if it takes another shape."
            ) from error
        finally:
            self.backbone.train(training)

    def named_heads(self) -> Iterator[tuple[str, PredictiveModel]]:
        """The names and the models of the heads."""
        return zip(self.names, self.heads, strict=True)

    def forward(self, features: Any, *, standardised: bool = False) -> dict[str, Distribution]:
        """The distribution of the target of each head by name.

        Args:
            features: (N, in_features), or whatever the backbone takes.
            standardised: whether they are the distributions of the standardised targets.

        Raises:
            ValueError: for a table with another number of features, or of integers.
        """
        if "feature_loc" in self._buffers and isinstance(features, Tensor) and features.ndim == 2:
            self._check_features(features)
            dtype = next(self.heads.parameters()).dtype
            features = ((features - self.feature_loc) * self.feature_rate).to(dtype)
        hidden = self.backbone(features)
        return {name: head(hidden, standardised=standardised) for name, head in self.named_heads()}

    def _check_features(self, features: Tensor) -> None:
        width = len(self.feature_loc)
        if features.shape[1] != width or not features.is_floating_point():
            raise ValueError(
                f"features must be a table (N, {width}) of floating-point numbers, as in_features "
                f"says, got {features.dtype} of shape {tuple(features.shape)}. For other inputs of "
                "a backbone of your own give backbone_features in place of in_features."
            )

    def start_from(self, features: Moments | None, summaries: Sequence[Summary]) -> None:
        """Take the statistics of training rows, and start each head at its unconditional model.

        Args:
            features: the moments of features that are a table; None for others.
            summaries: of the targets of each head.

        Raises:
            TargetError: for targets that a family cannot learn, with the name of the head.
            ValueError: for numbers that cannot be standardised.
        """
        if features is not None and "feature_loc" in self._buffers:
            std, dtype = features.spread, self.feature_loc.dtype
            check_precision(std, features.level, dtype, "the table of features")
            self.feature_loc.copy_(features.mean)
            self.feature_rate.copy_(torch.where(std > 0, 1 / std, 0.0))
        for (name, head), summary in zip(self.named_heads(), summaries, strict=True):
            with naming(name):
                head.start_from(summary._replace(features=None))


@contextmanager
def naming(name: str) -> Iterator[None]:
    """A block whose errors begin with the name of a head."""
    try:
        yield
    except ValueError as error:
        raise type(error)(f"head {name!r}: {error}") from error


def is_table(features: Any) -> bool:
    """Whether features are a table (N, P) of floating-point numbers."""
    return isinstance(features, Tensor) and features.ndim == 2 and features.is_floating_point()
