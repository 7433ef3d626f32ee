"""`DistributionModule(ensemble=...)`: members trained at once, each by its own likelihood; the
exact mixture predicts.
"""

from pathlib import Path

import pytest
import torch
import yaml

from disthead.calibration import QuantileRecalibration
from disthead.data.batches import Batch
from disthead.diagnostics import TargetWarning
from disthead.networks.tabular import TabularBackbone
from disthead.training import DistributionModule, TabularDataModule

CONFIGS = sorted(Path(__file__).parents[2].joinpath("configs").glob("*.yaml"))


# The counts of health care are of persons in several years, some of whom have the same features in
# each.
@pytest.mark.filterwarnings("ignore::disthead.data.split.RepeatedRowsWarning")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_as_an_ensemble(config, trainer):
    options = yaml.safe_load(config.read_text())
    model = options["model"] | {"ensemble": 3}
    module, data = DistributionModule(**model), TabularDataModule(**options["data"])
    fit = trainer(1, limit_train_batches=4, limit_val_batches=1)
    fit.fit(module, data)
    fit.test(module, data, verbose=False)
    [dist] = fit.predict(module, data)[:1]
    assert dist.batch_shape == (len(dist.sample()),)
    part = data.part("test")
    whole = module.eval()(
        part.features[:5], **{name: value[:5] for name, value in part.known.items()}
    )
    assert (whole.mutual_information > 0).all()  # members start, and learn, differently


def test_rows_are_held_out_from_one_member_each():
    module = DistributionModule("normal", in_features=2, hidden_sizes=[4], ensemble=3)
    rows = torch.tensor([0, 4, 5, 8])
    batch = Batch(torch.randn(4, 2), torch.randn(4), rows=rows)
    module._values(batch)[0][1].backward()  # row 4 belongs to member 1
    gradient = module.head.linear.weight.grad.flatten(1).abs().sum(1)
    assert gradient[1] == 0
    assert (gradient[[0, 2]] > 0).all()


def test_the_loss_is_the_members_own_likelihood():
    module = DistributionModule("normal", in_features=2, hidden_sizes=[4], ensemble=3)
    features, y = torch.randn(5, 2), torch.randn(5)
    components = module(features).components
    expected = -components.log_prob(y.unsqueeze(-1)).mean(-1)
    torch.testing.assert_close(module._values(Batch(features, y))[0], 3 * expected)


def test_a_checkpoint_gives_the_same_mixture(trainer, frame, tmp_path):
    data = TabularDataModule(frame, target="y")
    module = DistributionModule("student_t", hidden_sizes=[8], ensemble=4)
    fit = trainer(2)
    fit.fit(module, data)
    part = data.part("val")
    module.eval().recalibrate(QuantileRecalibration(), part.features, part.y)
    fit.save_checkpoint(tmp_path / "a.ckpt")
    again = DistributionModule.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    expected = module.predictive(part.features).log_prob(part.y)
    assert torch.equal(again.predictive(part.features).log_prob(part.y), expected)
    with pytest.raises(ValueError, match="ensemble"):
        fit.fit(
            DistributionModule("student_t", hidden_sizes=[8], ensemble=2),
            data,
            ckpt_path=tmp_path / "a.ckpt",
        )


def test_the_backbone_of_the_recipe_finds_its_bins(trainer, frame):
    backbone = {
        "class_path": "disthead.networks.tabular.TabularBackbone",
        "init_args": {"hidden_sizes": [8]},
    }
    for ensemble in (1, 3):
        module = DistributionModule("normal", backbone=backbone, ensemble=ensemble)
        trainer(1).fit(module, TabularDataModule(frame, target="y"))
        assert isinstance(module.backbone, TabularBackbone)
        assert (module.backbone.encoding.rate > 0).any()


def test_a_backbone_without_members_is_refused():
    with pytest.raises(ValueError, match="members=3"):
        DistributionModule("normal", in_features=2, backbone=torch.nn.Linear(2, 3), ensemble=3)
    with pytest.raises(ValueError, match="ensemble must be"):
        DistributionModule("normal", in_features=2, ensemble=0)


def test_a_target_that_fools_a_density_is_warned_of(trainer, frame):
    frame["y"] = (frame["y"] / 40).round()
    data = TabularDataModule(frame, target="y")
    with pytest.warns(TargetWarning, match="target 'y': only .* different values"):
        trainer(1).fit(DistributionModule("normal", hidden_sizes=[4]), data)
