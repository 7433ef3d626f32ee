"""The families of mixtures."""

from dataclasses import replace

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.distributions.affine import Affine, AffineMixture
from disthead.distributions.base import CLASSES, Distribution, Kind
from disthead.distributions.components import component_name
from disthead.families.circular_mixture import CircularMixture
from disthead.families.discrete_mixture import DiscreteMixture
from disthead.families.family import Family, get_family
from disthead.families.mixed_mixture import MixedMixture
from disthead.families.mixture import Mixture
from disthead.links import LINKS
from disthead.special.eager import is_tracing

__all__ = ["MixtureFamily", "NormalMixtureFamily", "mixture"]


def mixture(
    logits: Tensor | None, components: Distribution, *, probs: Tensor | None = None
) -> "Mixture | DiscreteMixture | AffineMixture":
    """The mixture of components, as a `Mixture` or the class for their kind.

    Counts and classes give a `DiscreteMixture`, directions a `CircularMixture`, and numbers that
    have a density and, at some values, a probability a `MixedMixture`.

    Args:
        logits: unnormalised log-weights, shape (..., K).
        components: a distribution of one number with batch_shape (..., K).
        probs: weights, shape (..., K). Exactly one of logits and probs is given.

    Raises:
        ValueError: for components of counts that are in different units.
    """
    if isinstance(components, Affine) and components.support.is_discrete:
        if not all(_is_of_all(unit) for unit in (components.loc, components.scale)):
            raise ValueError(
                "the components of a mixture of counts must have the same loc and scale, since a "
                f"mixture of counts on different grids has no grid of its own, got {components!r}."
            )
        of_counts = mixture(logits, components.base, probs=probs)
        return AffineMixture(of_counts, components.loc[..., 0], components.scale[..., 0])
    return _mixture_class(components.kind)(logits, components, probs=probs)


def _is_of_all(unit: Tensor) -> bool:
    """Whether all components, in the last dimension, have the same value."""
    if unit.shape[-1] == 1 or unit.stride(-1) == 0:
        return True  # known from the shape alone, also where numbers cannot be read
    return not is_tracing() and bool((unit == unit[..., :1]).all())


def _mixture_class(kind: Kind) -> "type[Mixture] | type[DiscreteMixture]":
    """The class of mixtures of components of that kind."""
    if kind == "direction":
        return CircularMixture
    if kind == "mixed":
        return MixedMixture
    return DiscreteMixture if kind in ("count", *CLASSES) else Mixture


