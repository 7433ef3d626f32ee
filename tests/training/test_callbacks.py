"""Weights averaged in Lightning's training: what is validated, saved, resumed and left."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from disthead.training import DistributionModule, TabularDataModule
from disthead.training.callbacks import AverageWeights


class Recorder(Callback):
    """Weights after each step, and in each validation."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, module, *arguments):
        self.steps.append(weights_of(module))

    def on_validation_batch_start(self, trainer, module, *arguments):
        if not trainer.sanity_checking:
            self.validated.append(weights_of(module))


def weights_of(module):
    return torch.cat(
        [parameter.detach().flatten() for parameter in module.head.parameters()]
    ).clone()


@pytest.fixture
def fit(trainer, frame):
    def run(folder, epochs, resume=None):
        lightning.seed_everything(0, verbose=False)
        module = DistributionModule("normal", hidden_sizes=[])
        recorder, saved = Recorder(), ModelCheckpoint(folder, save_last=True)
        callbacks = [AverageWeights(0.9), recorder, saved]
        trainer(epochs, callbacks=callbacks, enable_checkpointing=True).fit(
            module, TabularDataModule(frame, target="y", batch_size=16), ckpt_path=resume
        )
        return module, recorder, saved.last_model_path

    return run


def test_it_is_the_recursion_and_what_validation_sees(fit, tmp_path):
    module, recorder, _ = fit(tmp_path, 2)
    average, averages = recorder.steps[0], [recorder.steps[0]]
    for step, weights in enumerate(recorder.steps[1:], 2):
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights
        averages.append(average)
    half = len(averages) // 2
    assert torch.allclose(recorder.validated[0], averages[half - 1], atol=1e-6)
    assert torch.allclose(recorder.validated[-1], averages[-1], atol=1e-6)
    assert torch.allclose(weights_of(module), averages[-1], atol=1e-6)
    assert not torch.allclose(recorder.steps[-1], averages[-1], atol=1e-4)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_checkpoints_hold_the_average_and_training_goes_on_from_the_weights(fit, tmp_path):
    module, whole, path = fit(tmp_path / "whole", 4)
    assert torch.equal(
        weights_of(DistributionModule.load_from_checkpoint(path)), weights_of(module)
    )
    _, first, path = fit(tmp_path / "parts", 2)
    again, rest, _ = fit(tmp_path / "parts", 4, resume=path)
    for one, other in zip(whole.steps, first.steps + rest.steps, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(weights_of(again), weights_of(module), atol=1e-6)


class Watches(AverageWeights):
    """Looks at single steps itself."""

    def on_train_batch_end(self, *arguments):
        super().on_train_batch_end(*arguments)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_several_steps_at_once_give_the_averages_of_single_steps(
    trainer, frame, tmp_path, interval
):
    saved = {}
    scheduler = {"class_path": "ExponentialLR", "init_args": {"gamma": 0.99}, "interval": interval}
    for kind in (AverageWeights, Watches):
        lightning.seed_everything(0, verbose=False)
        module = DistributionModule("normal", hidden_sizes=[4], scheduler=scheduler)
        checkpoint = ModelCheckpoint(tmp_path / kind.__name__, monitor="val/nll")
        run = trainer(3, callbacks=[kind(0.9), checkpoint], enable_checkpointing=True)
        run.fit(module, TabularDataModule(frame, target="y", batch_size=16))
        saved[kind] = torch.load(checkpoint.best_model_path, weights_only=True) | {
            "left": module.state_dict()
        }
        assert len(run.train_dataloader) == {AverageWeights: 1, Watches: 8}[kind]
    several, single = saved.values()
    assert (
        several["averaging_state"] == single["averaging_state"] == {"n_averaged": torch.tensor(24)}
    )
    for part in ("state_dict", "current_model_state", "left"):
        torch.testing.assert_close(several[part], single[part], rtol=0, atol=0)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1"):
        AverageWeights(decay)
