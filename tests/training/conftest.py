"""A quiet trainer and small tables."""

import warnings

import lightning
import pandas as pd
import pytest
import torch


@pytest.fixture
def trainer(tmp_path):
    """A function that makes a trainer without logs and bars."""

    def make(epochs: int = 2, **options) -> lightning.Trainer:
        defaults = {
            "max_epochs": epochs,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": "callbacks" in options,
            "default_root_dir": tmp_path,
            "log_every_n_steps": 1,
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory")
            return lightning.Trainer(**defaults | options)

    return make


@pytest.fixture
def frame(generator) -> pd.DataFrame:
    """200 rows: two numbers, a colour, and targets of several kinds that depend on them."""
    x = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(200, generator=generator, dtype=torch.float64)
    colour = torch.randint(3, (200,), generator=generator)
    y = 100 + 20 * (x[:, 0] + 0.5 * colour + 0.5 * noise)
    return pd.DataFrame(
        {
            "x": x[:, 0].numpy(),
            "z": 1000 + x[:, 1].numpy(),
            "colour": [("red", "green", "blue")[k] for k in colour],
            "y": y.numpy(),
        }
    )
