"""`TabularBackbone`: a multilayer perceptron on numbers beside their piecewise-linear encoding; one network, or several at once."""

import copy
import math
from collections.abc import Sequence
from typing import Self

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
    "start_near_the_marginal_fit",
]

_MOST_DF = 8.0  # at the start


class MemberLinear(nn.Module):
    """Linear layers of several networks side by side: member e computes x @ weight[e] + bias[e], all in one batched product.

    Shapes: (N, in_features) or (members, N, in_features) -> (members, N, out_features). Each member
    starts by itself, as `torch.nn.Linear` does, with draws from `generator`, or from torch's global
    one where none is given.

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
        """The layer of one member by itself."""
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
    """`torch.nn.Dropout` whose zeros come from a generator of one's own, where `generator` is set.

    Args:
        p: the probability of each zero.
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
    """Rows of a table -> features: numbers beside their piecewise-linear encoding, then a multilayer perceptron.

    Args:
        in_features: number of columns, standardised; categories come as indicators (0 and 1), whose
            first layer embeds them.
        hidden_sizes: of the multilayer perceptron; its last is the number of features that come
            out.
        activation: a module of `torch.nn` by name, or a class path.
        dropout: after each activation.
        bins: bins of the encoding, at most; 0 leaves it out.
        encoded: the columns to encode, by position; all of them unless given. Indicators need none.
        members: this many networks at once, each with weights of its own; None is one, without that
            dimension.
        generator: where the weights of several networks are drawn from; torch's global one unless
            given.

    Shapes: (N, in_features) -> (N, hidden_sizes[-1]); with members, (N, in_features) or (members,
    N, in_features) -> (members, N, hidden_sizes[-1]).

    The encoding is standardised too, coordinate by coordinate: inputs about zero and of one spread
    are learned from faster (LeCun et al. 1998, "Efficient BackProp"). `fit` finds its bins, means
    and spreads in training rows; checkpoints keep them. Before it every coordinate of the encoding
    is zero.

    >>> backbone = TabularBackbone(3, members=8).fit(torch.randn(100, 3))
    >>> backbone(torch.zeros(5, 3)).shape
    torch.Size([8, 5, 128])
    """

    columns: Tensor
    centre: Tensor
    spread: Tensor

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
                # variance 1 / width (LeCun et al. 1998); PyTorch has a third of it
                layer.weight.mul_(math.sqrt(3))
            layers.append(layer)
            layers.append(build("activation", activation))
            if dropout:
                layers.append(Dropout(dropout))
            width = size
        self.layers, self.out_features = nn.Sequential(*layers), width

    def fit(self, features: Tensor, weight: Tensor | None = None) -> Self:
        """Find the bins of the encoding, and its statistics, in training rows (N, in_features), standardised as they will be.

        Args:
            weight: one per row, above zero.
        """
        if self.encoding is not None:
            numbers = features[:, self.columns]
            coordinates = self.encoding.fit(numbers, weight)(numbers)
            if weight is None:
                mean, spread = coordinates.mean(0), coordinates.std(0, correction=0)
            else:
                share = (weight / weight.sum()).to(coordinates.dtype)
                mean = share @ coordinates
                spread = (share @ (coordinates - mean).square()).sqrt()
            self.centre.copy_(mean)
            # A bin holds its share of the rows; coordinates with less spread than that tell a few
            # rows apart, and stay small.
            self.spread.copy_(spread.clamp(min=1 / self.encoding.bins))
        return self

    def encode(self, features: Tensor) -> Tensor:
        """What the first layer sees: (..., in_features) -> (..., in_features + encoded columns * bins)."""
        if self.encoding is None:
            return features
        coordinates = (self.encoding(features[..., self.columns]) - self.centre) / self.spread
        return torch.cat([features, coordinates], -1)

    def only(self, member: int) -> "TabularBackbone":
        """The network of one member by itself, without the dimension of members."""
        alone = copy.deepcopy(self)
        alone.members = None
        for position, layer in enumerate(alone.layers):
            if isinstance(layer, MemberLinear):
                alone.layers[position] = layer.only(member)
        return alone

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(self.encode(features))


