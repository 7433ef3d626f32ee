"""`DistributionHead`: the last layer of a model, whose output is a probability distribution."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from disthead.errors import pick
from disthead.families.distribution import Distribution
from disthead.families.family import Family, describe, get_family
from disthead.links import LINKS, Link
from disthead.marginal import fit_biases

__all__ = ["DistributionHead", "marginal", "without_autocast"]

_AS_GIVEN = LINKS["identity"]  # of known quantities


class DistributionHead(nn.Module):
    """A linear layer whose outputs pass through links and become the parameters of a distribution.

    Args:
        family: a name (`disthead.families()`) or a `Family`.
        in_features: size of the features.
        event_shape: shape of one target. `(D,)` gives D independent outputs; a vector family takes its dimension from it.
        links: another link for a parameter, by name: `{"scale": "exp"}`.
        fixed: a parameter that is a constant: `{"scale": 1.0}` makes the normal's loss the mean squared error.
        shared: parameters that are one learned value for all inputs, `("scale",)` or `"all"`. All others are predicted.
        feature_dim: the dimension of the features that is projected; 1 for images (N, C, H, W), which become (N, H, W).
        family_options: what the family takes: `num_classes=10`, `component="normal"`, `parametrization="mean"` ...

    Shapes: features (..., in_features) -> distribution with batch_shape (...,) and event_shape.
    Under autocast and for low-precision features everything is computed in float32.

    Raises:
        ValueError: for an unknown family, parameter, link or option, with the nearest names.

    >>> head = DistributionHead("normal", in_features=3)
    >>> head(torch.zeros(5, 3)).batch_shape
    torch.Size([5])
    """

    def __init__(
        self,
        family: "str | Family",
        in_features: int,
        *,
        event_shape: Sequence[int] = (),
        links: "Mapping[str, str | Link] | None" = None,
        fixed: "Mapping[str, float | Tensor] | None" = None,
        shared: "Sequence[str] | Literal['all']" = (),
        feature_dim: int = -1,
        **family_options,
    ):
        super().__init__()
        self.family = get_family(family, event_shape=tuple(event_shape), **family_options)
        self.in_features = in_features
        self.feature_dim = feature_dim
        self.event_shape = self._resolved_event_shape(tuple(event_shape))
        self.links = self.family.resolve_links(links)
        fixed = dict(fixed or {})
        shared = self._shared_names(shared, fixed)
        self.predicted = tuple(name for name in self.links if name not in fixed and name not in shared)
        self.shared = nn.ParameterDict({name: nn.Parameter(torch.zeros(self._raw_shape(name))) for name in shared})
        self.fixed = {name: self._fixed_value(name, value) for name, value in fixed.items()}
        self._fixed_tensors = [name for name, value in self.fixed.items() if isinstance(value, str)]
        self._raw_links = self._links_of_raw_outputs()
        self._sizes = [math.prod(self._raw_shape(name)) for name in self.predicted]
        self.linear = nn.Linear(in_features, sum(self._sizes)) if self.predicted else None

    def forward(self, features: Tensor, **known: Tensor) -> Distribution:
        """Features (..., in_features) -> distribution. `known` are per-row quantities by name, such as `total_count`."""
        links = self._plain_links(known)
        if links is not None:
            with without_autocast(features):
                return self.family.projected(*self._projection(features), links)
        return self._distribution(self._raw(features), **known)

    def params(self, features: Tensor) -> dict[str, Tensor]:
        """The parameters of `head(features)` by name: what is exported. Each has shape batch_shape + its own."""
        raw = self._raw(features)
        with without_autocast(features):
            values = self.family.constrain(raw, self.links) | self._fixed_values(raw, self.fixed)
        return {name: values[name] for name in self.links}

    @torch.no_grad()
    def initialize(self, y: Any, *, weight: Any = None, **known: Any) -> Self:
        """Start from the marginal maximum likelihood fit of targets `y` (..., *event_shape): sets the bias terms only.

        The fit is one distribution for all rows, with this head's links, fixed values and outputs (L-BFGS in double
        precision).

        Args:
            y: targets: a tensor, an array, a column of a table or a list.
            weight: one per row, shape (...,), zero or more; a row with the weight 0 is not there.
            known: per-row quantities as in `forward`.

        Raises:
            TargetError: for targets outside the support, with rows and values.
            ValueError: for weights that are negative, NaN, infinite, or zero for all rows.
        """
        biases = fit_biases(self, y, known, weight)
        for name, value in self.shared.items():
            value.copy_(biases[name])
        if self.linear is not None:
            self.linear.bias.copy_(torch.cat([biases[name].flatten() for name in self.predicted]))
        return self

    def extra_repr(self) -> str:
        parts = [f"{name}={link.name}" for name, link in self.links.items() if name in self.predicted]
        parts += [f"{name} shared" for name in self.shared]
        parts += [f"{name} fixed" for name in self.fixed]
        return f"{self.family.name}, event_shape={self.event_shape}, " + ", ".join(parts)

    def _raw(self, features: Tensor) -> dict[str, Tensor]:
        """Raw outputs by parameter, predicted and shared, each of shape batch_shape + event + its raw shape."""
        raw, batch_shape = {}, features.movedim(self.feature_dim, -1).shape[:-1]
        if self.linear is not None:
            for name, part in zip(self.predicted, self._output(features).split(self._sizes, -1), strict=True):
                raw[name] = part.reshape(batch_shape + self._raw_shape(name))
        else:
            self._check_features(features)
        for name, value in self.shared.items():
            raw[name] = value.to(_at_least_single(value.dtype)).expand(batch_shape + value.shape)
        return {name: raw[name] for name in self.links if name in raw}

    def _links_of_raw_outputs(self) -> dict[str, Link] | None:
        """The links with those of fixed parameters, constant numbers or given tensors; None where one can be neither."""
        links = dict(self.links)
        for name, value in self.fixed.items():
            link = links[name].constant(value) if isinstance(value, float) else links[name].as_given
            if link is None or name == "logits" or name in self.family.shapes:
                return None
            links[name] = link
        return links

    def _plain_links(self, known: Mapping[str, Tensor]) -> Mapping[str, Link] | None:
        """The links, where the outputs of the linear layer are the raw outputs of one distribution as they are."""
        is_plain = not (known or self.shared or self._independent_shape or self._fixed_tensors)
        return self._raw_links if is_plain else None

    def biases(self) -> dict[str, Tensor]:
        """The bias of each predicted parameter's raw outputs, (raw outputs,): parts of the layer's own."""
        if self.linear is None:
            return {}
        return dict(zip(self.predicted, self.linear.bias.split(self._sizes, -1), strict=True))

    def _output(self, features: Tensor) -> Tensor:
        """The linear layer, at least in single precision."""
        with without_autocast(features):
            return nn.functional.linear(*self._projection(features))

    def _projection(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, weight and bias of the linear layer in one precision, at least single."""
        self._check_features(features)
        assert self.linear is not None
        weight, bias = self.linear.weight, self.linear.bias
        dtype = _at_least_single(torch.promote_types(features.dtype, weight.dtype))
        if self.feature_dim != -1:
            features = features.movedim(self.feature_dim, -1)
        return features.to(dtype), weight.to(dtype), bias.to(dtype)

    def _fixed_values(self, raw: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """Fixed parameters, in the precision of the raw outputs."""
        any_raw = next(iter(raw.values()))
        values = {}
        for name in names:
            value = self.fixed[name]
            values[name] = any_raw.new_full((), value) if isinstance(value, float) else getattr(self, value).to(any_raw)
        return values

    def _distribution(self, raw: Mapping[str, Tensor], **known: Tensor) -> Distribution:
        with without_autocast(next(iter(raw.values()))):
            known = self._known(known)
            if self._raw_links is None or not self._are_scored(known, raw):
                values = {**self.family.constrain(raw, self.links), **self._fixed_values(raw, self.fixed), **known}
                dist = self.family.make(**values)
            else:
                links = {**self._raw_links, **dict.fromkeys(known, _AS_GIVEN)}
                parts = {**raw, **self._fixed_values(raw, self._fixed_tensors), **known}
                dist = self.family.linked(self._side_by_side(parts, links), links)
        return dist.to_event(len(self.event_shape) - self.family.event_dim)

    def _are_scored(self, known: Mapping[str, Tensor], raw: Mapping[str, Tensor]) -> bool:
        """Whether known quantities, if there are any, can go beside raw outputs: into their scores, and their precision."""
        precision = next(iter(raw.values())).dtype
        fits = all(torch.promote_types(value.dtype, precision) == precision for value in known.values())
        return not known or (self.family.scores_known and fits)

    def _side_by_side(self, parts: Mapping[str, Tensor], links: Mapping[str, Link]) -> Tensor:
        """Raw outputs by parameter, and what is given, -> (..., P) in the order of the links, for each independent output."""
        rows = []
        for name in links:
            if name in parts:
                own = len(self.family.raw_shape(name, links[name]))
                part = parts[name]
                rows.append(part.flatten(part.ndim - own) if own else part.unsqueeze(-1))
        if len(parts) > len(self.predicted) + len(self.shared):  # what is given may have fewer dimensions
            batch = torch.broadcast_shapes(*[row.shape[:-1] for row in rows])
            rows = [row.expand(*batch, -1) for row in rows]
        return torch.cat(rows, -1)

    def _known(self, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Per-row quantities, with a dimension for each independent output."""
        for name in known:
            pick(f"known quantity of {self.family.name}", name, self.family.known)
        independent = len(self.event_shape) - self.family.event_dim
        tensors = {name: torch.as_tensor(value) for name, value in known.items()}
        return {name: value.reshape(value.shape + (1,) * independent) for name, value in tensors.items()}

    def _raw_shape(self, name: str) -> tuple[int, ...]:
        """The shape of one parameter's raw outputs for one row: one set for each independent output."""
        return self._independent_shape + self.family.raw_shape(name, self.links[name])

    @property
    def _independent_shape(self) -> tuple[int, ...]:
        return self.event_shape[: len(self.event_shape) - self.family.event_dim]

    def _resolved_event_shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        own = self.family.event_shape
        if own and given and given != own:
            raise ValueError(f"{self.family.name} has the event_shape {own}, got event_shape={given}.")
        if any(not hasattr(size, "__index__") or size < 1 for size in given):
            raise ValueError(f"event_shape must be positive sizes, such as (3,) for three outputs, got {given}.")
        return own or tuple(int(size) for size in given)

    def _shared_names(self, shared: "Sequence[str] | str", fixed: Mapping[str, object]) -> tuple[str, ...]:
        kind = f"parameter of {self.family.name}"
        for name in fixed:
            pick(kind, name, self.links)
        if shared == "all":
            shared = [name for name in self.links if name not in fixed]
        shared = (shared,) if isinstance(shared, str) else tuple(shared)
        for name in shared:
            pick(kind, name, self.links)
            if name in fixed:
                raise ValueError(
                    f"{name} is both fixed and shared: choose one of fixed={{{name!r}: ...}} and shared=({name!r},)."
                )
        if len(fixed) == len(self.links):
            raise ValueError(f"every parameter of {self.family.name} is fixed, nothing is left to learn.")
        return shared

    def _fixed_value(self, name: str, value: "float | Tensor") -> "float | str":
        """Numbers stay exact Python numbers; tensors become buffers, and their name stands for them."""
        tensor = torch.as_tensor(value)
        codomain = self.family.parameters[name].codomain
        if name != "logits" and not bool(codomain.check(tensor).all()):
            raise ValueError(f"fixed {name} of {self.family.name} must be {describe(codomain)}, got {value}.")
        if not isinstance(value, Tensor):
            if tensor.ndim == 0:
                return float(value)
            tensor = tensor.to(torch.get_default_dtype())
        shape = self._independent_shape + tuple(self.family.shapes.get(name, ()))
        try:
            tensor.expand(shape)
        except RuntimeError:
            raise ValueError(
                f"fixed {name} of {self.family.name} must have the shape {shape} or one that expands to it, "
                f"got {tuple(tensor.shape)}."
            ) from None
        self.register_buffer(f"fixed_{name}", tensor)
        return f"fixed_{name}"

    def _check_features(self, features: Tensor) -> None:
        if not features.is_floating_point():
            raise ValueError(f"features must be floating-point, got {features.dtype}. Try features.float().")
        dim = self.feature_dim
        if not -features.ndim <= dim < features.ndim or features.shape[dim] != self.in_features:
            raise ValueError(
                f"features must have {self.in_features} entries in dimension {dim} (in_features, feature_dim), "
                f"got a tensor of shape {tuple(features.shape)}."
            )


def marginal(family: "str | Family", y: Any, *, weight: Any = None, **options) -> Distribution:
    """The maximum likelihood fit of one distribution to all targets, without features.

    Args:
        family: a name or a `Family`.
        y: targets (N, *event_shape).
        weight: one per row, as for `DistributionHead.initialize`.
        options: as for `DistributionHead`, such as `event_shape`, `fixed` or `num_classes`.

    >>> marginal("normal", torch.tensor([1.0, 2.0, 3.0])).loc
    tensor(2.)
    """
    head = DistributionHead(family, 1, shared="all", **options)
    with torch.no_grad():
        return head.initialize(y, weight=weight)(torch.zeros(1)).map(torch.detach)


def without_autocast(values: Tensor) -> contextlib.AbstractContextManager:
    """Full precision for what is computed from these values; entering it costs as much as a small layer, where it is on already."""
    kind = "cpu" if values.is_cpu else values.device.type  # whose name takes longer to say than a flag
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else contextlib.nullcontext()


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
