"""Linear-chain conditional random fields: labels of positions that depend on their neighbours."""

from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl
from torch.nn import functional

from disthead.distributions.base import tensors
from disthead.distributions.label_sequence import LabelSequence, as_lengths
from disthead.errors import locate
from disthead.special.probabilities import divergence, entropy_term, expected, log_sum_exp

__all__ = ["LinearChain"]


class LinearChain(LabelSequence):
    """A linear-chain conditional random field: one of K labels for each of T positions.

    P(y) is proportional to exp(start[y_1] + sum_t emissions_t[y_t] + sum_t transitions[y_t,
    y_{t+1}] + end[y_T]), where the sums go over the positions within the length of the row. A score
    of -inf excludes a label or a transition. Source: Lafferty and others 2001.

    A target has one label for each position within the length, and -1 after them, shape (..., T).

    Args:
        emissions: the score of each label at each position, shape (..., T, K).
        transitions: the score of label j after label i, shape (K, K) or (..., K, K).
        start: the score of each label at the first position, shape (K,) or (..., K); None for 0.
        end: the same at the last position of each row.
        lengths: the number of positions of each row, shape (...,), from 1 to T; None for T.

    Raises:
        ValueError: for shapes or lengths that do not fit.

    >>> stay = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> dist = LinearChain(torch.tensor([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), stay)
    >>> dist.mode, dist.marginal_probs[:, 0]
    (tensor([0, 0, 0]), tensor([0.9712, 0.9158, 0.9712]))
    """

    arg_constraints = {
        "emissions": constraints.independent(constraints.real, 2),
        "transitions": constraints.independent(constraints.real, 2),
        "start": constraints.real_vector,
        "end": constraints.real_vector,
        "lengths": constraints.positive_integer,
    }
    parameter_dims = {"emissions": 2, "transitions": 2, "start": 1, "end": 1}
    emissions: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor

    def __init__(self, emissions, transitions, start=None, end=None, lengths=None):
        emissions, transitions, start, end = tensors(emissions, transitions, start, end)
        lengths = as_lengths(lengths, emissions, "emissions")
        *batch, positions, size = emissions.shape
        scores = {"transitions": transitions, "start": start, "end": end}
        for name, score in scores.items():
            own = (size,) * self.parameter_dims[name]
            if score is None:
                scores[name] = emissions.new_zeros(own)
            elif tuple(score.shape) not in (own, (*batch, *own)):
                each = f" or {(*batch, *own)}" if batch else ""
                raise ValueError(
                    f"{name} must have the shape {own}{each}, of the {size} labels of emissions, "
                    f"got {tuple(score.shape)}."
                )
        self._store((positions,), emissions=emissions, **scores, lengths=lengths)

    def _fits(self, y: Tensor) -> Tensor:
        return (y >= 0).sum(-1) == self.lengths

    def _misfit(self, y: Tensor, misfits: Tensor, name: str) -> str:
        counts = (y >= 0).sum(-1)
        both = torch.stack([counts, self.lengths.expand_as(counts)], -1)
        return (
            f"{name} must have one label for each position within the lengths, and -1 after them, "
            f"got [labels, length] = {locate(misfits, both)}. Give lengths=({name} >= 0).sum(-1) "
            "to the distribution if the padding of the targets is right."
        )

    def log_prob(self, y: Tensor) -> Tensor:
        """The logarithm of P(y): the score of y less `log_normalizer`.

        It is -inf, with gradient 0, for a target that is no label sequence of the row's length.
        """
        shape = torch.broadcast_shapes(self.batch_shape, y.shape[:-1])
        y = y.expand(*shape, -1)
        is_possible = self.support.check(y)
        y = functional.pad(y.long(), (0, self.event_shape[0] - y.shape[-1]), value=-1)
        is_label = (y >= 0) & is_possible.unsqueeze(-1)
        y = torch.where(is_label, y, 0)
        emitted = self._scores.expand(*shape, -1, -1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        pairs = y[..., :-1] * self.num_labels + y[..., 1:]
        passed = self.transitions.flatten(-2).expand(*shape, -1).gather(-1, pairs)
        last = y.gather(-1, self.lengths.expand(shape).unsqueeze(-1).long() - 1)
        score = (
            torch.where(is_label, emitted, 0.0).sum(-1)
            + torch.where(is_label[..., 1:], passed, 0.0).sum(-1)
            + self.start.expand(*shape, -1).gather(-1, y[..., :1]).squeeze(-1)
            + self.end.expand(*shape, -1).gather(-1, last).squeeze(-1)
        )
        return torch.where(is_possible, score - self.log_normalizer, -torch.inf)

    @property
    def _scores(self) -> Tensor:
        """The emissions, which are 0 beyond the lengths."""
        return self.emissions.masked_fill(~self._is_inside.unsqueeze(-1), 0.0)

    @property
    def log_normalizer(self) -> Tensor:
        """The logarithm of the sum of exp(score) over all label sequences, shape (...,).

        It is computed by the forward algorithm, from the last position to the first, in O(T K^2).
        """
        return log_sum_exp(self.start + self._after(log_sum_exp)[..., 0, :])

    def _after(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """For each position and label: the score of what comes from there on, shape (..., T, K).

        It includes the label's own emission, and is reduced over the labels that come after it.
        """
        scores, is_inside = self._scores, self._is_inside
        value = scores[..., -1, :] + self.end
        values = [value]
        for t in range(scores.shape[-2] - 2, -1, -1):
            later = reduce(self.transitions + value.unsqueeze(-2))
            value = scores[..., t, :] + torch.where(is_inside[..., t + 1, None], later, self.end)
            values.append(value)
        return torch.stack(values[::-1], -2)

    def _walk(self, after: Tensor, noise: Tensor) -> Tensor:
        """The best label of each position after the one before it, padded with -1.

        Args:
            after: as `_after` returns it.
            noise: is added to it, shape (..., T, K), with sample dimensions in front.
        """
        scores = after + noise
        shape = scores.shape[:-2]
        transitions = self.transitions.expand(*shape, -1, -1)
        label = (self.start + scores[..., 0, :]).argmax(-1)
        labels = [label]
        for t in range(1, scores.shape[-2]):
            row = label[..., None, None].expand(*shape, 1, self.num_labels)
            passed = transitions.gather(-2, row).squeeze(-2)
            label = (passed + scores[..., t, :]).argmax(-1)
            labels.append(label)
        return torch.where(self._is_inside, torch.stack(labels, -1), -1)

    @property
    def mode(self) -> Tensor:
        """The most probable label sequence, padded with -1, by the algorithm of Viterbi (1967)."""
        after = self._after(lambda scores: scores.amax(-1))
        return self._walk(after, torch.zeros_like(after))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Exact samples, padded with -1.

        The sums of the forward algorithm filter from the last position to the first, and labels are
        drawn from the first to the last.
        """
        shape = (*self._extended_shape(sample_shape), self.num_labels)
        race = torch.empty(shape, dtype=self.dtype, device=self.device)
        race.exponential_(generator=generator)
        return self._walk(self._after(log_sum_exp), -race.log())

    def _chain(self) -> tuple[Tensor, Tensor]:
        """The log-probabilities of a Markov chain, which the labels are.

        Those of the first label have shape (..., K). Those of the label at t + 1, given that at t,
        have shape (..., T - 1, K, K), the label at t first.
        """
        after = self._after(log_sum_exp)
        first = self.start + after[..., 0, :]
        later = self.transitions.unsqueeze(-3) + after[..., 1:, None, :]
        return _normalised(first), _normalised(later)

    @property
    def marginal_probs(self) -> Tensor:
        """P(y_t = k) of each position and label, shape (..., T, K); 0 beyond the lengths."""
        return self._marginal_probs(*self._chain())

    def _marginal_probs(self, first: Tensor, later: Tensor) -> Tensor:
        probs = [first.exp()]
        for log_p in later.unbind(-3):
            probs.append((probs[-1].unsqueeze(-1) * log_p.exp()).sum(-2))
        return torch.where(self._is_inside.unsqueeze(-1), torch.stack(probs, -2), 0.0)

    def entropy(self) -> Tensor:
        """The entropy in nats: that of the first label, and of each other given the one before."""
        first, later = self._chain()
        return self._sum_of_choices(
            first, later, *(-entropy_term(log_p.exp(), log_p).sum(-1) for log_p in (first, later))
        )

    def _sum_of_choices(
        self, first: Tensor, later: Tensor, of_first: Tensor, of_later: Tensor
    ) -> Tensor:
        """The sum over positions of the expected quantity of each label, given the one before.

        Args:
            first: the chain, as `_chain` returns it.
            later: its second part.
            of_first: the quantity of the first label, shape (...,).
            of_later: that of the label at t + 1 for each label at t, shape (..., T - 1, K).
        """
        mean = expected(self._marginal_probs(first, later)[..., :-1, :], of_later)
        return of_first + torch.where(self._is_inside[..., 1:], mean, 0.0).sum(-1)


def _normalised(scores: Tensor) -> Tensor:
    """The log-probabilities of scores (..., K); all -inf where all scores are."""
    total = log_sum_exp(scores).unsqueeze(-1)
    return scores - torch.where(total == -torch.inf, 0.0, total)


@register_kl(LinearChain, LinearChain)
def _kl_linear_chain(p: LinearChain, q: LinearChain) -> Tensor:
    """The divergence, infinite where the lengths differ."""
    first, later = p._chain()
    choices = [
        divergence(log_p.exp(), log_p, log_q)
        for log_p, log_q in zip((first, later), q._chain(), strict=True)
    ]
    value = p._sum_of_choices(first, later, *choices)
    return torch.where(p.lengths == q.lengths, value, torch.inf)
