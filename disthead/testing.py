"""`check_family`: whether a family of one's own is what the rest of the library takes it for.

The checks are relations between the answers of its distributions: the density integrates to the
cdf, the quantile inverts it, moments are those of samples, gradients are those of differences.
"""

import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disthead.distributions.affine import Affine
from disthead.distributions.base import CLASSES, Distribution
from disthead.families.family import Family, get_family
from disthead.head import DistributionHead
from disthead.losses import nll

__all__ = ["check_family"]

_SETTINGS = 4  # choices of parameters
_DRAWS = 4000  # samples for each of them
_TEXTS = ("data_type", "domain", "use", "loss", "noise", "density", "breaks", "remedy")
_ON_THE_LINE = ("continuous", "count", "binary", "mixed", "ordinal")
Check = Callable[[Family, Tensor, torch.Generator], Iterator[str]]


def check_family(
    family: "str | type[Family] | Family",
    *,
    compile: bool = True,
    seed: int = 0,
    **options: Any,
) -> None:
    """Check that a family answers as a family of this library does.

    It tries four choices of parameters, in double precision: the declaration and its texts, the
    parameters by their links, samples in the support, a density that integrates to the cdf,
    quantiles that invert it, mean, variance, mode, entropy and CRPS against numerical integrals and
    samples, gradients against differences, `log_prob_and_grad` against both, the fit of the
    unconditional model, losses and gradients at raw outputs of -50 and 50, pickling and
    `torch.compile`. An answer that raises NotImplementedError with a reason is one that the family
    does not have, and is left out.

    Args:
        family: a name, a class, or a `Family`.
        compile: whether to compile the loss, which takes some seconds and a C++ compiler.
        seed: of the parameters and samples.
        options: of the family, such as `num_classes=3`, and `event_shape` of a family of vectors.

    Raises:
        AssertionError: where a check fails, with one line for each of them: what was expected, what
            was got, and at which parameters.

    >>> check_family("logistic", compile=False)
    """
    if isinstance(family, type):
        family = family(**options)
    family = get_family(family, **options)
    try:
        family.check_make()
    except TypeError as error:  # without distributions there is nothing else to check
        raise AssertionError(f"{family.name} fails its declaration: {error}") from error
    generator = torch.Generator().manual_seed(seed)
    raw = 0.8 * torch.randn(_SETTINGS, family.width(), generator=generator, dtype=torch.float64)
    checks: list[Check] = [
        _declaration,
        _parameters,
        _samples,
        _gradients,
        _fit,
        _extremes,
        _pickle,
    ]
    kind = family.kind
    if kind in _ON_THE_LINE:
        checks += [_cdf, _quantiles, _moments, _scores]
    if kind in CLASSES:
        checks.append(_outcomes)
    if compile:
        checks.append(_compiles)
    failures = [line for check in checks for line in _failures(check, family, raw, generator)]
    if failures:
        raise AssertionError(
            f"{family.name} fails {len(failures)} checks:\n" + "\n".join(f"  {f}" for f in failures)
        )


def _failures(
    check: Check, family: Family, raw: Tensor, generator: torch.Generator
) -> Iterator[str]:
    try:
        yield from check(family, raw, generator)
    except NotImplementedError as error:
        if not str(error):
            yield f"{check.__name__[1:]}: NotImplementedError must give a reason."
    except Exception as error:
        yield f"{check.__name__[1:]}: raised {type(error).__name__}: {error}"


def _asked(dist: Distribution, name: str, *arguments: Any) -> Any:
    """An answer, or None where the distribution says that it has none."""
    try:
        value = getattr(dist, name)
        return value(*arguments) if callable(value) else value
    except NotImplementedError as error:
        if not str(error):
            raise
        return None


def _differs(
    what: str, dist: Distribution, got: Tensor, expected: Tensor, rtol: float, atol: float = 0.0
) -> Iterator[str]:
    """A line where an answer, (..., settings), is not what was expected."""
    got, expected = torch.broadcast_tensors(got.double(), expected.double())
    wrong = ~((got - expected).abs() <= atol + rtol * expected.abs()) & ~(got == expected)
    wrong &= ~(got.isnan() & expected.isnan())
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        yield (
            f"{what}: expected {expected[at].item():.8g}, got {got[at].item():.8g} "
            f"{_setting(dist, at[-1])}."
        )


