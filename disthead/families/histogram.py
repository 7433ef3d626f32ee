"""The histogram: any density as a step function, with exponential tails beyond the bins."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import as_integer, as_number
from disthead.distributions.base import positive, tensors
from disthead.distributions.continuous import Continuous, _kl_by_quadrature
from disthead.distributions.univariate import in_double, ratio
from disthead.families.family import Family
from disthead.links import LINKS, Link
from disthead.special.probabilities import divergence, entropy_term

__all__ = ["Histogram", "HistogramFamily"]

_REACH = 3.0  # of the default bins: standard deviations of standardised targets


class Histogram(Continuous):
    """Step function over K bins with exponential tails, on the real line.

    The probabilities p_0, ..., p_{K + 1} are softmax(logits): of the left tail, of the bins from
    the lowest to the highest, and of the right tail. The density is p_k / width_k in bin k,
    p_0 exp((y - edges_0) / tail_scale_0) / tail_scale_0 below the bins, and
    p_{K + 1} exp((edges_K - y) / tail_scale_1) / tail_scale_1 above them. Each bin contains its
    upper edge. All answers are exact; the divergence is exact between equal edges. Source: Gneiting
    and Raftery 2007 for the score; the tails are ours.

    Args:
        logits: unnormalised log-probabilities, shape (..., K + 2).
        tail_scale: mean distances of the tails from the bins, shape (..., 2), positive, in the
            units of y.
        edges: K + 1 rising numbers, the edges of the bins, in the units of y.
        log_tail_scale: log(tail_scale); the scales, their logarithms or both are given.

    >>> uniform = Histogram(torch.tensor([-90.0, 0.0, 0.0, -90.0]), torch.ones(2), edges=(0, 1, 2))
    >>> uniform.log_prob(torch.tensor(0.4)), uniform.icdf(torch.tensor(0.25))
    (tensor(-0.6931), tensor(0.5000))
    """

    arg_constraints = {
        "logits": constraints.independent(constraints.real, 1),
        "tail_scale": constraints.independent(constraints.positive, 1),
    }
    parameter_dims = {"logits": 1, "tail_scale": 1, "log_tail_scale": 1}
    support = constraints.real

    def __init__(self, logits, tail_scale=None, *, edges, log_tail_scale=None):
        logits, tail_scale, log_tail_scale = tensors(logits, tail_scale, log_tail_scale)
        tail_scale, log_tail_scale = positive(tail_scale, log_tail_scale)
        self.edges = torch.as_tensor(edges, dtype=torch.float64)
        self._store(logits=logits, tail_scale=tail_scale, log_tail_scale=log_tail_scale)

    @property
    def probs(self) -> Tensor:
        """The probabilities of left tail, bins and right tail, shape (..., K + 2)."""
        return self.logits.softmax(-1)

    @property
    def breakpoints(self) -> Tensor:
        """The points at which the density jumps, shape (K + 1,)."""
        return self.edges.to(self.logits)

    @property
    def _widths(self) -> Tensor:
        return self.breakpoints.diff()

    def _between_tails(self, bins: Tensor, tails: Tensor) -> Tensor:
        """Numbers (..., K + 2) from those of the bins (..., K) and of both tails (..., 2)."""
        bins = bins.expand(*tails.shape[:-1], bins.shape[-1])
        return torch.cat([tails[..., :1], bins, tails[..., 1:]], -1)

    @property
    def _log_heights(self) -> Tensor:
        """The log-densities in the bins, and of the tails where they begin, (..., K + 2)."""
        log_widths = self._between_tails(self._widths.log(), self.log_tail_scale)
        return self.logits.log_softmax(-1) - log_widths

    def _excess(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """How far y is beyond the bins, below and above, in scales of the tails."""
        first, last = self.breakpoints[0], self.breakpoints[-1]
        distances = torch.stack([(first - y).clamp(min=0), (y - last).clamp(min=0)], -1)
        below, above = ratio(distances, self.tail_scale, self.log_tail_scale).unbind(-1)
        return below, above

    def _piece(self, y: Tensor) -> Tensor:
        """The piece of the density that y lies in: 0 and K + 1 are the tails."""
        return (y.unsqueeze(-1) > self.breakpoints).sum(-1)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        below, above = self._excess(y)
        return _pick(self._log_heights, self._piece(y)) - below - above

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        piece, (below, above) = self._piece(y), self._excess(y)
        inside = (y - _pick(self._starts, piece)) / _pick(self._lengths, piece)
        share = torch.where(piece > len(self._widths), -torch.expm1(-above), inside)
        return self._log_of_sum(piece, piece == 0, share, self._cumulated()[0], 0, below)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        piece, (below, above) = self._piece(y), self._excess(y)
        inside = (_pick(self._ends, piece) - y) / _pick(self._lengths, piece)
        share = torch.where(piece == 0, -torch.expm1(-below), inside)
        in_tail = piece > len(self._widths)
        return self._log_of_sum(piece, in_tail, share, self._cumulated()[1], -1, above)

    def _log_of_sum(
        self, piece: Tensor, in_tail: Tensor, share: Tensor, whole: Tensor, tail: int, far: Tensor
    ) -> Tensor:
        """The log-probability of whole pieces and a share of one, or of the far end of a tail."""
        total = _pick(whole, piece) + _pick(self.probs, piece) * torch.where(in_tail, 0.0, share)
        total = torch.where(in_tail, 1.0, total.clamp(min=torch.finfo(total.dtype).tiny))
        return torch.where(in_tail, self.logits.log_softmax(-1)[..., tail] - far, total.log())

    def _cumulated(self) -> tuple[Tensor, Tensor]:
        """The probability below each piece, and that above it, both (..., K + 2)."""
        probs = self.probs
        none = torch.zeros_like(probs[..., :1])
        from_below, from_above = probs.cumsum(-1), probs.flip(-1).cumsum(-1).flip(-1)
        return torch.cat([none, from_below[..., :-1]], -1), torch.cat(
            [from_above[..., 1:], none], -1
        )

    @property
    def _starts(self) -> Tensor:
        """Where the pieces start; the left tail, at the first edge by convention."""
        return torch.cat([self.breakpoints[:1], self.breakpoints])

    @property
    def _ends(self) -> Tensor:
        return torch.cat([self.breakpoints, self.breakpoints[-1:]])

    @property
    def _lengths(self) -> Tensor:
        """The widths of the bins, 1 for the tails."""
        one = torch.ones_like(self._widths[:1])
        return torch.cat([one, self._widths, one])

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        from_below, from_above = self._cumulated()
        is_low, last = below <= above, len(self._widths) + 1
        low = (below.unsqueeze(-1) > from_below[..., 1:]).sum(-1)
        high = (above.unsqueeze(-1) <= from_above[..., :-1]).sum(-1)
        piece = torch.where(is_low, low, high)
        probability = _pick(self.probs, piece).clamp(min=torch.finfo(below.dtype).tiny)
        width = _pick(self._lengths, piece)
        y = torch.where(
            is_low,
            _pick(self._starts, piece) + width * (below - _pick(from_below, piece)) / probability,
            _pick(self._ends, piece) - width * (above - _pick(from_above, piece)) / probability,
        )
        log_probs, (first, second) = self.logits.log_softmax(-1), self.tail_scale.unbind(-1)
        y = torch.where(
            piece == 0, self.breakpoints[0] + first * (below.log() - log_probs[..., 0]), y
        )
        return torch.where(
            piece == last, self.breakpoints[-1] - second * (above.log() - log_probs[..., -1]), y
        )

    @property
    def _centres(self) -> Tensor:
        """The mean of y in each piece, (..., K + 2)."""
        edges = self.breakpoints
        tails = torch.stack(
            [edges[0] - self.tail_scale[..., 0], edges[-1] + self.tail_scale[..., 1]], -1
        )
        return self._between_tails((edges[1:] + edges[:-1]) / 2, tails)

    @property
    @in_double
    def mean(self) -> Tensor:
        return (self.probs * self._centres).sum(-1)

    @property
    @in_double
    def variance(self) -> Tensor:
        within = self._between_tails(self._widths.square() / 12, self.tail_scale.square())
        between = (self._centres - self.mean.unsqueeze(-1)).square()
        return (self.probs * (within + between)).sum(-1)

    @property
    def mode(self) -> Tensor:
        """The middle of the densest bin, or the number next to the bins if a tail is denser."""
        edges = self.breakpoints
        after = torch.nextafter(edges[-1:], torch.full_like(edges[-1:], math.inf))
        places = torch.cat([edges[:1], (edges[1:] + edges[:-1]) / 2, after])
        return places[self._log_heights.argmax(-1)]

    @torch.no_grad()
    def _shortest(self, level: float) -> tuple[Tensor, Tensor]:
        """The shortest of all intervals that can be the shortest.

        The length is linear in the probability below the interval while both ends are within bins.
        So an end lies at an edge, or in a tail where the density is that at the other end.
        """
        outside = 1 - level
        below_edges = self._cumulated()[0][..., 1:]
        heights, (left, right) = self._log_heights.exp(), self.tail_scale.unbind(-1)
        candidates = [
            below_edges,
            below_edges - level,
            left.unsqueeze(-1) * heights,
            outside - right.unsqueeze(-1) * heights,
            (outside * left / (left + right)).unsqueeze(-1),
        ]
        below = torch.cat(candidates, -1).clamp(0, outside).movedim(-1, 0)
        above = (outside - below).clamp(min=0)
        lower, upper = self._quantile(below, 1 - below), self._quantile(1 - above, above)
        best = (upper - lower).argmin(0, keepdim=True)
        return lower.gather(0, best).squeeze(0), upper.gather(0, best).squeeze(0)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy -sum_k p_k log(p_k / width_k), to which each tail adds its p, in nats."""
        in_tails = self.probs[..., 0] + self.probs[..., -1]
        return in_tails - entropy_term(self.probs, self._log_heights).sum(-1)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score, in the units of y, in closed form.

        It is the integral of cdf^2 below y and of (1 - cdf)^2 above it, piece by piece.
        """
        (from_below, from_above), widths = self._cumulated(), self._widths
        heights = self.probs[..., 1:-1] / widths
        lower, upper = self.breakpoints[:-1], self.breakpoints[1:]
        under = (torch.minimum(y.unsqueeze(-1), upper) - lower).clamp(min=0)
        over = (upper - torch.maximum(y.unsqueeze(-1), lower)).clamp(min=0)
        score = _integrated_square(from_below[..., 1:-1], heights, under).sum(-1)
        score = score + _integrated_square(from_above[..., 1:-1], heights, over).sum(-1)
        for tail, far in enumerate(self._excess(y)):
            weight = self.probs[..., 0 if tail == 0 else -1]
            reached = 2 * weight * torch.expm1(-far)
            score = score + self.tail_scale[..., tail] * (weight.square() / 2 + far + reached)
        return score


def _pick(values: Tensor, piece: Tensor) -> Tensor:
    """The entry `piece` of the last dimension of `values`, broadcast."""
    shape = torch.broadcast_shapes(values.shape[:-1], piece.shape)
    values = values.expand(*shape, values.shape[-1])
    return values.gather(-1, piece.expand(shape).unsqueeze(-1)).squeeze(-1)


def _integrated_square(start: Tensor, slope: Tensor, length: Tensor) -> Tensor:
    """The integral of (start + slope t)^2 over t from 0 to `length`."""
    rise = slope * length
    return length * (start.square() + start * rise + rise.square() / 3)


@register_kl(Histogram, Histogram)
def _kl_histogram(p: Histogram, q: Histogram) -> Tensor:
    """The divergence in nats: in closed form between equal edges, else by quadrature."""
    if p.edges.shape != q.edges.shape or bool((p.edges != q.edges).any()):
        return _kl_by_quadrature(p, q)
    dtype = torch.promote_types(p.dtype, q.dtype)
    p, q = p._in_double(), q._in_double()
    log_ratio = p.log_tail_scale - q.log_tail_scale
    of_tails = p.probs[..., [0, -1]] * (torch.expm1(log_ratio) - log_ratio)
    weights = divergence(p.probs, p.logits.log_softmax(-1), q.logits.log_softmax(-1))
    return (weights + of_tails.sum(-1)).to(dtype)


class HistogramFamily(Family):
    """The histogram family: p(y) = p_k / width_k in bin k, exponential beyond the bins, real y.

    Its parameters are `logits`, shape (..., K + 2), and `tail_scale`, shape (..., 2). A head's
    probabilities are (1 - smoothing) softmax(raw) + smoothing / (K + 2), so that no bin without
    training rows becomes impossible.

    Args:
        num_bins: K, the number of bins between -3 and 3: standard deviations of the targets from
            their mean where these are standardised, as estimators do.
        edges: K + 1 rising numbers in place of these bins.
        smoothing: the share of all probability that is spread evenly over bins and tails.

    Raises:
        ValueError: for edges that do not rise, no bin, or a smoothing outside of [0, 1).
    """

    name = "histogram"
    parameters = {"logits": LINKS["softmax"], "tail_scale": LINKS["softplus"]}
    support = constraints.real
    data_type = "univariate, continuous, unbounded"
    domain = "y in R"
    use = "regression with a density of any shape"
    loss = "cross-entropy of the bins"
    noise = (
        "Noise of any shape, at the resolution of the bins: skewed, with several peaks, or with "
        "gaps, and a different one for every row."
    )
    density = (
        "p(y) = softmax(logits)_k / width_k in bin k; exp(-d / tail_scale) / tail_scale times the "
        "probability of the tail at the distance d beyond the bins"
    )
    breaks = (
        "The density is constant within a bin, so that bins wider than the noise blur it. Each bin "
        "is learned on its own, which takes many rows."
    )
    remedy = (
        "quantile_function for a smooth density, mixture for a few peaks, student_t for symmetric "
        "noise with outliers and few rows."
    )

    def __init__(
        self,
        num_bins: int = 20,
        edges: Sequence[float] | None = None,
        smoothing: float = 0.01,
    ):
        self.smoothing = as_number(
            smoothing, "smoothing", "at least 0 and below 1", lambda share: 0 <= share < 1
        )
        if edges is None:
            num_bins = as_integer(num_bins, "num_bins", 1)
            edges = torch.linspace(-_REACH, _REACH, num_bins + 1, dtype=torch.float64).tolist()
        self.edges = tuple(float(edge) for edge in edges)
        self.num_bins = len(self.edges) - 1
        pairs = zip(self.edges, self.edges[1:], strict=False)
        rises = all(math.isfinite(b - a) and a < b for a, b in pairs)
        if self.num_bins < 1 or not rises:
            raise ValueError(
                "edges of histogram must be two or more finite numbers that rise strictly, got "
                f"{list(self.edges)}. Sort them, drop those that repeat, or give num_bins."
            )
        self.shapes = {"logits": (self.num_bins + 2,), "tail_scale": (2,)}

    def make(self, **parameters: Tensor) -> Histogram:
        return Histogram(**parameters, edges=self.edges)

    def constrain(self, raw: Mapping[str, Tensor], links: Mapping[str, Link]) -> dict[str, Tensor]:
        values = super().constrain(raw, links)
        if self.smoothing:
            log_probs = values["logits"].log_softmax(-1) + math.log1p(-self.smoothing)
            least = math.log(self.smoothing / (self.num_bins + 2))
            values["logits"] = torch.logaddexp(log_probs, torch.full_like(log_probs, least))
        return values

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        edges = torch.tensor(self.edges, dtype=y.dtype, device=y.device)
        piece = (y.unsqueeze(-1) > edges).sum(-1)
        counts = torch.nn.functional.one_hot(piece, self.num_bins + 2).sum(0)
        beyond = torch.stack([(edges[0] - y).clamp(min=0), (y - edges[-1]).clamp(min=0)], -1)
        # as if one more target were a bin's width away, where a tail has few or none
        width = (edges[-1] - edges[0]) / self.num_bins
        tail_scale = (beyond.sum(0) + width) / (counts[..., [0, -1]] + 1)
        # an empty bin counts as half a row
        return {"logits": (counts.clamp(min=0.5).to(y) / len(y)).log(), "tail_scale": tail_scale}
