"""Pictures, checked without pixels."""

import matplotlib
import torch

import disthead as dh
from disthead.plots import prediction_band

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def test_prediction_band_draws_the_quantiles_in_the_order_of_x():
    x = torch.tensor([2.0, 0.0, 1.0])
    dist = dh.get_family("normal").distribution(loc=x, scale=torch.tensor([3.0, 1.0, 2.0]))
    figure = plt.figure()
    ax = prediction_band(figure.add_subplot(), x, dist, y=torch.zeros(3), levels=(0.5, 0.9))
    median = ax.lines[0]
    assert median.get_xdata().tolist() == [0.0, 1.0, 2.0]
    assert median.get_ydata().tolist() == [0.0, 1.0, 2.0]
    labels = [artist.get_label() for artist in ax.collections]
    assert labels == ["90 % interval", "50 % interval", "observed"]
    wide = ax.collections[0].get_paths()[0].vertices
    lower, upper = dist.interval(0.9)
    assert abs(wide[:, 1].min() - float(lower.min())) < 1e-5
    assert abs(wide[:, 1].max() - float(upper.max())) < 1e-5
    plt.close(figure)
