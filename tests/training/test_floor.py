"""A spread that would collapse stops at its floor, and training says so, once."""

import lightning
import numpy as np
import pytest
import torch

from disthead.training import DistributionModule, TabularDataModule


def fit(tmp_path, y, family="normal", **options):
    x = np.linspace(-1, 1, len(y))[:, None]
    data = TabularDataModule.from_arrays(x, y, batch_size=32)
    module = DistributionModule(
        family,
        hidden_sizes=[],
        optimizer={"class_path": "Adam", "init_args": {"lr": 0.05}},
        **options,
    )
    trainer = lightning.Trainer(
        max_epochs=60, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    return module


def noiseless():
    return 3.0 * np.linspace(-1, 1, 200)  # a straight line: the likelihood has no maximum


def test_noiseless_targets_warn_once_and_stay_above_the_floor(tmp_path):
    with pytest.warns(
        UserWarning, match="come down to its floor, 0.05 standard deviations"
    ) as caught:
        module = fit(tmp_path, noiseless(), min_scale=0.05)
    assert len([warning for warning in caught if "floor" in str(warning.message)]) == 1
    with torch.no_grad():
        scale = module(torch.linspace(-1, 1, 50)[:, None]).scale
    assert bool((scale >= 0.05 * module.target_scale).all())


@pytest.mark.parametrize(
    "options", [{}, {"family_options": {"rank": 1}}], ids=["scale_tril", "cov_diag"]
)
def test_vectors_stay_above_the_floor_in_every_direction(tmp_path, options):
    y = np.stack([noiseless(), 100 * noiseless()], 1)
    with pytest.warns(UserWarning, match="come down to its floor"):
        module = fit(tmp_path, y, "multivariate_normal", min_scale=0.05, **options)
    with torch.no_grad():
        standardised = (
            module(torch.linspace(-1, 1, 50)[:, None]).covariance / module.target_scale**2
        )
    assert bool((standardised.diagonal(dim1=-2, dim2=-1) >= 0.05**2).all())


def test_floor_is_off_on_request(tmp_path):
    module = fit(tmp_path, noiseless(), min_scale=0)  # warnings are errors
    with torch.no_grad():
        assert float(module(torch.zeros(1, 1)).scale) < 0.05 * float(module.target_scale)


def test_an_honest_spread_says_nothing(tmp_path, generator):
    fit(tmp_path, noiseless() + torch.randn(200, generator=generator).numpy())


def test_a_floor_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="min_scale must be 0"):
        DistributionModule("normal", min_scale=-1)
