"""`Success`: what distributions with one probability, given as probs or logits, have in common."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from disthead.distributions.discrete import Discrete
from disthead.special.probabilities import log_complement, log_odds, log_probability

__all__ = ["Success"]


class Success(Discrete):
    """Counts of trials that succeed with one probability, `probs` = 1 / (1 + exp(-logits)).

    Subclasses store either `logits` or `given_probs`. The answers come from the one that was given,
    since infinite logits have no gradient, and 1 - probs loses digits where logits do not.
    """

    given_probs: Tensor | None = None

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        super()._store(event_shape, **parameters)
        if "given_probs" in parameters:
            self.logits = log_odds(parameters["given_probs"])

    @property
    def probs(self) -> Tensor:
        """The probability of success, shape (...,)."""
        return self.logits.sigmoid() if self.given_probs is None else self.given_probs

    @property
    def _failure(self) -> Tensor:
        """1 - probs."""
        return (-self.logits).sigmoid() if self.given_probs is None else 1 - self.given_probs

    @property
    def _log_success(self) -> Tensor:
        if self.given_probs is None:
            return logsigmoid(self.logits)
        return log_probability(self.given_probs)

    @property
    def _log_failure(self) -> Tensor:
        if self.given_probs is None:
            return logsigmoid(-self.logits)
        return log_complement(self.given_probs)

    def _both(self) -> tuple[Tensor, Tensor]:
        """The probabilities of failure and success, (..., 2), and their logarithms."""
        return torch.stack([self._failure, self.probs], -1), torch.stack(
            [self._log_failure, self._log_success], -1
        )
