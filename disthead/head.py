"""`DistributionHead`: the last layer of a model, whose output is a probability distribution."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer, as_mapping, as_names, as_tensor, check_type
from disthead.distributions.base import Distribution
from disthead.errors import pick
from disthead.families.family import Family, describe, get_family
from disthead.likelihood import Formula, LinkedParameters
from disthead.links import LINKS, Link
from disthead.optimise import checked_rows, unconditional_fit
from disthead.special.eager import is_tracing
from disthead.standardisation import (
    MIN_SCALE,
    in_other_units,
    location_and_scale,
    standardised,
    why_not,
    with_min_scale,
)

__all__ = ["DistributionHead", "marginal", "without_autocast"]

_IDENTITY = LINKS["identity"]  # of row constants


class DistributionHead(nn.Module):
    """A linear layer whose outputs pass through links and become the parameters of a distribution.

    Args:
        family: a name (`disthead.families()`) or a `Family`.
        in_features: the number of features.
        event_shape: the shape of one target. `(D,)` gives D independent outputs; a vector family
            takes its dimension from it.
        links: parameter name -> link that replaces the default one, such as `{"scale": "exp"}`.
        fixed: parameter name -> constant value. With `{"scale": 1.0}` the normal's loss is half
            the squared error, plus a constant.
        shared: names of parameters that have one learned value for all inputs, such as
            `("scale",)`, or `"all"`. All others are predicted.
        feature_dim: the dimension of the features that is projected. With 1, images (N, C, H, W)
            give a batch_shape (N, H, W), as a 1x1 convolution does.
        generator: where the weights are drawn from; torch's global one unless given.
        family_options: options of the family, such as `num_classes=10`, `component="normal"` or
            `parametrization="mean"`.

    Attributes:
        min_scale: the minimum scale of targets that `initialize` has standardised, in their
            standard deviations; 0 for none.

    Shapes: features (..., in_features) -> distribution with batch_shape (...,) and event_shape.
    Under autocast and for low-precision features everything is computed in float32.

    Raises:
        ValueError: for an unknown family, parameter, link or option, with the nearest names.

    >>> head = DistributionHead("normal", in_features=3)
    >>> head(torch.zeros(5, 3)).batch_shape
    torch.Size([5])
    """

    target_loc: Tensor
    target_scale: Tensor
    min_scale: float = MIN_SCALE

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
        generator: torch.Generator | None = None,
        **family_options,
    ):
        super().__init__()
        event_shape = _sizes(event_shape)
        self.family = get_family(family, event_shape=event_shape, **family_options)
        self.in_features = in_features = as_integer(in_features, "in_features")
        check_type(
            feature_dim, "feature_dim", Integral, "an integer, such as 1 for images (N, C, H, W)"
        )
        self.feature_dim = feature_dim
        self.event_shape = self._resolved_event_shape(event_shape)
        self.links = self._given_links = self.family.resolve_links(links)
        fixed = self._given_fixed = as_mapping(fixed, "fixed", "{'scale': 1.0}")
        shared = self._shared_names(shared, fixed)
        self.predicted = tuple(
            name for name in self.links if name not in fixed and name not in shared
        )
        self.shared = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(self._raw_shape(name))) for name in shared}
        )
        self._is_standardised = False
        self._fix(fixed)
        self._sizes = [math.prod(self._raw_shape(name)) for name in self.predicted]
        width = sum(self._sizes)
        self.linear = self._layer(in_features, width, generator) if self.predicted else None

    @staticmethod
    def _layer(in_features: int, out_features: int, generator: torch.Generator | None) -> nn.Linear:
        if generator is None:
            return nn.Linear(in_features, out_features)
        layer = nn.utils.skip_init(nn.Linear, in_features, out_features)
        bound = 1 / math.sqrt(in_features)
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
        return layer

    def forward(
        self, features: Tensor, *, standardised: bool = False, **row_constants: Tensor
    ) -> Distribution:
        """The distribution of the target given the features.

        Args:
            features: (..., in_features), floating-point.
            standardised: whether it is the distribution of the standardised target z, where the
                target is target_loc + target_scale * z.
            row_constants: quantities of each row by name, (...,), such as `total_count`.
        """
        if self._plain_formula is not None and not row_constants:
            with without_autocast(features):
                dist = self._plain_formula.from_features(*self._projection(features))
        else:
            dist = self._distribution(self._raw(features), **row_constants)
        return dist if standardised else self._in_units(dist)

    def params(self, features: Tensor) -> dict[str, Tensor]:
        """The parameters of `head(features)` by name, in the units of the target, for export.

        Each has the batch_shape, followed by the dimensions of the parameter itself, such as the
        components of a mixture.
        """
        raw = self._raw(features)
        with without_autocast(features):
            values = self.family.constrain(raw, self.links) | self._fixed_values(raw, self.fixed)
        return {name: self._parameter_in_units(name, values[name]) for name in self.links}

    @torch.no_grad()
    def initialize(
        self, y: Any, *, weight: Any = None, standardise: bool = False, **row_constants: Any
    ) -> Self:
        """Set the bias terms to the maximum likelihood fit of the unconditional model.

        That model has no features: it is one distribution for all rows, with this head's links,
        fixed values and outputs, fitted by L-BFGS in double precision. The weights of the layer do
        not change.

        With `standardise` the layer learns z = (y - loc) / scale, where loc and scale are the mean
        and the standard deviation of `y`, and the head predicts loc + scale * z in the units of
        `y`, by the exact change of variable. Targets of 1e5 +- 3e4 are then as easy to learn as
        those of 0 +- 1. Both are buffers, `target_loc` and `target_scale`, which travel with
        `state_dict`. Fixed values stay in the units of `y`. The scale of z is at least `min_scale`,
        1e-4 unless changed, so that no scale collapses onto a single row. Without `standardise` the
        layer itself predicts y, also where the head was standardised before.

        Args:
            y: targets (..., *event_shape): a tensor, an array, a column of a table or a list. Those
                of a censored family may be pairs (..., *event_shape, 2); a table (N, 2) holds N.
            weight: (...,), zero or more; a row of weight 0 is not there.
            standardise: for families of real numbers.
            row_constants: quantities of each row, as for `forward`.

        Raises:
            TargetError: for targets outside the support, with rows and values.
            ValueError: for weights that are negative, NaN, infinite, or zero for all rows. Also
                where targets cannot be standardised: those of other families, with a fixed
                parameter that has no counterpart in other units, or whose variation is lost in the
                precision of the head.

        >>> y = torch.tensor([90_000.0, 100_000.0, 125_000.0])
        >>> head = DistributionHead("normal", 3).initialize(y, standardise=True)
        >>> round(head(torch.zeros(1, 3)).loc.item()), head.target_loc
        (105000, tensor(105000.))
        """
        if standardise:
            reason = why_not(self.family, self._given_fixed)
            if reason is not None:
                raise ValueError(
                    f"cannot standardise: {reason}. Call initialize(y) without standardise=True."
                )
            y, row_constants, weight = self._checked_rows(y, row_constants, weight)
            dtype = _at_least_single(next(self.parameters()).dtype)
            self.change_units(*location_and_scale(y, weight, dtype, self.family))
            loc, scale = (
                self.target_loc.to(y.device).double(),
                self.target_scale.to(y.device).double(),
            )
            y = standardised(y.double(), loc, scale)
        elif self._is_standardised:
            self._forget_units()
        return self.start_at(self.fitted_biases(y, row_constants, weight))

    def fitted_biases(
        self, y: Any, row_constants: Mapping[str, Any], weight: Any = None
    ) -> dict[str, Tensor]:
        """The raw outputs of each learned parameter in the fit of the unconditional model.

        They are in double precision. Arguments and errors are those of `initialize`.
        """
        y, row_constants, weight = self._checked_rows(y, row_constants, weight)
        row_constants = self.family.with_default_constants(row_constants, y)
        learned = [name for name in self.links if name not in self.fixed]
        links = {name: self.links[name] for name in learned}

        def initial_estimate(rows: Tensor) -> dict[str, Tensor]:
            raw = self.family.unconstrain(self.family.initial_estimate(rows), self.links)
            return {name: raw[name] for name in learned}

        def log_prob(raw: Mapping[str, Tensor], y: Tensor) -> Tensor:
            dist = self._distribution(raw, **row_constants)
            linked = dist._linked
            # the fused loss keeps eleven digits, which is enough for the search
            if isinstance(linked, LinkedParameters) and linked.has_fused_loss:
                return linked.map(lambda values: values.expand(len(y), -1)).log_prob(y)
            return dist.log_prob(y)

        return unconditional_fit(self.family, links, initial_estimate, log_prob, y, weight)

    def _checked_rows(
        self, y: Any, row_constants: Mapping[str, Any], weight: Any
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        return checked_rows(self.family, self.event_shape, y, row_constants, weight)

    @torch.no_grad()
    def start_at(self, biases: Mapping[str, Tensor]) -> Self:
        """Set the bias terms to raw outputs by parameter, such as those of `fitted_biases`."""
        for name, value in self.shared.items():
            value.copy_(biases[name])
        if self.linear is not None:
            self.linear.bias.copy_(torch.cat([biases[name].flatten() for name in self.predicted]))
        return self

    def change_units(self, loc: Tensor, scale: Tensor) -> Self:
        """Set the units of the target: the head predicts loc + scale * z from now on.

        The layer predicts z. `initialize(y, standardise=True)` calls this method.

        Args:
            loc: of shape event_shape, kept in its precision where it is higher than the layer's.
            scale: likewise, and positive.
        """
        for name, value in (("target_loc", loc), ("target_scale", scale)):
            like = next(self.parameters())
            dtype = _at_least_single(torch.promote_types(like.dtype, value.dtype))
            value = value.detach().to(like.device, dtype)
            self.register_buffer(name, value.expand(self.event_shape).clone())
        self._is_standardised = True
        self.links = with_min_scale(self._given_links, self._given_fixed, self.min_scale)
        self._fix(self._given_fixed)
        return self

    @property
    def is_standardised(self) -> bool:
        """Whether the layer predicts standardised targets.

        `target_loc` and `target_scale` are their units then.
        """
        return self._is_standardised

    def without_features(self) -> "DistributionHead":
        """The head of the unconditional model, with the same family, links and fixed values.

        Its parameters are the same for all rows.
        """
        return DistributionHead(
            self.family,
            1,
            event_shape=self.event_shape,
            links=self._given_links,
            fixed=self._given_fixed,
            shared="all",
        )

    def _forget_units(self) -> None:
        del self.target_loc, self.target_scale
        self._is_standardised, self.links = False, self._given_links
        self._fix(self._given_fixed)

    def _in_units(self, dist: Distribution) -> Distribution:
        if not self._is_standardised:
            return dist
        dtype = dist.dtype
        return dist.affine(self.target_loc.to(dtype), self.target_scale.to(dtype))

    def _parameter_in_units(self, name: str, value: Tensor) -> Tensor:
        if not self._is_standardised:
            return value
        dims = len(self.family.shapes.get(name, ())) - self.family.event_dim
        loc, scale = (
            unit.reshape(unit.shape + (1,) * dims).to(value)
            for unit in (self.target_loc, self.target_scale)
        )
        return in_other_units(name, value, loc, scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # the units stay in single precision at least: in half precision they would move the target
        units = {
            name: getattr(self, name)
            for name in ("target_loc", "target_scale")
            if self._is_standardised
        }
        super()._apply(fn, recurse)
        for name, value in units.items():
            if _at_least_single(getattr(self, name).dtype) != getattr(self, name).dtype:
                setattr(
                    self, name, value.to(getattr(self, name).device, _at_least_single(value.dtype))
                )
        return self

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any
    ) -> None:
        loc, scale = (state_dict.get(prefix + name) for name in ("target_loc", "target_scale"))
        if loc is not None and scale is not None:
            self.change_units(loc, scale)
        elif self._is_standardised and any(name.startswith(prefix) for name in state_dict):
            self._forget_units()  # since the loaded head has none
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        parts = [
            f"{name}={link.name}" for name, link in self.links.items() if name in self.predicted
        ]
        parts += [f"{name} shared" for name in self.shared]
        parts += [f"{name} fixed" for name in self.fixed]
        return f"{self.family.name}, event_shape={self.event_shape}, " + ", ".join(parts)

    def _raw(self, features: Tensor) -> dict[str, Tensor]:
        """Raw outputs of predicted and shared parameters, each batch_shape + its `_raw_shape`."""
        raw, batch_shape = {}, features.movedim(self.feature_dim, -1).shape[:-1]
        if self.linear is not None:
            for name, part in zip(
                self.predicted, self._output(features).split(self._sizes, -1), strict=True
            ):
                raw[name] = part.reshape(batch_shape + self._raw_shape(name))
        else:
            self._check_features(features)
        for name, value in self.shared.items():
            raw[name] = value.to(_at_least_single(value.dtype)).expand(batch_shape + value.shape)
        return {name: raw[name] for name in self.links if name in raw}

    def _linked_formula(self) -> Formula | None:
        """The formula in which fixed parameters are constants or inputs; None where that fails."""
        links = dict(self.links)
        for name, value in self.fixed.items():
            link = links[name].constant(value) if isinstance(value, float) else links[name].as_given
            if link is None or name == "logits" or name in self.family.shapes:
                return None
            links[name] = link
        return self.family.formula(links)

    @torch.no_grad()
    def hold(self, names: Iterable[str]) -> Self:
        """Set the weights of these parameters to zero, which makes them the same for all rows.

        Where an objective does not train a parameter, its weights stay zero.
        """
        for name, weight in self.weights().items():
            if name in names:
                weight.zero_()
        return self

    def biases(self) -> dict[str, Tensor]:
        """The biases of each predicted parameter, (raw outputs,), as views of the layer's bias."""
        if self.linear is None:
            return {}
        return dict(zip(self.predicted, self.linear.bias.split(self._sizes, -1), strict=True))

    def weights(self) -> dict[str, Tensor]:
        """The weights of each predicted parameter, (raw outputs, in_features), as views."""
        if self.linear is None:
            return {}
        return dict(zip(self.predicted, self.linear.weight.split(self._sizes), strict=True))

    def _output(self, features: Tensor) -> Tensor:
        """The outputs of the linear layer, at least in single precision."""
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
            values[name] = (
                any_raw.new_full((), value)
                if isinstance(value, float)
                else getattr(self, value).to(any_raw)
            )
        return values

    def _distribution(self, raw: Mapping[str, Tensor], **row_constants: Tensor) -> Distribution:
        with without_autocast(next(iter(raw.values()))):
            row_constants = self._as_row_constants(row_constants, self._batch_shape(raw))
            if self._formula is None or not self._takes_beside(raw, row_constants):
                values = {
                    **self.family.constrain(raw, self.links),
                    **self._fixed_values(raw, self.fixed),
                    **row_constants,
                }
                dist = self.family.make(**values)
            else:
                links = {**self._formula.links, **dict.fromkeys(row_constants, _IDENTITY)}
                inputs = {**raw, **self._fixed_values(raw, self._fixed_tensors), **row_constants}
                formula = self.family.formula(links) if row_constants else self._formula
                dist = formula.from_raw(self._concatenated(inputs, links))
        return dist.to_event(len(self.event_shape) - self.family.event_dim)

    def _takes_beside(self, raw: Mapping[str, Tensor], row_constants: Mapping[str, Tensor]) -> bool:
        """Whether the formula takes the row constants beside raw outputs, in their precision."""
        precision = next(iter(raw.values())).dtype
        fits = all(
            torch.promote_types(value.dtype, precision) == precision
            for value in row_constants.values()
        )
        return not row_constants or (self.family.grad_takes_exposure and fits)

    def _concatenated(self, inputs: Mapping[str, Tensor], links: Mapping[str, Link]) -> Tensor:
        """The inputs of the formula, (..., P), in the order of the links."""
        rows = []
        for name in links:
            if name in inputs:
                dims = len(self.family.raw_shape(name, links[name]))
                values = inputs[name]
                rows.append(values.flatten(values.ndim - dims) if dims else values.unsqueeze(-1))
        # fixed values and row constants may have fewer dimensions
        if len(inputs) > len(self.predicted) + len(self.shared):
            batch = torch.broadcast_shapes(*[row.shape[:-1] for row in rows])
            rows = [row.expand(*batch, -1) for row in rows]
        return torch.cat(rows, -1)

    def _batch_shape(self, raw: Mapping[str, Tensor]) -> torch.Size:
        name, values = next(iter(raw.items()))
        return values.shape[: values.ndim - len(self._raw_shape(name))]

    def _as_row_constants(
        self, row_constants: Mapping[str, Tensor], batch_shape: torch.Size
    ) -> dict[str, Tensor]:
        """The row constants as tensors, with a dimension for each independent output.

        Raises:
            ValueError: for names that the family does not take, and for shapes that are not those
                of rows; for impossible values where they are concrete, without waiting for a
                device.
        """
        if not row_constants:
            return {}
        for name in row_constants:
            self.family.row_constant(name)
        independent = len(self.event_shape) - self.family.event_dim
        tensors = {name: as_tensor(value, name) for name, value in row_constants.items()}
        for name, value in tensors.items():
            if not is_tracing() and not _is_for_rows(value.shape, batch_shape):
                hint = " Try squeeze(-1)." if value.shape == (*batch_shape, 1) else ""
                raise ValueError(
                    f"{name} must have one value for each row, the shape {tuple(batch_shape)}, got "
                    f"{tuple(value.shape)}.{hint}"
                )
        self.family.check_concrete_constants(tensors)
        tensors = self.family.without_offset(tensors)
        return {
            name: value.reshape(value.shape + (1,) * independent) for name, value in tensors.items()
        }

    def _raw_shape(self, name: str) -> tuple[int, ...]:
        """The shape of one parameter's raw outputs for one row, over all independent outputs."""
        return self._independent_shape + self.family.raw_shape(name, self.links[name])

    @property
    def _independent_shape(self) -> tuple[int, ...]:
        return self.event_shape[: len(self.event_shape) - self.family.event_dim]

    def _resolved_event_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        family_shape = self.family.event_shape
        if family_shape and event_shape and event_shape != family_shape:
            raise ValueError(
                f"{self.family.name} has the event_shape {family_shape}, got "
                f"event_shape={event_shape}."
            )
        return family_shape or event_shape

    def _shared_names(
        self, shared: "Sequence[str] | str", fixed: Mapping[str, object]
    ) -> tuple[str, ...]:
        kind = f"parameter of {self.family.name}"
        for name in fixed:
            pick(kind, name, self.links)
        if shared == "all":
            shared = [name for name in self.links if name not in fixed]
        shared = as_names(shared, "shared", "['scale']")
        for name in shared:
            pick(kind, name, self.links)
            if name in fixed:
                raise ValueError(
                    f"{name} is both fixed and shared: choose one of fixed={{{name!r}: ...}} and "
                    f"shared=({name!r},)."
                )
        if len(fixed) == len(self.links):
            raise ValueError(
                f"every parameter of {self.family.name} is fixed, nothing is left to learn."
            )
        return shared

    def _fix(self, fixed: "Mapping[str, float | Tensor]") -> None:
        """Fix parameters at values in the units of the target."""
        for name in fixed:
            self._buffers.pop(f"fixed_{name}", None)
        self.fixed = {name: self._fixed_value(name, value) for name, value in fixed.items()}
        self._fixed_tensors = [name for name, value in self.fixed.items() if isinstance(value, str)]
        self._formula = self._linked_formula()
        # set where the outputs of the linear layer are all inputs of the formula, in their order
        is_plain = not (self.shared or self._independent_shape or self._fixed_tensors)
        self._plain_formula = self._formula if is_plain else None

    def _fixed_value(self, name: str, value: "float | Tensor") -> "float | str":
        """The value itself where it is a number, the name of its buffer where it is a tensor."""
        try:
            # on the CPU, so that values can be read also where a model is made on the meta device
            with torch.device("cpu"):
                tensor = value if isinstance(value, Tensor) else torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                f"fixed {name} of {self.family.name} must be a number or a tensor of numbers, got "
                f"{value!r}."
            ) from None
        has_unit = self._is_standardised and name in ("loc", "scale")
        codomain = self.family.parameters[name].codomain
        if name != "logits" and not bool(codomain.check(tensor).all()):
            raise ValueError(
                f"fixed {name} of {self.family.name} must be {describe(codomain)}, got {value}."
            )
        if not isinstance(value, Tensor):
            if tensor.ndim == 0 and not has_unit:
                return float(value)
            tensor = tensor.to(torch.get_default_dtype())
        shape = self._independent_shape + tuple(self.family.shapes.get(name, ()))
        try:
            tensor.expand(shape)
        except RuntimeError:
            raise ValueError(
                f"fixed {name} of {self.family.name} must have the shape {shape} or one that "
                f"expands to it, got {tuple(tensor.shape)}."
            ) from None
        if has_unit:
            tensor = tensor.to(self.target_loc)
            tensor = (tensor - self.target_loc if name == "loc" else tensor) / self.target_scale
        self.register_buffer(f"fixed_{name}", tensor)
        return f"fixed_{name}"

    def _check_features(self, features: Tensor) -> None:
        if not features.is_floating_point():
            raise ValueError(
                f"features must be floating-point, got {features.dtype}. Try features.float()."
            )
        dim = self.feature_dim
        if not -features.ndim <= dim < features.ndim or features.shape[dim] != self.in_features:
            raise ValueError(
                f"features must have {self.in_features} entries in dimension {dim} (in_features, "
                f"feature_dim), got a tensor of shape {tuple(features.shape)}."
            )


