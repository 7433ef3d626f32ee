"""The ordinal family: ordered classes, from one linear predictor and cutpoints on its scale."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from pyro.distributions.constraints import ordered_vector
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import HALF_LOG_TWO_PI, tensors
from disthead.errors import pick
from disthead.families.categorical import ClassFamily
from disthead.families.ordered_categorical import OrderedCategorical
from disthead.links import LINKS, Link
from disthead.special import log_ndtr, log_ndtr_difference

__all__ = ["Ordinal", "OrdinalFamily"]

_sigmoid, _cloglog, _loglog, _cauchit = (
    LINKS[name].log for name in ("sigmoid", "cloglog", "loglog", "cauchit")
)


@dataclass(frozen=True)
class _Response:
    """A distribution function F, the inverse of a link function.

    Attributes:
        link: F is its forward map.
        log_cdf: log(F(x)).
        log_mirror: log(1 - F(-x)), the same of the reflected distribution.
        log_between: log(F(upper) - F(lower)) from lower, upper and log(upper - lower).
    """

    link: Link
    log_cdf: Callable[[Tensor], Tensor]
    log_mirror: Callable[[Tensor], Tensor]
    log_between: Callable[[Tensor, Tensor, Tensor], Tensor]

    def log_survival(self, x: Tensor) -> Tensor:
        return self.log_mirror(-x)


# Differences of distribution functions without cancellation. log(1 - exp(-gap)) is
# cloglog(log gap). Gaps below exp(_NARROW) underflow in some: the density there is constant.
_NARROW = -25.0


def _logistic_between(lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    return _sigmoid(upper) + _sigmoid(-lower) + _cloglog(log_gap)


def _normal_between(lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    is_narrow = log_gap < _NARROW
    wide = log_ndtr_difference(
        lower, torch.where(is_narrow, lower + 1, upper), torch.where(is_narrow, 0.0, log_gap).exp()
    )
    return torch.where(is_narrow, log_gap - lower.square() / 2 - HALF_LOG_TWO_PI, wide)


def _least_value_between(lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    log_hazard = upper + _cloglog(log_gap)  # of the interval: log(exp(upper) - exp(lower))
    return _loglog(-lower) + _cloglog(log_hazard)


def _greatest_value_between(lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    return _least_value_between(-upper, -lower, log_gap)


def _cauchy_between(lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    is_narrow = log_gap < _NARROW
    angle = torch.atan2(torch.where(is_narrow, 0.0, log_gap).exp(), 1 + lower * upper)
    narrow = log_gap - torch.log1p(lower.square())
    return torch.where(is_narrow, narrow, angle.log()) - math.log(math.pi)


_RESPONSES = {
    "logit": _Response(LINKS["sigmoid"], _sigmoid, _sigmoid, _logistic_between),
    "probit": _Response(LINKS["probit"], log_ndtr, log_ndtr, _normal_between),
    "cloglog": _Response(LINKS["cloglog"], _cloglog, _loglog, _least_value_between),
    "loglog": _Response(LINKS["loglog"], _loglog, _cloglog, _greatest_value_between),
    "cauchit": _Response(LINKS["cauchit"], _cauchit, _cauchit, _cauchy_between),
}


# The log-probabilities (..., K) of each form, from x_k = cutpoints_k - loc, shape (..., K - 1).


def _cumulative(response: _Response, x: Tensor, log_gaps: Tensor) -> Tensor:
    between = response.log_between(x[..., :-1], x[..., 1:], log_gaps)
    ends = response.log_cdf(x[..., :1]), response.log_survival(x[..., -1:])
    return torch.cat([ends[0], between, ends[1]], -1)


def _adjacent(response: _Response, x: Tensor, log_gaps: Tensor) -> Tensor:
    log_odds = response.log_survival(x) - response.log_cdf(x)  # of each class against the one below
    first = torch.zeros_like(x[..., :1])
    return torch.cat([first, log_odds.cumsum(-1)], -1).log_softmax(-1)


def _continuation(response: _Response, x: Tensor, log_gaps: Tensor) -> Tensor:
    log_reached = response.log_survival(x).cumsum(-1)
    first = torch.zeros_like(x[..., :1])
    log_stops = torch.cat([response.log_cdf(x), first], -1)
    return torch.cat([first, log_reached], -1) + log_stops


_FORMS = {"cumulative": _cumulative, "adjacent": _adjacent, "continuation": _continuation}


class Ordinal(OrderedCategorical):
    """Distribution of ordered classes 0, ..., K - 1: P(Y <= k) = F(cutpoints_k - loc).

    A latent variable with location `loc` lies between two of the cutpoints. A greater loc makes
    higher classes more probable. F is the distribution function that the link names; of the logit
    it is 1 / (1 + exp(-x)), and the model is that of proportional odds. With another `form`, F
    gives another probability:

    - "cumulative": P(Y <= k),
    - "adjacent": P(Y = k | Y = k or Y = k + 1),
    - "continuation": P(Y = k | Y >= k).

    Args:
        loc: the linear predictor, shape (...,).
        cutpoints: shape (..., K - 1); strictly increasing where the form is cumulative.
        link: "logit", "probit", "cloglog", "loglog" or "cauchit".
        form: "cumulative", "adjacent" or "continuation".
        log_gaps: the logarithms of the differences of the cutpoints, shape (..., K - 2), where they
            are known to more digits than the cutpoints have.

    Source: McCullagh 1980, Regression models for ordinal data; of all forms: Tutz 2012, Regression
    for categorical data.

    >>> Ordinal(torch.tensor(0.0), torch.tensor([-1.0, 1.0])).probs
    tensor([0.2689, 0.4621, 0.2689])
    """

    parameter_dims = {"loc": 0, "cutpoints": 1, "log_gaps": 1}
    loc: Tensor
    cutpoints: Tensor
    log_gaps: Tensor

    def __init__(self, loc, cutpoints, link="logit", form="cumulative", *, log_gaps=None):
        self.link, self.form = link, form
        loc, cutpoints = tensors(loc, cutpoints)
        if log_gaps is None:
            log_gaps = cutpoints.diff(dim=-1)
            log_gaps = log_gaps.log() if form == "cumulative" else torch.zeros_like(log_gaps)
        self._store(loc=loc, cutpoints=cutpoints, log_gaps=log_gaps)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        cutpoints = ordered_vector if self.form == "cumulative" else constraints.real_vector
        return {"loc": constraints.real, "cutpoints": cutpoints}

    @property
    def num_classes(self) -> int:
        return self.cutpoints.shape[-1] + 1

    @property
    def _x(self) -> Tensor:
        return self.cutpoints - self.loc.unsqueeze(-1)

    @property
    def _log_probs(self) -> Tensor:
        exact = self._in_double()
        form, response = _FORMS[self.form], _RESPONSES[self.link]
        return form(response, exact._x, exact.log_gaps).to(self.dtype)

    @property
    def logits(self) -> Tensor:
        """The log-probabilities of the classes, shape (..., K)."""
        return self._log_probs

    @property
    def probs(self) -> Tensor:
        """The probability of each class, shape (..., K)."""
        return self._log_probs.exp()

    def _with_normalizer(self) -> tuple[Tensor, Tensor]:
        return self._log_probs, self.loc.new_zeros(self.batch_shape)

    @property
    def _log_cdfs(self) -> Tensor:
        if self.form != "cumulative":
            return super()._log_cdfs
        return _RESPONSES[self.link].log_cdf(self._x)

    @property
    def _log_survivals(self) -> Tensor:
        if self.form != "cumulative":
            return super()._log_survivals
        return _RESPONSES[self.link].log_survival(self._x)


class OrdinalFamily(ClassFamily):
    """The ordinal family: P(Y <= k) = F(cutpoints_k - loc), for ordered classes 0, ..., K - 1.

    Its parameters are `loc`, shape (...,), and `cutpoints`, shape (..., K - 1). With
    `shared=("cutpoints",)` a head on the features is the cumulative link model of R's
    `ordinal::clm`, of proportional odds where the link is the logit. Cutpoints that are not shared
    are predicted, too.

    The same shift of the bias of loc and of all cutpoints changes no probability. Training is not
    disturbed by that; the head starts with loc = 0 and the cutpoints of the shares of the classes.

    Args:
        num_classes: the number of classes K, at least 2.
        link: the distribution function F: "logit", "probit", "cloglog", "loglog" or "cauchit".
        form: what F(cutpoints_k - loc) is: "cumulative" for P(Y <= k), "adjacent" for P(Y = k given
            k or k + 1), "continuation" for P(Y = k given k or more). Cutpoints increase where it is
            "cumulative", and are any numbers otherwise.

    Raises:
        ValueError: without num_classes, or with fewer than 2; for another link or form, with the
            nearest names.

    >>> from disthead import get_family
    >>> grade = get_family("ordinal", num_classes=3, link="probit")
    >>> grade.distribution(loc=0.5, cutpoints=torch.tensor([-1.0, 1.0])).cdf(torch.arange(3))
    tensor([0.0668, 0.6915, 1.0000])
    """

    name = "ordinal"
    support: constraints.Constraint = constraints.nonnegative_integer  # of K classes in an instance
    use = "grades and other ordered classes"
    loss = "cross-entropy of ordered classes"
    noise = (
        "A latent number with a random error lies between two of the cutpoints, which part the "
        "classes. The features move it towards higher or lower classes."
    )
    density = "P(Y <= k) = F(cutpoints_k - loc), with link='logit' F(x) = 1 / (1 + exp(-x))"
    breaks = (
        "With shared cutpoints the features move all classes in one direction: where they widen or "
        "narrow the spread over the classes, that is missed. Features that make the outer classes "
        "more probable at once, as of classes without an order, move no single number."
    )
    remedy = (
        "Cutpoints that are predicted, another link, form='adjacent' or 'continuation'; "
        "categorical for classes without an order, poisson or negative_binomial for counts."
    )

    def __init__(
        self, num_classes: int | None = None, link: str = "logit", form: str = "cumulative"
    ):
        super().__init__(num_classes)
        pick("link of ordinal", link, _RESPONSES)
        pick("form of ordinal", form, _FORMS)
        self.link, self.form = link, form
        cutpoints = LINKS["ordered"] if form == "cumulative" else LINKS["identity"]
        self.parameters = {"loc": LINKS["identity"], "cutpoints": cutpoints}
        self.shapes = {"cutpoints": (self.num_classes - 1,)}

    def make(self, **parameters: Tensor) -> Ordinal:
        dist = Ordinal(**parameters, link=self.link, form=self.form)
        if dist.num_classes != self.num_classes:
            raise ValueError(
                f"cutpoints of ordinal must end in {self.num_classes - 1} numbers, one less than "
                f"num_classes, got the shape {tuple(dist.cutpoints.shape)}."
            )
        return dist

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        values = super().constrain(raw, links)
        if "cutpoints" in raw and links["cutpoints"] is LINKS["ordered"]:
            values["log_gaps"] = LINKS["softplus"].log(raw["cutpoints"][..., 1:])
        return values

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        shares = self.shares(y)
        this, through = shares[..., :-1], shares.cumsum(-1)
        rest = {  # what P(Y = k) or P(Y <= k) is divided by
            "cumulative": through[..., -1:],
            "adjacent": this + shares[..., 1:],
            "continuation": through[..., -1:] - through[..., :-1] + this,
        }[self.form]
        part = through[..., :-1] if self.form == "cumulative" else this
        cutpoints = _RESPONSES[self.link].link.inverse(part / rest)
        return {"loc": torch.zeros_like(cutpoints[..., 0]), "cutpoints": cutpoints}
