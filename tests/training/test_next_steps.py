"""What `disthead fit` recommends after a training can be done."""

import pytest
import torch

from disthead import explanation, families, get_family
from disthead.calibration import ScaleCalibration, TemperatureScaling
from disthead.training.commands import _recalibration_of


@pytest.mark.parametrize("name", families())
def test_a_recalibration_is_recommended_where_one_takes_the_family(name):
    family = explanation.example(name)
    advice = _recalibration_of(family)
    if advice is not None:
        method = TemperatureScaling if advice else ScaleCalibration
        assert advice in ("", " --method TemperatureScaling")
        assert method().suits(family.from_raw(torch.zeros(family.width())))
        return
    dist = family.from_raw(torch.linspace(-0.5, 0.7, family.width()).expand(9, -1))
    y = dist.sample(generator=torch.Generator().manual_seed(0))
    if name == "censored":  # one row that still runs
        y = torch.stack([y, y.where(torch.arange(9) > 0, torch.inf)], -1)
    for method in (ScaleCalibration, TemperatureScaling):
        with pytest.raises((ValueError, NotImplementedError)):
            method().fit(dist, y)


def test_a_wrapper_is_judged_by_its_kind():
    assert _recalibration_of(get_family("hurdle", base="poisson")) == ""
    assert _recalibration_of(get_family("hurdle", base="gamma")) is None