def _is_for_rows(shape: torch.Size, batch_shape: torch.Size) -> bool:
    """Whether values of that shape broadcast against the rows, without a dimension too many."""
    if len(batch_shape) and shape == (*batch_shape, 1) and batch_shape.numel() > 1:
        return False  # each row would meet the value of every other one
    try:
        torch.broadcast_shapes(shape, batch_shape)
    except RuntimeError:
        return False
    return True


def _sizes(event_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(as_integer(size, "event_shape") for size in event_shape)
    except (TypeError, ValueError):
        raise ValueError(
            "event_shape must be positive sizes, such as (3,) for three outputs, got "
            f"{event_shape}."
        ) from None


def marginal(family: "str | Family", y: Any, *, weight: Any = None, **options) -> Distribution:
    """The unconditional model (no features): one distribution, fitted by maximum likelihood.

    Args:
        family: a name or a `Family`.
        y: targets (N, *event_shape).
        weight: (N,), as for `DistributionHead.initialize`.
        options: as for `DistributionHead`, such as `event_shape`, `fixed` or `num_classes`.

    Raises:
        TargetError: for targets outside the support.
        ValueError: for unknown names and invalid weights.

    >>> marginal("normal", torch.tensor([1.0, 2.0, 3.0])).loc
    tensor(2.)
    """
    head = DistributionHead(family, 1, shared="all", **options)
    with torch.no_grad():
        return head.initialize(y, weight=weight)(torch.zeros(1)).map(torch.detach)


def without_autocast(values: Tensor) -> contextlib.AbstractContextManager:
    """A context in which autocast is off on the device of these values.

    Where autocast is off already, it does nothing: `torch.autocast` would take as much time as a
    small layer.
    """
    kind = "cpu" if values.is_cpu else values.device.type  # a flag is faster than the type's name
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else contextlib.nullcontext()


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
