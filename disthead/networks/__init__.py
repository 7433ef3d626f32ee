"""The modules of a tabular model, and the schedule and the averages of its training."""

from disthead.networks.schedule import WarmupConstantDecay
from disthead.networks.tabular import TabularBackbone

__all__ = ["TabularBackbone", "WarmupConstantDecay"]
