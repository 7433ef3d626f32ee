"""The modules of a tabular model, and what moves their weights: encoding, networks, learning rates, averages."""

from disthead.networks.schedule import WarmupConstantDecay
from disthead.networks.tabular import TabularBackbone

__all__ = ["TabularBackbone", "WarmupConstantDecay"]