class MixtureFamily(Family):
    """The family of mixtures p(y) = sum_k weight_k p_k(y), weight = softmax(logits).

    The components are K distributions of one family of numbers; the support is theirs. The
    parameters are `logits` and those of the components, each of shape (..., K). Source:
    McLachlan and Peel 2000; as the output of a network: Bishop 1994.

    Args:
        component: the family of the components, a name or a `Family`.
        num_components: the number of components K.
        component_options: options of the component family.

    Raises:
        ValueError: for a family of vectors, or less than one component.
    """

    name = "mixture"
    figure_row = 3
    data_type = "univariate, continuous, unbounded"
    domain = "that of its components, y in R for normal ones"
    use = "multimodal regression"
    loss = "log-sum-exp of the components, of Gaussians for normal ones"
    noise = (
        "Each observation comes from one of several sources, which the features alone do not tell "
        "apart."
    )
    density = "p(y) = sum_k weight_k p_k(y), weight = softmax(logits)"
    breaks = (
        "A component can shrink onto a single point, with a likelihood without bound. The "
        "likelihood has several optima, and components that start equal stay equal."
    )
    remedy = (
        "Fewer components, a scale that is shared or has a minimum, initialize(y) before training; "
        "one component if the data have one peak."
    )

    def __init__(
        self, component: "str | Family" = "normal", num_components: int = 2, **component_options
    ):
        self.component = get_family(component, **component_options)
        if self.component.event_dim:
            raise ValueError(
                f"component must be a family of one number, got {self.component.name}."
            )
        num_components = as_integer(num_components, "num_components")
        self.num_components = num_components
        self.parameters = {"logits": LINKS["softmax"]} | {
            component_name(name): link for name, link in self.component.parameters.items()
        }
        self.shapes = {"logits": (num_components,)} | {
            component_name(name): (num_components, *self.component.shapes.get(name, ()))
            for name in self.component.parameters
        }
        self.support = self.component.support
        self.loss_support = self.component.loss_support
        self.row_constants = self.component.row_constants
        if self.component.distribution_class and not self.component.shapes:
            self.distribution_class = _mixture_class(self.component.kind)

    def make(
        self, logits: Tensor | None = None, probs: Tensor | None = None, **parameters: Tensor
    ) -> Distribution:
        if (logits is None) == (probs is None):
            raise TypeError("give the weights as one of logits and probs.")
        name, weights = ("logits", logits) if probs is None else ("probs", probs)
        if weights.shape[-1:] != (self.num_components,):
            raise ValueError(
                f"{name} must end in {self.num_components}, one for each component, got the shape "
                f"{tuple(weights.shape)}."
            )
        own = {_without_prefix(name): value for name, value in parameters.items()}
        own |= {name: own[name].unsqueeze(-1) for name in self.row_constants if name in own}
        return mixture(logits, self.component.make(**own), probs=probs)

    def log_prob_and_grad(self, y, logits, *parameters):
        """log_prob and its derivatives by the logits and by the components' parameters.

        Those by a component's parameters are its own derivatives times the probability that y came
        from it (Bayes' rule). The last dimension is the row: y has shape (rows,), logits and
        parameters (K, rows).
        """
        values, *slopes = self.component.log_prob_and_grad(y, *parameters)
        joint = values + torch.log_softmax(logits, 0)
        total, shares = torch.logsumexp(joint, 0), torch.softmax(joint, 0)
        if (
            total.dtype == torch.float64
        ):  # a component out of the question may have an infinite slope
            slopes = [torch.where(shares == 0, 0.0, slope) for slope in slopes]
        return total, shares - torch.softmax(logits, 0), *(shares * slope for slope in slopes)

    def _formula(self, links):
        formula = super()._formula(links)
        if type(self).log_prob_and_grad is not MixtureFamily.log_prob_and_grad:
            return formula
        _, of_component = self._for_component({}, links)
        return replace(formula, component=self.component.formula(of_component))

    def constrain(self, raw, links):
        of_mixture = super().constrain(
            {name: part for name, part in raw.items() if name == "logits"}, links
        )
        of_components = self.component.constrain(*self._for_component(raw, links))
        return of_mixture | {_with_prefix(name): value for name, value in of_components.items()}

    def unconstrain(self, values, links):
        of_mixture = super().unconstrain(
            {name: part for name, part in values.items() if name == "logits"}, links
        )
        of_components = self.component.unconstrain(*self._for_component(values, links))
        return of_mixture | {component_name(name): value for name, value in of_components.items()}

    def _is_chosen(self, name: str) -> bool:
        return self.component._is_chosen(_without_prefix(name))

    def _for_component(self, values, links):
        return tuple(
            {_without_prefix(name): part for name, part in table.items() if name != "logits"}
            for table in (values, links)
        )

    def typical_constants(self, y: Tensor) -> dict[str, Tensor]:
        return self.component.typical_constants(y)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """The estimate of each component from its slice of the sorted targets."""
        slices = [
            part if len(part) else y for part in y.sort(0).values.tensor_split(self.num_components)
        ]
        starts = [self.component.initial_estimate(part) for part in slices]
        values = {
            component_name(name): torch.stack(
                [
                    start[name].expand(y.shape[1:] + start[name].shape[y.ndim - 1 :])
                    for start in starts
                ],
                y.ndim - 1,
            )
            for name in starts[0]
        }
        return {
            "logits": torch.zeros(
                (*y.shape[1:], self.num_components), dtype=y.dtype, device=y.device
            )
        } | values


def _with_prefix(name: str) -> str:
    bare = name.removeprefix("log_")
    return name if bare not in ("logits", "probs") else name.replace(bare, component_name(bare))


def _without_prefix(name: str) -> str:
    return name.replace("component_", "")


class NormalMixtureFamily(MixtureFamily):
    """The family of mixtures of K normal distributions, short for `mixture`; y is real.

    The parameters are `logits`, `loc` and `scale`, each of shape (..., K).

    Args:
        num_components: the number of components K.
    """

    name = "normal_mixture"
    figure_row = 3
    domain = "y in R"
    loss = "log-sum-exp of Gaussians"

    def __init__(self, num_components: int = 2):
        super().__init__("normal", num_components)
