"""`Wrapper`: what distributions made from another one hand on from it."""

import torch
from torch import Tensor

from disthead.families.distribution import Distribution

__all__ = ["Wrapper"]


class Wrapper(Distribution):
    """A distribution made from `base`, whose parameters, precision and device are its own."""

    base: Distribution

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.base.parameters

    @property
    def dtype(self) -> torch.dtype:
        return self.base.dtype

    @property
    def device(self) -> torch.device:
        return self.base.device
