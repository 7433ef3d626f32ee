"""Likelihoods of sequences of labels under their names, and perplexity."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.ctc import CTC
from disthead.distributions.independent import Independent
from disthead.distributions.label_sequence import LabelSequence
from disthead.distributions.linear_chain import LinearChain
from disthead.losses import as_targets, cross_entropy

__all__ = ["crf", "ctc", "sequence_cross_entropy"]


@dataclass(frozen=True)
class sequence_cross_entropy:
    """The negative log-likelihood of a sequence of classes: its cross-entropies, added up.

        - sum over positions t that count of log p_t(y_t), in nats per row

    Where the logits of position t depend on the labels before it (a language model with teacher
    forcing), it is the negative log-likelihood of the whole sequence, by the chain rule. The mean
    over rows weighs a row by its length; `perplexity` and `bits_per_token` are means over
    positions. Source: Jelinek and others 1977.

    Args:
        ignore_index: the label of positions that do not count, such as padding or a prompt; None
            for no such label.

    Raises:
        ValueError: for an ignore_index that is no integer.

    >>> import torch, disthead as dh
    >>> words = dh.get_family("categorical", num_classes=4).from_raw(torch.zeros(2, 3, 4))
    >>> sequence_cross_entropy()(words.to_event(1), torch.tensor([[3, 0, 1], [2, -100, -100]]))
    tensor([4.1589, 1.3863])
    """

    ignore_index: int | None = -100

    def __post_init__(self) -> None:
        if not isinstance(self.ignore_index, int | None) or isinstance(self.ignore_index, bool):
            raise ValueError(
                f"ignore_index must be an integer such as -100, or None, got {self.ignore_index!r}."
            )

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The loss of each row, shape (...,).

        Args:
            dist: a categorical distribution of batch_shape (..., T) after `to_event(1)`, so of
                batch_shape (...,) and event_shape (T,).
            y: labels, shape (..., T).

        Raises:
            NotImplementedError: for other distributions.
            TargetError: for numbers that are no class, with their rows.
            ValueError: for another shape.
        """
        dist = _classes_in_a_row(dist, "sequence_cross_entropy")
        return dist._add_up(_of_positions(dist, as_targets(dist, y), self.ignore_index))


def perplexity(dist: Distribution, y: Any, ignore_index: int | None = -100) -> Tensor:
    """Exp of the mean cross-entropy of all positions that count, a single number.

    It is the number of equally probable labels among which a model is as uncertain. Of several
    batches it is exp of the mean over all their positions, not the mean of their perplexities.
    Source: Jelinek and others 1977.

    Args:
        dist: as of `sequence_cross_entropy`.
        y: labels, shape (..., T).
        ignore_index: the label of positions that do not count.

    Raises:
        NotImplementedError, TargetError: as `sequence_cross_entropy`.
        ValueError: where no position counts, and as `sequence_cross_entropy`.

    >>> import torch, disthead as dh
    >>> words = dh.get_family("categorical", num_classes=4).from_raw(torch.zeros(2, 3, 4))
    >>> perplexity(words.to_event(1), torch.tensor([[3, 0, 1], [2, -100, -100]]))
    tensor(4.)
    """
    return _mean_of_positions(dist, y, ignore_index, "perplexity").exp()


def bits_per_token(dist: Distribution, y: Any, ignore_index: int | None = -100) -> Tensor:
    """The mean cross-entropy of all positions that count, in bits, a single number.

    It is the base-2 logarithm of `perplexity`, and takes and raises the same.

    >>> import torch, disthead as dh
    >>> words = dh.get_family("categorical", num_classes=4).from_raw(torch.zeros(2, 3, 4))
    >>> bits_per_token(words.to_event(1), torch.tensor([[3, 0, 1], [2, -100, -100]]))
    tensor(2.)
    """
    return _mean_of_positions(dist, y, ignore_index, "bits_per_token") / math.log(2)


def crf(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood of a linear-chain conditional random field, in nats per row.

    It is log(sum of exp(score) over all label sequences) - score(y). Source: Lafferty and others
    2001.

    Args:
        dist: a `disthead.distributions.LinearChain` of batch_shape (...,).
        y: one label for each position within the lengths, and -1 after them, shape (..., T).

    Raises:
        NotImplementedError: for other distributions.
        TargetError: for targets that are no label sequences of the lengths, with their rows.
        ValueError: for another shape.

    >>> import torch
    >>> crf(LinearChain(torch.zeros(1, 3, 2), torch.zeros(2, 2)), torch.tensor([[0, 1, 1]]))
    tensor([2.0794])
    """
    if not isinstance(dist, LinearChain):
        raise NotImplementedError(
            f"{type(dist).__name__} has no crf: it has no scores of transitions. "
            "disthead.distributions.LinearChainHead makes a distribution that has."
        )
    return _checked_nll(dist, y)


def ctc(dist: Distribution, y: Any) -> Tensor:
    """The negative log-likelihood of connectionist temporal classification, in nats per row.

    It is -log of the sum over all alignments of the labels with the frames of the input, and equals
    `torch.nn.functional.ctc_loss(..., reduction="none")`. PyTorch's reduction "mean" divides each
    row by its number of labels first. Source: Graves and others 2006.

    Args:
        dist: a `disthead.distributions.CTC` of batch_shape (...,).
        y: labels, padded with -1, shape (..., S), of at most T columns.

    Raises:
        NotImplementedError: for other distributions.
        TargetError: for targets that are no label sequences, or need more frames than their inputs
            have, with their rows.
        ValueError: for another shape.

    >>> import torch
    >>> logits = torch.tensor([[[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]])
    >>> ctc(CTC(logits), torch.tensor([[1, 2]]))
    tensor([0.4791])
    """
    if not isinstance(dist, CTC):
        raise NotImplementedError(
            f"{type(dist).__name__} has no ctc: it has no alignments of labels with frames. "
            "disthead.distributions.CTC(logits, lengths) makes a distribution that has."
        )
    return _checked_nll(dist, y)


def _checked_nll(dist: LabelSequence, y: Any) -> Tensor:
    y = as_targets(dist, y)
    dist.check_target(y)
    return -dist.log_prob(y)


def _mean_of_positions(
    dist: Distribution, y: Any, ignore_index: int | None, question: str
) -> Tensor:
    dist = _classes_in_a_row(dist, question)
    y = as_targets(dist, y)
    values = _of_positions(dist, y, ignore_index)
    count = values.numel() if ignore_index is None else int((y != ignore_index).sum())
    if not count:
        raise ValueError(
            f"{question} needs at least one position that counts, got {tuple(y.shape)} labels, all "
            f"of them ignore_index={ignore_index}."
        )
    return values.sum() / count


def _of_positions(dist: Independent, y: Tensor, ignore_index: int | None) -> Tensor:
    """The cross-entropy of each position, 0 for those that do not count."""
    return cross_entropy(dist.base, y, ignore_index=ignore_index, reduction="none")


def _classes_in_a_row(dist: Distribution, question: str) -> Independent:
    if isinstance(dist, Independent) and dist.base.kind == "classes":
        return dist
    raise NotImplementedError(
        f"{type(dist).__name__} has no {question}: it is no sequence of classes. dist.to_event(1) "
        "makes one of a categorical distribution of batch_shape (..., T)."
    )