class MemberHead(DistributionHead):
    """A `DistributionHead` of several members: features (members, N, in_features) -> batch_shape (members, N).

    Args:
        members: how many; each has weights, and shared parameters, of its own.
        generator: where the weights are drawn from; torch's global one unless given.
        options: as for `DistributionHead`.

    `initialize` starts all of them at the one marginal fit. A mixture over the members is
    `disthead.families.mixture_family.mixture(torch.zeros(members), dist.map(lambda parameter: parameter.movedim(0, 1)))`.

    >>> head = MemberHead("normal", 4, members=8)
    >>> head(torch.zeros(8, 5, 4)).batch_shape
    torch.Size([8, 5])
    """

    # the members' own takes its place; this one draws nothing
    @staticmethod
    def _layer(in_features: int, out_features: int, generator: torch.Generator | None) -> nn.Linear:
        """A place for the members' own layer, without memory or random numbers."""
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
        self, features: Tensor, *, standardised: bool = False, **known: Tensor
    ) -> Distribution:
        """Features (members, N, in_features) -> batch_shape (members, N); `known` has shape (N,) or (members, N)."""
        # of a backbone without layers
        features = features.expand(self.members, *features.shape[-2:])
        if self._plain_formula is not None and not known:
            with without_autocast(features):
                dist = self._plain_formula.from_raw(self._output(features))
        else:
            dist = self._distribution(self._raw(features), **known)
        return dist if standardised else self._in_units(dist)

    def only(self, member: int) -> DistributionHead:
        """The head of one member by itself."""
        alone = DistributionHead(
            self.family,
            self.in_features,
            event_shape=self.event_shape,
            links=self._given_links,
            fixed=self._given_fixed,
            shared=tuple(self.shared),
            generator=torch.Generator(),  # of weights that those of the member replace
        )
        alone.min_scale = self.min_scale
        like = next(self.parameters())
        alone.to(like.device, like.dtype)
        with torch.no_grad():
            if self.linear is not None:
                alone.linear = self.linear.only(member)
            for name, value in self.shared.items():
                alone.shared[name].copy_(value[member, 0])
        if self.is_standardised:
            alone.change_units(self.target_loc, self.target_scale)
        return alone

    def weights(self) -> dict[str, Tensor]:
        """Those of all members, (members, raw outputs, in_features)."""
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
def start_near_the_marginal_fit(head: DistributionHead, least_scale: float = 0.0) -> None:
    """Small weights for a head whose biases are the marginal fit, degrees of freedom of 8 at most, and no narrow peak.

    Targets taken together are often light-tailed where those around their predictions are not, and
    from the 50 of such a marginal fit the steps of training do not lead back. Nor do they from a
    scale near zero, the fit of targets most of which are one value, where every network is wrong by
    many scales. The loc of targets whose logarithm is learned, which are not standardised, starts
    within their scale.

    Args:
        least_scale: at the start, in the unit of the targets.
    """
    if head.linear is None:
        return
    head.linear.weight.mul_(0.3)  # enough to tell equal components of a mixture apart
    if head.family.least_log_std and "loc" in head.predicted:
        loc = head.weights()["loc"]  # (..., raw outputs, in_features)
        scale = head.params(loc.new_zeros(*loc.shape[:-2], 1, head.in_features))["scale"]
        loc.mul_(scale.reshape(-1, loc.shape[-2])[0].clamp(max=1).to(loc).unsqueeze(-1))
    if "df" in head.predicted:
        head.biases()["df"].clamp_(max=head.links["df"].inverse(torch.tensor(_MOST_DF)).item())
    if "scale" in head.predicted and least_scale > 0:
        head.biases()["scale"].clamp_(
            min=head.links["scale"].inverse(torch.tensor(least_scale)).item()
        )
