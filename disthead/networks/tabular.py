"""`TabularBackbone` and `MemberHead`: one network for the rows of a table, or several at once."""

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from disthead.arrays import as_integer, as_integers
from disthead.distributions.base import Distribution
from disthead.families.family import Family
from disthead.head import DistributionHead, without_autocast
from disthead.networks.backbone import build
from disthead.networks.encoding import PiecewiseLinearEncoding

__all__ = [
    "Dropout",
    "MemberHead",
    "MemberLinear",
    "TabularBackbone",
    "backbone_options",
    "start_near_unconditional_fit",
]

_MAX_INITIAL_DF = 8.0


class MemberLinear(nn.Module):
    """The linear layers of several networks: member e computes x @ weight[e] + bias[e].

    All members are computed in one batched product. Their weights are drawn independently, from
    the distribution of those of `torch.nn.Linear`.

    Args:
        members: the number of networks.
        in_features: the size of the inputs.
        out_features: the size of the outputs.
        generator: where the weights are drawn from; torch's global one unless given.

    Shapes: (N, in_features) or (members, N, in_features) -> (members, N, out_features).

    Raises:
        ValueError: for less than one member.

    >>> MemberLinear(8, 3, 5)(torch.zeros(4, 3)).shape
    torch.Size([8, 4, 5])
    """

    def __init__(
        self,
        members: int,
        in_features: int,
        out_features: int,
        *,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if members < 1:
            raise ValueError(f"members must be at least 1, got {members}.")
        self.members, self.in_features, self.out_features = members, in_features, out_features
        bound = 1 / math.sqrt(max(in_features, 1))
        self.weight = nn.Parameter(_uniform((members, in_features, out_features), bound, generator))
        self.bias = nn.Parameter(_uniform((members, 1, out_features), bound, generator))

    def forward(self, features: Tensor) -> Tensor:
        return torch.baddbmm(
            self.bias, features.expand(self.members, *features.shape[-2:]), self.weight
        )

    def only(self, member: int) -> nn.Linear:
        """The layer of one member."""
        layer = nn.utils.skip_init(nn.Linear, self.in_features, self.out_features)
        layer = layer.to(self.weight.device, self.weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(self.weight[member].T)
            layer.bias.copy_(self.bias[member, 0])
        return layer

    def extra_repr(self) -> str:
        return (
            f"members={self.members}, in_features={self.in_features}, "
            f"out_features={self.out_features}"
        )


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


class Dropout(nn.Module):
    """Dropout like that of `torch.nn.Dropout`, with a generator of its own where one is set.

    Args:
        p: the probability of a zero, from 0 to below 1.

    Attributes:
        generator: where the zeros are drawn from; None for torch's global one.

    Raises:
        ValueError: for a probability outside this range.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be a probability, 0 or more and below 1, got {p}.")
        self.p = p

    def forward(self, features: Tensor) -> Tensor:
        if self.generator is None or not self.training:
            return dropout(features, self.p, self.training)
        kept = (
            torch.rand(features.shape, generator=self.generator, device=self.generator.device)
            >= self.p
        )
        return features * kept.to(features) / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class TabularBackbone(nn.Module):
    """A multilayer perceptron on the numbers of a table and their piecewise-linear encoding.

    The encoding is standardised too, coordinate by coordinate, since inputs with mean zero and
    equal variances are learned from faster (LeCun et al. 1998, "Efficient BackProp"). `fit` learns
    its bins, means and standard deviations from training rows; they are buffers, which checkpoints
    keep. Before `fit` all coordinates of the encoding are zero.

    Args:
        in_features: the number of columns, which are standardised. Categories come as indicators
            (0 and 1), which the first layer embeds.
        hidden_sizes: the sizes of the layers; the last one is the number of features that come
            out.
        activation: the name of a class of `torch.nn`, or a class path.
        dropout: the probability of a zero after each activation.
        bins: the largest number of bins of a column; 0 leaves the encoding out.
        encoded: the positions of the columns that are encoded; all columns unless given.
            Indicators need no encoding.
        members: the number of networks at once, each with weights of its own; None for a single
            one without the dimension of members.
        generator: where the weights of several networks are drawn from; torch's global one unless
            given.

    Shapes: (N, in_features) -> (N, hidden_sizes[-1]); with members, (N, in_features) or
    (members, N, in_features) -> (members, N, hidden_sizes[-1]).

    Raises:
        ValueError: for sizes that are not positive integers, and columns that do not exist.

    >>> backbone = TabularBackbone(3, members=8).fit(torch.randn(100, 3))
    >>> backbone(torch.zeros(5, 3)).shape
    torch.Size([8, 5, 128])
    """

    columns: Tensor
    centre: Tensor  # the mean of each coordinate of the encoding
    spread: Tensor  # its standard deviation, under the name that checkpoints have for it

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int] = (128, 128),
        activation: str = "SiLU",
        dropout: float = 0.0,
        bins: int = 16,
        encoded: Sequence[int] | None = None,
        members: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        in_features = as_integer(in_features, "in_features")
        hidden_sizes = as_integers(hidden_sizes, "hidden_sizes")
        columns = list(range(in_features) if encoded is None else encoded) if bins else []
        if any(not 0 <= column < in_features for column in columns):
            raise ValueError(
                f"encoded must be columns between 0 and {in_features - 1}, got {columns}."
            )
        self.in_features, self.members = in_features, members
        self.encoding = PiecewiseLinearEncoding(len(columns), bins) if columns else None
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.long), persistent=False)
        self.register_buffer("centre", torch.zeros(len(columns) * bins))
        self.register_buffer("spread", torch.ones(len(columns) * bins))
        width = in_features + len(columns) * bins
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layer = (
                nn.Linear(width, size)
                if members is None
                else MemberLinear(members, width, size, generator=generator)
            )
            with torch.no_grad():
                # variance 1 / width (LeCun et al. 1998); that of PyTorch is a third of it
                layer.weight.mul_(math.sqrt(3))
            layers.append(layer)
            layers.append(build("activation", activation))
            if dropout:
                layers.append(Dropout(dropout))
            width = size
        self.layers, self.out_features = nn.Sequential(*layers), width

    def fit(self, features: Tensor, weight: Tensor | None = None) -> Self:
        """Learn the bins and the statistics of the encoding from training rows.

        Args:
            features: (N, in_features), standardised as for `forward`.
            weight: (N,), positive; None where all rows count the same.
        """
        if self.encoding is not None:
            numbers = features[:, self.columns]
            coordinates = self.encoding.fit(numbers, weight)(numbers)
            if weight is None:
                mean, std = coordinates.mean(0), coordinates.std(0, correction=0)
            else:
                share = (weight / weight.sum()).to(coordinates.dtype)
                mean = share @ coordinates
                std = (share @ (coordinates - mean).square()).sqrt()
            self.centre.copy_(mean)
            # A smaller standard deviation is that of a coordinate in which a few rows differ from
            # all others; it stays small.
            self.spread.copy_(std.clamp(min=1 / self.encoding.bins))
        return self

    def encode(self, features: Tensor) -> Tensor:
        """The inputs of the first layer: the features, followed by their encoding.

        Shapes: (..., in_features) -> (..., in_features + encoded columns * bins).
        """
        if self.encoding is None:
            return features
        coordinates = (self.encoding(features[..., self.columns]) - self.centre) / self.spread
        return torch.cat([features, coordinates], -1)

    def only(self, member: int) -> "TabularBackbone":
        """The network of one member, without the dimension of members."""
        backbone = copy.deepcopy(self)
        backbone.members = None
        for position, layer in enumerate(backbone.layers):
            if isinstance(layer, MemberLinear):
                backbone.layers[position] = layer.only(member)
        return backbone

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(self.encode(features))


def backbone_options(
    hidden_sizes: Sequence[int], bins: int, encoded: Sequence[int] | None
) -> dict[str, Any]:
    """A `TabularBackbone` as plain data, of which `networks.backbone.build` makes one.

    Args:
        hidden_sizes: of the multilayer perceptron.
        bins: of the encoding, at most.
        encoded: the columns to encode, by position; all of them if None.
    """
    return {
        "class_path": f"{TabularBackbone.__module__}.{TabularBackbone.__qualname__}",
        "init_args": {
            "hidden_sizes": list(hidden_sizes),
            "bins": bins,
            "encoded": None if encoded is None else list(encoded),
        },
    }


class MemberHead(DistributionHead):
    """A `DistributionHead` of several networks, each with weights and shared parameters of its own.

    `initialize` starts all of them at the fit of the unconditional model (no features). The
    mixture of the members with equal weights is `disthead.families.ensembles.ensemble(dist)`.

    Args:
        family: as for `DistributionHead`.
        in_features: as for `DistributionHead`.
        members: the number of networks.
        generator: where the weights are drawn from; torch's global one unless given.
        options: as for `DistributionHead`.

    Shapes: features (members, N, in_features) -> batch_shape (members, N).

    >>> head = MemberHead("normal", 4, members=8)
    >>> head(torch.zeros(8, 5, 4)).batch_shape
    torch.Size([8, 5])
    """

    # a placeholder without memory or random numbers, which a `MemberLinear` replaces
    @staticmethod
    def _layer(in_features: int, out_features: int, generator: torch.Generator | None) -> nn.Linear:
        return nn.Linear(in_features, out_features, device="meta")

    def __init__(
        self,
        family: "str | Family",
        in_features: int,
        *,
        members: int,
        generator: torch.Generator | None = None,
        **options,
    ):
        super().__init__(family, in_features, **options)
        if self.feature_dim != -1:
            raise ValueError(
                f"feature_dim must be -1 in a head of several members, got {self.feature_dim}."
            )
        self.members = members
        if self.linear is not None:
            self.linear = MemberLinear(members, in_features, sum(self._sizes), generator=generator)  # type: ignore[assignment]
        self.shared = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(members, 1, *self._raw_shape(name)))
                for name in self.shared
            }
        )

    def forward(
        self, features: Tensor, *, standardised: bool = False, **row_constants: Tensor
    ) -> Distribution:
        """The distributions of the target in all members, with batch_shape (members, N).

        Args:
            features: (members, N, in_features), or (N, in_features) for the same in all members.
            standardised: as for `DistributionHead`.
            row_constants: quantities of each row by name, (N,) or (members, N).
        """
        # those of a backbone without layers have no dimension of members
        features = features.expand(self.members, *features.shape[-2:])
        if self._plain_formula is not None and not row_constants:
            with without_autocast(features):
                dist = self._plain_formula.from_raw(self._output(features))
        else:
            dist = self._distribution(self._raw(features), **row_constants)
        return dist if standardised else self._in_units(dist)

    def only(self, member: int) -> DistributionHead:
        """The head of one member."""
        head = DistributionHead(
            self.family,
            self.in_features,
            event_shape=self.event_shape,
            links=self._given_links,
            fixed=self._given_fixed,
            shared=tuple(self.shared),
            generator=torch.Generator(),  # so that the global one draws nothing
        )
        head.min_scale = self.min_scale
        like = next(self.parameters())
        head.to(like.device, like.dtype)
        with torch.no_grad():
            if self.linear is not None:
                head.linear = self.linear.only(member)
            for name, value in self.shared.items():
                head.shared[name].copy_(value[member, 0])
        if self.is_standardised:
            head.change_units(self.target_loc, self.target_scale)
        return head

    def weights(self) -> dict[str, Tensor]:
        """The weights of each predicted parameter, (members, raw outputs, in_features)."""
        if self.linear is None:
            return {}
        return dict(zip(self.predicted, self.linear.weight.mT.split(self._sizes, -2), strict=True))

    def _output(self, features: Tensor) -> Tensor:
        self._check_features(features)
        assert self.linear is not None
        with without_autocast(features):
            dtype = torch.promote_types(features.dtype, self.linear.weight.dtype)
            return torch.baddbmm(
                self.linear.bias.to(dtype), features.to(dtype), self.linear.weight.to(dtype)
            )

    def _raw(self, features: Tensor) -> dict[str, Tensor]:
        raw, batch_shape = {}, features.shape[:-1]
        self._check_features(features)
        if self.predicted:
            for name, part in zip(
                self.predicted, self._output(features).split(self._sizes, -1), strict=True
            ):
                raw[name] = part.reshape(batch_shape + self._raw_shape(name))
        for name, value in self.shared.items():
            raw[name] = value.expand(batch_shape + value.shape[2:])
        return {name: raw[name] for name in self.links if name in raw}


@torch.no_grad()
def start_near_unconditional_fit(head: DistributionHead, min_initial_scale: float = 0.0) -> None:
    """Prepare the training of a head whose biases are the fit of the unconditional model.

    - The weights become small.
    - Degrees of freedom are at most 8. All targets together often have light tails where their
      residuals have heavy ones, and the gradients at large degrees of freedom are too small to
      lead back.
    - The scale has a minimum. It is near zero in the fit of targets most of which have one value,
      where every network is wrong by many scales.
    - Predictions of loc that are not standardised, those of families that learn log y, start
      within the scale.

    Args:
        head: with the biases of `fitted_biases`.
        min_initial_scale: in the units of what the layer predicts; 0 for none.
    """
    if head.linear is None:
        return
    head.linear.weight.mul_(0.3)  # enough to tell equal components of a mixture apart
    if head.family.least_log_std and "loc" in head.predicted and "scale" in head.links:
        loc = head.weights()["loc"]  # (..., raw outputs, in_features)
        scale = head.params(loc.new_zeros(*loc.shape[:-2], 1, head.in_features))["scale"]
        loc.mul_(scale.reshape(-1, loc.shape[-2])[0].clamp(max=1).to(loc).unsqueeze(-1))
    if "df" in head.predicted:
        largest = head.links["df"].inverse(torch.tensor(_MAX_INITIAL_DF)).item()
        head.biases()["df"].clamp_(max=largest)
    if "scale" in head.predicted and min_initial_scale > 0:
        least = head.links["scale"].inverse(torch.tensor(min_initial_scale)).item()
        head.biases()["scale"].clamp_(min=least)
