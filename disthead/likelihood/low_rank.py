"""`LowRankParameters`: the fused log-likelihood of a low-rank normal, a few long rows at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from disthead.distributions.base import HALF_LOG_TWO_PI
from disthead.likelihood.chunks import CHUNK_ELEMENTS
from disthead.likelihood.linked import LinkedParameters

__all__ = ["LowRankParameters"]


class LowRankParameters(LinkedParameters):
    """Raw outputs of a low-rank normal.

    Its rows are worked on as they lie in memory, since a single row may fill the cache.
    """

    @property
    def has_fused_loss(self) -> bool:
        """Whether `log_prob` answers: not in double precision.

        The unconditional fit asks in double precision for one distribution of all targets, for
        which the formula is quicker.
        """
        return self.raw.dtype != torch.float64 and super().has_fused_loss

    def value_and_grad(
        self, raw: Tensor, y: Tensor, needs_grad: bool
    ) -> tuple[Tensor, Tensor | None]:
        batch, event = raw.shape[:-1], self.formula.event_shape
        rows = raw.detach().reshape(-1, raw.shape[-1])
        targets = y.expand(batch + event).reshape(-1, *event)
        value = torch.empty(len(rows), dtype=self.dtype, device=raw.device)
        derivatives = rows.new_empty(rows.shape, dtype=self.dtype) if needs_grad else None
        size = max(2 * CHUNK_ELEMENTS // rows.shape[-1], 1) if raw.is_cpu else max(len(rows), 1)
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            value[chunk], slopes = self._of_chunk(rows[chunk], targets[chunk], needs_grad)
            if derivatives is not None:
                parts = self.formula.split(derivatives[chunk]).values()
                for part, slope in zip(parts, slopes, strict=True):
                    part.copy_(slope)
        return value.resize_(batch), None if derivatives is None else derivatives.reshape(raw.shape)

    def _of_chunk(self, raw: Tensor, y: Tensor, needs_grad: bool) -> tuple[Tensor, list[Tensor]]:
        """log_prob of a chunk and its derivatives by each parameter's raw outputs, in double.

        With A and e for the factor and the deviation in units of each coordinate's own noise, one
        QR decomposition of [A e; I 0] has all of it: its last column is what the likeliest common
        causes x leave unexplained, e - A x, and -x (`LowRankMultivariateNormal._whiten`).
        """
        loc, factor, own = self.formula.split(raw).values()
        value_and_slope: Any = self.formula.links["cov_diag"].value_and_slope
        diagonal = value_and_slope(own.double())
        inverse_spread = (-0.5 * diagonal.log).exp()
        rows, size, rank = factor.shape
        columns = inverse_spread.new_empty(rows, rank + 1, size + rank)
        identity = torch.eye(rank + 1, rank, dtype=columns.dtype, device=columns.device)
        columns[..., size:] = identity
        columns[:, :rank, :size].copy_(factor.mT).mul_(inverse_spread.unsqueeze(-2))
        columns[:, rank, :size].copy_(y).sub_(loc).mul_(inverse_spread)
        directions, upper = torch.linalg.qr(columns.mT, mode="reduced" if needs_grad else "r")
        triangle, explained = upper[:, :rank].tensor_split([rank], -1)
        length = upper[:, rank:, rank:]
        half_log_det = triangle.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        half_log_det = half_log_det + 0.5 * diagonal.log.sum(-1)
        value = -0.5 * length.square().sum((-2, -1)) - half_log_det - size * HALF_LOG_TWO_PI
        if not needs_grad:
            return value, []
        directions = directions.mT[..., :size]
        unexplained = length.squeeze(-1) * directions[:, rank]
        # By A it is (e - A x) x^T - A (I + A^T A)^-1, where A = directions^T triangle and triangle
        # x = explained.
        solved = torch.cat([-identity[:rank].expand_as(triangle), length * explained], -1)
        by_effects = solve_triangular(triangle, solved, upper=True) @ directions
        leverage = directions[:, :rank].square_().sum(-2)  # in place: they have served
        return value, [
            inverse_spread * unexplained,
            by_effects.mul_(inverse_spread.unsqueeze(-2)).mT,
            diagonal.by_raw(0.5 * (unexplained.square() + leverage - 1)),
        ]