def _setting(dist: Distribution, row: int) -> str:
    values = (
        f"{name}={np.array2string(value[row].detach().numpy(), precision=4)}"
        for name, value in dist.parameters.items()
    )
    return "at " + ", ".join(values)


def _declaration(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    for name in _TEXTS:
        text = getattr(family, name, None)
        if not isinstance(text, str) or not text.strip():
            yield f"declaration: the text {name!r} is missing; `disthead explain` prints it."
    dist = family.from_raw(raw)
    if dist.event_shape != torch.Size(family.event_shape):
        yield (
            f"declaration: event_shape is {tuple(family.event_shape)}, its distributions have "
            f"{tuple(dist.event_shape)}."
        )
    if dist.batch_shape != raw.shape[:1]:
        yield f"declaration: raw outputs (4, P) give the batch_shape {tuple(dist.batch_shape)}."


def _parameters(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    shapes = [family.raw_shape(name) for name in family.parameters]
    parts = raw.split([math.prod(shape) for shape in shapes], -1)
    values = family.constrain(
        {
            name: part.reshape(len(raw), *shape)
            for name, part, shape in zip(family.parameters, parts, shapes, strict=True)
        },
        family.parameters,
    )
    values = {name: values[name] for name in family.parameters}
    for name, link in family.parameters.items():
        if name != "logits" and not link.codomain.check(values[name]).all():
            yield f"parameters: {name} is outside the values of its link {link.name}."
    y = dist.sample(generator=generator)
    yield from _differs(
        "log_prob by values in place of raw outputs",
        dist,
        family.distribution(**values).log_prob(y),
        dist.log_prob(y),
        rtol=1e-9,
        atol=1e-9,
    )


def _samples(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    y = dist.sample((_DRAWS,), generator)
    expected = (_DRAWS, *dist.batch_shape, *dist.event_shape)
    if y.shape != expected:
        yield f"samples: expected the shape {expected}, got {tuple(y.shape)}."
        return
    try:
        family.check_target(y.flatten(0, 1))
    except ValueError as error:
        yield f"samples: outside the support: {error}"
    if not dist.log_prob(y).isfinite().all():
        yield "samples: the log-probability of samples is not finite."
    mean, variance = _asked(dist, "mean"), _asked(dist, "variance")
    is_linear = dist.kind in (*_ON_THE_LINE, "vector")
    if (
        is_linear
        and mean is not None
        and variance is not None
        and bool((variance < torch.inf).all())
    ):
        deviation = (y.double().mean(0) - mean) / (variance / _DRAWS).sqrt()
        for row in range(len(raw)):
            if not bool((deviation[row].abs() < 6).all()):
                yield (
                    f"mean: that of {_DRAWS} samples is {y.double().mean(0)[row].tolist()}, "
                    f"dist.mean is {mean[row].tolist()} {_setting(dist, row)}."
                )
    if dist.kind in _ON_THE_LINE:
        pit = _asked(dist, "pit", y, generator)
        if pit is not None:
            sorted_pit = pit.double().sort(0).values
            uniform = ((torch.arange(_DRAWS) + 0.5) / _DRAWS)[:, None]
            distance = (sorted_pit - uniform).abs().amax(0) * math.sqrt(_DRAWS)
            for row in (distance > 2.6).nonzero()[:1, 0].tolist():  # p about 1e-6
                yield f"pit: that of samples is not uniform {_setting(dist, row)}."


def _gradients(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    y = family.from_raw(raw).sample(generator=generator)
    gradient = -_loss_and_gradient(family, raw, y)[1]
    # where `log_prob_and_grad` of the family answers, if it has one
    single = -_loss_and_gradient(family, raw.float(), y.float())[1]
    step = 1e-5
    columns = torch.eye(raw.shape[1], dtype=raw.dtype)
    slopes = [
        (family.from_raw(raw + step * e).log_prob(y) - family.from_raw(raw - step * e).log_prob(y))
        / (2 * step)
        for e in columns
    ]
    dist = family.from_raw(raw)
    for column, slope in enumerate(slopes):
        for precision, got, rtol in (("double", gradient, 1e-5), ("single", single, 1e-3)):
            yield from _differs(
                f"gradient of log_prob by raw output {column} in {precision} precision, against "
                "differences",
                dist,
                got[:, column],
                slope,
                rtol=rtol,
                atol=rtol * (1 + slope.abs().max().item()),
            )


def _fit(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    """The fit of the unconditional model is at least as likely as the truth."""
    dist = family.from_raw(raw[:1])
    y = dist.sample((500,), generator).squeeze(1)
    head = DistributionHead(family, 1, event_shape=family.event_shape, shared="all").double()
    head.initialize(y)
    fitted = nll(head(torch.zeros(500, 1, dtype=torch.float64)), y)
    truth = nll(dist.expand((500,)), y)
    if not fitted < truth + 1e-3:
        yield (
            f"fit: initialize(y) reaches a mean loss of {fitted.item():.6g}, the parameters that y "
            f"was drawn from {truth.item():.6g} {_setting(dist, 0)}; see initial_estimate."
        )


def _extremes(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    """Losses in single precision wherever it holds the loss and the gradient."""
    size, limit = raw.shape[1], torch.finfo(torch.float32).max
    y = family.from_raw(raw[:1]).sample(generator=generator)
    y = y.expand(size, *y.shape[1:])
    for value in (-50.0, 50.0):
        extreme = raw[0].float().repeat(size, 1)
        extreme[range(size), range(size)] = value
        loss, gradient = _loss_and_gradient(family, extreme, y.float())
        exact, exact_gradient = _loss_and_gradient(family, extreme.double(), y.float().double())
        possible = (exact.abs() < limit) & (exact_gradient.abs() < limit).all(-1)
        for row in range(size):
            finite = loss[row].isfinite() and gradient[row].isfinite().all()
            if possible[row] and not finite:
                yield (
                    f"extremes: the loss is {loss[row].item():g} and its gradient "
                    f"{gradient[row].tolist()} in single precision, {exact[row].item():g} and "
                    f"{exact_gradient[row].tolist()} in double precision, for the raw outputs "
                    f"{extreme[row].tolist()} and y = {y[row].tolist()}."
                )


def _loss_and_gradient(family: Family, raw: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    raw = raw.clone().requires_grad_()
    loss = -family.from_raw(raw).log_prob(y)
    return loss.detach(), torch.autograd.grad(loss.sum(), raw)[0]


def _pickle(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    y = dist.sample(generator=generator)
    for what, copy in (
        ("family", pickle.loads(pickle.dumps(family)).from_raw(raw)),
        ("distribution", pickle.loads(pickle.dumps(dist))),
    ):
        yield from _differs(f"a pickled {what}", dist, copy.log_prob(y), dist.log_prob(y), 1e-12)


def _cuts(dist: Distribution) -> Tensor:
    """Points of the support, crowded at its ends, (points, settings)."""
    tails = torch.logspace(-9, -2, 15, dtype=torch.float64)
    levels = torch.cat(
        [tails, torch.linspace(0.02, 0.98, 49, dtype=torch.float64), 1 - tails.flip(0)]
    )
    return dist.icdf(levels[:, None].expand(-1, len(dist.batch_shape) and dist.batch_shape[0]))


def _is_fine(cuts: Tensor) -> bool:
    """Whether floating-point numbers are close enough to tell the quantiles apart."""
    return bool((cuts[1:] > cuts[:-1]).all())


def _end(dist: Distribution) -> Tensor:
    """The finite end of the support, (settings,), of two ends the lower one; 0 where is none."""
    lower, upper = dist.support_limits()
    return torch.where(lower.isfinite(), lower, torch.where(upper.isfinite(), upper, 0.0))


def _lattice(dist: Distribution, first: Tensor, last: Tensor) -> Tensor:
    """The counts from one to the other, or classes, at most 20,000."""
    if isinstance(dist, Affine):
        to_base, from_base = dist._to_base, dist._from_base
        return from_base(_lattice(dist.base, to_base(first), to_base(last)))
    count = min(int(last - first) + 1, 20_000)
    k = int(first) + torch.arange(count)
    return k if dist.kind in CLASSES else k.double()


def _cdf(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    cuts = _cuts(dist)
    cdf = dist.cdf(cuts)
    if bool(((cdf[1:] - cdf[:-1]) < -1e-12).any()):
        yield "cdf: it falls somewhere."
    yield from _differs("log_cdf", dist, dist.log_cdf(cuts).exp(), cdf, 1e-9, 1e-12)
    yield from _differs("log_survival", dist, dist.log_survival(cuts).exp(), 1 - cdf, 1e-6, 1e-12)
    if dist.kind == "continuous" and _is_fine(cuts):
        y, weight = _nodes(cuts, _end(dist))
        mass = (dist.log_prob(y).exp() * weight).reshape(len(cuts) - 1, -1, len(raw)).sum(1)
        yield from _differs(
            "the integral of the density between quantiles, against the cdf",
            dist,
            mass,
            cdf[1:] - cdf[:-1],
            rtol=1e-5,
            atol=1e-6,
        )
    elif dist.kind not in ("continuous", "mixed"):
        for row in range(len(raw)):
            k = _lattice(dist[row], cuts[0, row], cuts[-1, row])
            last = k[-1].item()
            total = dist[row].log_prob(k).exp().sum() + dist[row].cdf_limits(k[:1])[0]
            yield from _differs(
                f"the sum of the probabilities up to {last}, against the cdf",
                dist[row : row + 1],
                total.reshape(1),
                dist[row].cdf(k[-1:]),
                rtol=1e-8,
            )


def _nodes(cuts: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Points and weights of Gauss-Legendre rules between neighbouring cuts, (points, settings).

    Panels that are wide beside their distance from the end of the support, where the density may
    have a pole, are divided evenly in the logarithm of that distance.
    """
    x, w = (torch.from_numpy(part)[:, None] for part in np.polynomial.legendre.leggauss(20))
    low, high = cuts[:-1, None] - end, cuts[1:, None] - end
    is_wide = (low * high > 0) & ((low / high).log().abs() > 0.5)
    rate = torch.where(is_wide, (high / low).log(), 0.0) / 2
    grown = low * torch.exp(rate * (1 + x))
    half, middle = (high - low) / 2, (high + low) / 2
    y = torch.where(is_wide, grown, middle + half * x)
    weight = torch.where(is_wide, grown * rate, half) * w
    return (end + y).flatten(0, 1), weight.flatten(0, 1)


def _quantiles(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    levels = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64)[:, None]
    levels = levels.expand(-1, len(raw))
    y = dist.icdf(levels)
    below, through = dist.cdf_limits(y)
    if dist.kind == "continuous":  # the next numbers on both sides, since there may be none between
        step = 4 * torch.finfo(y.dtype).eps * y.abs()
        below, through = dist.cdf(y - step), dist.cdf(y + step)
    for row in ((through < levels - 1e-9) | (below > levels + 1e-9)).nonzero()[:1].tolist():
        yield (
            f"icdf: the quantile at {levels[tuple(row)].item():g} is {y[tuple(row)].item():g}, "
            f"where the cdf is {through[tuple(row)].item():g} {_setting(dist, row[-1])}."
        )
    yield from _differs("median, against icdf(0.5)", dist, dist.median, y[3], 1e-9, 1e-12)
    interval = _asked(dist, "interval", 0.5)
    if interval is not None:
        yield from _differs(
            "the lower end of interval(0.5)",
            dist,
            interval[0],
            dist.icdf(levels[:1] * 0 + 0.25),
            1e-8,
        )


def _points(dist: Distribution, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Points and their probabilities, (points, settings), outside of which are 2e-9."""
    if dist.kind == "continuous":
        y, weight = _nodes(cuts, _end(dist))
        return y, dist.log_prob(y).exp() * weight
    k = _lattice(dist[:1], cuts[0].min(), cuts[-1].max()).reshape(-1, 1).expand(-1, cuts.shape[1])
    return k, dist.log_prob(k).exp()


def _moments(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    cuts = _cuts(dist)
    if dist.kind == "mixed" or (dist.kind == "continuous" and not _is_fine(cuts)):
        return
    y, mass = _points(dist, cuts)
    size = dist.icdf(torch.full((len(raw),), 0.9, dtype=torch.float64)).abs() + 1
    mean, variance, entropy = (_asked(dist, name) for name in ("mean", "variance", "entropy"))
    # far tails may carry much of a moment, and the points end where the probability does
    if mean is not None and variance is not None and bool((variance < 100 * size.square()).all()):
        yield from _differs("mean", dist, mean, (mass * y).sum(0), 1e-3, 1e-3)
        if not _is_heavy_tailed(dist):
            second = (mass * (y - mean).square()).sum(0)
            yield from _differs("variance", dist, variance, second, 1e-2, 1e-6)
        yield from _differs("stddev", dist, dist.stddev, variance.sqrt(), 1e-9)
    if entropy is not None:
        terms = mass * dist.log_prob(y)
        yield from _differs(
            "entropy", dist, entropy, -torch.where(mass > 0, terms, 0.0).sum(0), 1e-4, 1e-4
        )
    mode = _asked(dist, "mode")
    if mode is not None:
        support: Any = dist.support
        inside = support.check(mode)  # a pole at the end of the support may not belong to it
        excess = dist.log_prob(y).amax(0) - dist.log_prob(mode)
        for row in (inside & (excess > 1e-6)).nonzero()[:1, 0].tolist():
            yield f"mode: {mode[row].item():g} is less likely than others {_setting(dist, row)}."


def _is_heavy_tailed(dist: Distribution) -> bool:
    """Whether much of the variance may lie beyond the quantile at 1 - 1e-9."""
    levels = torch.tensor([1e-9, 1e-6, 1 - 1e-6, 1 - 1e-9], dtype=torch.float64)[:, None]
    distance = (dist.icdf(levels.expand(-1, *dist.batch_shape)) - dist.median).abs()
    return bool(((distance[0] > 5 * distance[1]) | (distance[3] > 5 * distance[2])).any())


def _scores(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    """E|Y - y| - E|Y - Y'| / 2, by quantiles: 2 E[(1{y <= Y_q} - q) (Y_q - y)]."""
    dist = family.from_raw(raw)
    y = dist.sample(generator=generator).double()
    crps = _asked(dist, "crps", y)
    variance = _asked(dist, "variance")
    if crps is None or variance is None or not bool((variance < torch.inf).all()):
        return
    count = 4000
    q = ((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None].expand(-1, len(raw))
    quantile = dist.icdf(q)
    expected = 2 * (((y <= quantile).double() - q) * (quantile - y)).mean(0)
    yield from _differs("crps", dist, crps, expected, 2e-2, 1e-3 * dist.stddev.max().item())


def _outcomes(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    dist = family.from_raw(raw)
    total = dist.log_prob(dist.enumerate_support(expand=True)).exp().sum(0)
    yield from _differs("the sum of the probabilities", dist, total, torch.ones(()), 1e-9)


def _compiles(family: Family, raw: Tensor, generator: torch.Generator) -> Iterator[str]:
    torch.compiler.reset()
    head = DistributionHead(family, 3, event_shape=family.event_shape)
    features = torch.randn(5, 3, generator=generator)
    y = family.from_raw(raw[:1].float()).expand((5,)).sample(generator=generator)

    def loss(features: Tensor, y: Tensor) -> Tensor:
        return nll(head(features), y)

    with torch.no_grad():
        expected = loss(features, y)
    got = torch.compile(loss, fullgraph=True)(features, y)
    if not torch.allclose(got, expected, rtol=1e-4, atol=1e-5):
        yield f"compile: the compiled loss is {got.item():g}, the loss is {expected.item():g}."
