"""Connectionist temporal classification: labels whose places in the input are not known."""

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn import functional

from disthead.arrays import as_integer
from disthead.distributions.base import tensors
from disthead.distributions.label_sequence import LabelSequence, as_lengths
from disthead.distributions.prefix_beam_search import prefix_beam_search
from disthead.errors import locate

__all__ = ["CTC"]


class CTC(LabelSequence):
    """Connectionist temporal classification: P(y) is the sum over all alignments of y.

    An alignment (path) has one of K outcomes for each of T frames, independent of each other:
    P(path) = prod_t softmax(logits_t)[path_t]. Its label sequence is what is left when repeated
    outcomes are merged and then blanks are removed: with the blank 0, the paths 1 1 0 2 and 0 1 2 2
    are both the sequence 1 2. Two equal labels in a row need a blank between them. A sequence of L
    labels with R such pairs therefore needs at least L + R frames, and has probability 0 with
    fewer. Source: Graves and others 2006.

    Targets are labels, padded with -1, shape (..., S) with S <= T.

    Args:
        logits: scores of the K outcomes, the blank among them, shape (..., T, K).
        lengths: the number of frames of each row, shape (...,), from 1 to T; None for T.
        blank: the outcome that is no label, from 0 to K - 1.

    Raises:
        ValueError: for shapes, lengths or a blank that do not fit.

    >>> dist = CTC(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]))
    >>> dist.best_path(), dist.log_prob(torch.tensor([1, 2])).exp()
    (tensor([1, 2]), tensor(0.6193))
    """

    arg_constraints = {
        "logits": constraints.independent(constraints.real, 2),
        "lengths": constraints.positive_integer,
    }
    parameter_dims = {"logits": 2}
    logits: Tensor
    blank: int

    def __init__(self, logits, lengths=None, blank: int = 0):
        (logits,) = tensors(logits)
        lengths = as_lengths(lengths, logits, "logits")
        outcomes = logits.shape[-1]
        if as_integer(blank, "blank", least=0) >= outcomes:
            raise ValueError(
                f"blank must be one of the outcomes 0, ..., {outcomes - 1} of logits, got {blank}. "
                "The blank counts among the K outcomes."
            )
        self.blank = blank
        self._store(tuple(logits.shape[-2:-1]), logits=logits, lengths=lengths)

    def log_prob(self, y: Tensor) -> Tensor:
        """The logarithm of P(y), summed over all alignments by the forward algorithm.

        It is minus `torch.nn.functional.ctc_loss`. It is -inf, with gradient 0, for a target that
        is no label sequence or needs more frames than its input has. It has no second derivatives.
        """
        shape = torch.broadcast_shapes(self.batch_shape, y.shape[:-1])
        if not shape.numel():  # which ctc_loss refuses
            return self.logits.sum((-2, -1)).expand(shape)
        y = y.expand(*shape, -1)
        is_possible = self.support.check(y)
        # rows without probability are computed for a sequence that always has some, the empty one
        y = torch.where(is_possible.unsqueeze(-1), y.long(), -1)
        y = y.reshape(shape.numel(), y.shape[-1])
        lengths = self.lengths.expand(shape).reshape(-1).long()
        log_p, least = _without_infinities(self._log_p)
        log_p = log_p.expand(*shape, -1, -1).reshape(shape.numel(), *log_p.shape[-2:])
        value = -functional.ctc_loss(
            log_p.transpose(0, 1),
            functional.pad(y, (0, 1), value=-1).clamp(min=0),
            lengths,
            (y >= 0).sum(-1),
            self.blank,
            reduction="none",
        ).reshape(shape)
        if least is not None:
            value = torch.where(value < least, -torch.inf, value)
        return torch.where(is_possible, value, -torch.inf)

    @property
    def _log_p(self) -> Tensor:
        """The log-probabilities of the outcomes, which are uniform in padded frames."""
        return self.logits.masked_fill(~self._is_inside.unsqueeze(-1), 0.0).log_softmax(-1)

    def _advice(self, y: Tensor, wrong: Tensor, name: str) -> str:
        if bool((y[wrong] == self.blank).all()):
            return f"{self.blank} is the blank, which is between labels by itself: remove it."
        return super()._advice(y, wrong, name)

    def _fits(self, y: Tensor) -> Tensor:
        return _frames_needed(y) <= self.lengths

    def _misfit(self, y: Tensor, misfits: Tensor, name: str) -> str:
        needed = _frames_needed(y)
        both = torch.stack([needed, self.lengths.expand_as(needed)], -1)
        return (
            f"{name} must not need more frames than its input has (one per label, and one more "
            f"between equal neighbours), got [needed, frames] = {locate(misfits, both)}. Give "
            "longer inputs, by less downsampling, or leave these rows out."
        )

    def best_path(self) -> Tensor:
        """The label sequence of the most probable alignment, padded with -1, shape (..., T).

        It takes the most probable outcome of each frame. Another sequence may have more
        probability, since it adds up that of more alignments: see `beam_search`.
        """
        return self._collapse(self.logits.argmax(-1))

    @torch.no_grad()
    def beam_search(self, width: int = 16) -> tuple[Tensor, Tensor]:
        """The most probable label sequences, found by prefix beam search.

        From frame to frame the `width` prefixes of most probability are kept, which is summed over
        all alignments of a prefix. With a width of at least the number of prefixes it finds all
        sequences; a narrow beam may miss the most probable one. Source: Graves and others 2006,
        section 3.2, in the breadth-first form of Hannun and others 2014, without a language model.

        Args:
            width: how many prefixes are kept, and sequences returned.

        Returns:
            sequences, shape (width, ..., T), padded with -1, the most probable first; and their
            exact log_prob, shape (width, ...), which is -inf where there are not as many sequences.
            Neither has a gradient: log_prob(sequences) has.

        Raises:
            ValueError: for a width below 1.

        >>> dist = CTC(torch.tensor([[0.0, 0.2, -9.0], [0.0, 0.2, -9.0]]))
        >>> sequences, log_prob = dist.beam_search(2)
        >>> sequences.tolist(), log_prob.exp()
        ([[1, -1], [-1, -1]], tensor([0.7973, 0.2026]))
        """
        width, frames = as_integer(width, "width"), self.event_shape[0]
        log_p = self._log_p.double().cpu().numpy()
        log_p = log_p.reshape(self.batch_shape.numel(), frames, self.num_labels)
        sequences = np.full((width, len(log_p), frames), -1)
        exists = np.zeros((width, len(log_p)), dtype=bool)
        for row, (scores, length) in enumerate(
            zip(log_p, self.lengths.reshape(-1).tolist(), strict=True)
        ):
            for rank, prefix in enumerate(
                prefix_beam_search(scores[: int(length)], width, self.blank)
            ):
                sequences[rank, row, : len(prefix)] = prefix
                exists[rank, row] = True
        y = torch.from_numpy(sequences).to(self.device).reshape(width, *self.batch_shape, frames)
        is_sequence = torch.from_numpy(exists).to(self.device).reshape(width, *self.batch_shape)
        log_prob = torch.where(is_sequence, self.log_prob(y), -torch.inf)
        order = log_prob.argsort(dim=0, descending=True, stable=True)
        return y.gather(0, order.unsqueeze(-1).expand(y.shape)), log_prob.gather(0, order)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples: label sequences of sampled alignments, padded with -1."""
        shape = (*self._extended_shape(sample_shape), self.num_labels)
        race = torch.empty(shape, dtype=self.dtype, device=self.device)
        race.exponential_(generator=generator)
        return self._collapse((self.logits - race.log()).argmax(-1))

    def _collapse(self, path: Tensor) -> Tensor:
        """The label sequences of alignments (..., T): merged, without blanks, padded with -1."""
        before = functional.pad(path[..., :-1], (1, 0), value=-1)
        is_kept = (path != self.blank) & (path != before) & self._is_inside
        order = (~is_kept).to(torch.uint8).argsort(dim=-1, stable=True)
        return torch.where(is_kept, path, -1).gather(-1, order)

    @property
    def mode(self) -> Tensor:
        raise self._unanswered(
            "mode",
            "no exact search for the most probable sequence is feasible; best_path() and "
            "beam_search(width) look for it.",
        )

    def entropy(self) -> Tensor:
        raise self._unanswered(
            "entropy",
            "the sum over all label sequences is not feasible; -log_prob(sample((100,))).mean(0) "
            "estimates it.",
        )


def _frames_needed(y: Tensor) -> Tensor:
    """The least number of frames for label sequences (..., S): labels and equal neighbours."""
    return (y >= 0).sum(-1) + ((y[..., 1:] == y[..., :-1]) & (y[..., 1:] >= 0)).sum(-1)


def _without_infinities(log_p: Tensor) -> tuple[Tensor, Tensor | None]:
    """Finite log-probabilities, and a number below which a sum over paths is one over none.

    ctc_loss makes a gradient of NaN where an outcome has probability 0. Such an outcome gets a
    log-probability so low that each path through it is below every path of others.
    """
    is_excluded = log_p == -torch.inf
    if not bool(is_excluded.any()):
        return log_p, None
    frames = log_p.shape[-2]
    least = frames * torch.where(is_excluded, 0.0, log_p).detach().amin()
    # a sum over paths exceeds its largest term by less than log(3) per frame
    return torch.where(is_excluded, 2 * least - 8 * frames, log_p), least - 4 * frames
