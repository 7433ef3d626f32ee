"""What a training writes: the best checkpoint and the last one, whole or not there, whatever ends
it; and how it goes on.
"""

import math
import os
import signal
import warnings
import zipfile
from pathlib import Path

import lightning
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from disthead.cli import main
from disthead.errors import NonFiniteLoss
from disthead.files import DiskFull
from disthead.training import DistributionModule, TabularDataModule, callbacks
from disthead.training.callbacks import AverageWeights, BestAndLastCheckpoint
from disthead.training.saved import read_checkpoint
from disthead.training.saving import AtomicCheckpointIO, MetricsLogger
from disthead.training.steps import RowMeans
from tests.reliability.attack import no_file_larger_than

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
QUIET = [
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.accelerator=cpu",
]
FIT = ["fit", "--data.path=table.csv", "--data.target=y", *QUIET]


class Scored(DistributionModule):
    """Its score in each epoch is given."""

    def __init__(self, scores=(), **options):
        super().__init__(**options)
        self.scores = list(scores)

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        self.log(
            "score",
            float(self.scores[self.current_epoch]) if not self.trainer.sanity_checking else 0.0,
        )


@pytest.fixture
def train(trainer, frame):
    """A function that trains with given scores of the epochs, and returns the callback of its
    checkpoints.
    """

    def run(folder, scores, *others, resume=None, trainer_options=None, **options):
        lightning.seed_everything(0, verbose=False)
        saved = BestAndLastCheckpoint(folder, monitor="score", **options)
        module = Scored(scores, family="normal", hidden_sizes=[])
        trainer(
            len(scores),
            callbacks=[*others, saved],
            enable_checkpointing=True,
            **trainer_options or {},
        ).fit(module, TabularDataModule(frame, target="y", batch_size=16), ckpt_path=resume)
        return saved

    return run


def epochs(path) -> int:
    """The epochs that the training in a checkpoint has had."""
    return read_checkpoint(path)["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]


def weights(path) -> torch.Tensor:
    return torch.cat([value.flatten() for value in read_checkpoint(path)["state_dict"].values()])


# The writer.


def test_any_trainer_of_a_module_writes_whole_checkpoints(trainer, frame, tmp_path):
    run = trainer(1)
    run.fit(DistributionModule("normal", hidden_sizes=[]), TabularDataModule(frame, target="y"))
    assert type(run.strategy.checkpoint_io) is AtomicCheckpointIO
    path = tmp_path / "folder" / "model.ckpt"
    run.save_checkpoint(path)
    before = path.read_bytes()
    with (
        pytest.raises(DiskFull, match=r"model\.ckpt is too large .* unchanged"),
        no_file_larger_than(len(before) // 2),
    ):
        run.save_checkpoint(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["model.ckpt"]
    assert zipfile.ZipFile(path).testzip() is None
    run.save_checkpoint(path)
    assert path.read_bytes() == before, "the same state is the same file"


def test_a_writer_of_ones_own_is_used(trainer, frame, tmp_path):
    class Own(TorchCheckpointIO):
        pass

    own = Own()
    run = trainer(1, plugins=[own])
    run.fit(DistributionModule("normal", hidden_sizes=[]), TabularDataModule(frame, target="y"))
    assert run.strategy.checkpoint_io is own


def test_remote_checkpoints_are_written_by_lightning(tmp_path):
    import fsspec

    writer, contents = AtomicCheckpointIO(), {"weights": torch.arange(3)}
    writer.save_checkpoint(contents, "memory://folder/model.ckpt")
    assert fsspec.filesystem("memory").exists("/folder/model.ckpt")
    assert writer.load_checkpoint("memory://folder/model.ckpt")["weights"].tolist() == [0, 1, 2]
    writer.save_checkpoint(contents, f"file://{tmp_path}/model.ckpt")
    assert writer.load_checkpoint(tmp_path / "model.ckpt")["weights"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="storage_options"):
        writer.save_checkpoint(contents, tmp_path / "model.ckpt", storage_options={})


# The best and the last.


def test_the_last_checkpoint_is_a_file_of_its_own_with_the_last_epoch(train, tmp_path):
    saved = train(tmp_path / "run", [3, 1, 2, 2])
    best, last = tmp_path / "run" / "best.ckpt", tmp_path / "run" / "last.ckpt"
    assert sorted(os.listdir(tmp_path / "run")) == ["best.ckpt", "last.ckpt"]
    assert not last.is_symlink()
    assert (epochs(best), epochs(last)) == (2, 4)
    assert not torch.equal(weights(best), weights(last))
    assert (saved.best_model_path, saved.last_model_path) == (str(best), str(last))
    assert float(saved.best_model_score) == 1


class Watches(Callback):
    """The epochs of the last checkpoint after each epoch; optionally ends the training."""

    def __init__(self, folder, error=None, at=None):
        self.folder, self.error, self.at, self.epochs = folder, error, at, []

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch:
            assert set(os.listdir(self.folder)) == {"best.ckpt", "last.ckpt"}
            self.epochs.append(epochs(self.folder / "last.ckpt"))

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        if self.at == "training" and trainer.current_epoch == 2 and batch_index == 3:
            raise self.error

    def on_validation_batch_start(self, trainer, module, *arguments):
        if self.at == "validation" and trainer.current_epoch == 2:
            raise self.error


def test_it_is_written_at_the_start_every_few_seconds_and_at_the_end(train, tmp_path, monkeypatch):
    watches = Watches(tmp_path / "run")
    train(tmp_path / "run", range(6), watches)
    assert watches.epochs == [1] * 5
    assert epochs(tmp_path / "run" / "last.ckpt") == 6
    monkeypatch.setattr(callbacks, "_INTERVAL", 0)
    watches = Watches(tmp_path / "often")
    train(tmp_path / "often", range(6), watches)
    assert watches.epochs == [1, 2, 3, 4, 5]


def test_nothing_is_written_where_it_is_not_wanted(train, tmp_path):
    train(tmp_path / "run", [3, 1], save_last=False)
    assert os.listdir(tmp_path / "run") == ["best.ckpt"]


@pytest.mark.parametrize(
    "error", [RuntimeError("power cut"), KeyboardInterrupt(), OSError("a file of the data")]
)
def test_an_error_or_a_signal_leaves_the_state_where_it_came(train, tmp_path, error):
    with pytest.raises((type(error), SystemExit)):
        train(tmp_path / "run", [3, 1, 2, 2], Watches(tmp_path / "run", error, "training"))
    last = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert last["global_step"] == 2 * 8 + 3
    whole = train(tmp_path / "whole", [3, 1, 2, 2])
    again = train(tmp_path / "run", [3, 1, 2, 2], resume=tmp_path / "run" / "last.ckpt")
    torch.testing.assert_close(weights(again.last_model_path), weights(whole.last_model_path))
    assert sorted(os.listdir(tmp_path / "run")) == ["best.ckpt", "last.ckpt"]


def test_the_signal_that_ends_a_process_leaves_the_state_where_it_came(train, tmp_path):
    class Ends(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_index):
            if trainer.global_step == 2 * 8 + 3:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(tmp_path / "run", [3, 1, 2, 2], Ends())
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["global_step"] == 2 * 8 + 4


def test_a_validation_within_an_epoch_leaves_a_checkpoint_that_goes_on_there(
    train, tmp_path, monkeypatch
):
    monkeypatch.setattr(callbacks, "_INTERVAL", 0)

    class Breaks(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_index):
            if trainer.current_epoch == 1 and batch_index == 6:
                # as if it was killed
                monkeypatch.setattr(trainer, "save_checkpoint", lambda *given: 1 / 0)
                raise RuntimeError("power cut")

    options, error = {"val_check_interval": 0.5}, pytest.raises(RuntimeError, match="power cut")
    whole = train(tmp_path / "whole", [3, 1, 2], AverageWeights(0.9), trainer_options=options)
    with error, pytest.warns(UserWarning, match="last.ckpt was not written"):
        train(tmp_path / "run", [3, 1, 2], AverageWeights(0.9), Breaks(), trainer_options=options)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["global_step"] == 8 + 4
    again = train(
        tmp_path / "run",
        [3, 1, 2],
        AverageWeights(0.9),
        resume=tmp_path / "run" / "last.ckpt",
        trainer_options=options,
    )
    torch.testing.assert_close(weights(again.last_model_path), weights(whole.last_model_path))


def test_what_is_not_whole_is_not_saved_after_an_error(train, tmp_path):
    """In validation weights may be averages; a loss that is not finite has spoiled them; a full
    disk is full.
    """
    for error, at in (
        (RuntimeError("in validation"), "validation"), (NonFiniteLoss("nan"), "training"),
        (DiskFull(28, "full"), "training"),
    ):  # fmt: skip
        folder = tmp_path / f"{at} {type(error).__name__}"
        with pytest.raises(type(error)):
            train(folder, [3, 1, 2], Watches(folder, error, at))
        assert epochs(folder / "last.ckpt") == 1


def test_an_error_that_hinders_saving_leaves_the_last_checkpoint_and_says_so(
    train, tmp_path, monkeypatch
):
    class Breaks(Watches):
        def on_exception(self, trainer, module, exception):
            monkeypatch.setattr(trainer, "save_checkpoint", lambda *given: 1 / 0)

    with (
        pytest.raises(RuntimeError, match="power cut"),
        pytest.warns(
            UserWarning, match="last.ckpt was not written, and stays as it was: division by zero"
        ),
    ):
        train(
            tmp_path / "run",
            [3, 1, 2],
            Breaks(tmp_path / "run", RuntimeError("power cut"), "training"),
        )
    assert epochs(tmp_path / "run" / "last.ckpt") == 1


def test_an_error_before_the_first_step_leaves_nothing(train, tmp_path):
    class Stops(Callback):
        def on_train_start(self, trainer, module):
            raise RuntimeError("too early")

    with pytest.raises(RuntimeError, match="too early"):
        train(tmp_path / "run", [1], Stops())
    assert not (tmp_path / "run").exists()


def test_training_goes_on_from_the_last_checkpoint_as_if_it_had_not_ended(train, tmp_path):
    """Also with averaged weights, which take the place of the others at the end of training."""
    whole = train(tmp_path / "whole", [5, 4, 3, 2], AverageWeights(0.9))
    first = train(tmp_path / "parts", [5, 4], AverageWeights(0.9))
    again = train(
        tmp_path / "parts", [5, 4, 3, 2], AverageWeights(0.9), resume=first.last_model_path
    )
    for one, other in zip(
        (whole.best_model_path, whole.last_model_path),
        (again.best_model_path, again.last_model_path),
        strict=True,
    ):
        torch.testing.assert_close(weights(one), weights(other))
        torch.testing.assert_close(
            read_checkpoint(one)["current_model_state"],
            read_checkpoint(other)["current_model_state"],
        )


# Going on.


@pytest.mark.parametrize("place", ["same", "other", "moved", "moved and replaced"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_training_that_goes_on_remembers_the_best_of_before(train, tmp_path, place, mode):
    sign = 1 if mode == "min" else -1
    folder, old = tmp_path / "run", tmp_path / "run"
    train(folder, [3 * sign, 1 * sign, 2 * sign], mode=mode)
    if place == "other":
        folder = tmp_path / "other"
    if place.startswith("moved"):
        old = folder = tmp_path / "moved"
        (tmp_path / "run").rename(folder)
    if place == "moved and replaced":
        train(tmp_path / "run", [0, 0, 0, -9 * sign, 0], mode=mode)
    best = weights(old / "best.ckpt")
    saved = train(folder, [0, 0, 0, 2 * sign, 1.5 * sign], resume=old / "last.ckpt", mode=mode)
    assert saved.best_model_path == str(folder / "best.ckpt")
    assert float(saved.best_model_score) == sign
    torch.testing.assert_close(weights(folder / "best.ckpt"), best, rtol=0, atol=0)
    assert epochs(folder / "last.ckpt") == 5
    saved = train(folder, [0] * 5 + [0.5 * sign, sign], resume=folder / "last.ckpt", mode=mode)
    assert float(saved.best_model_score) == 0.5 * sign
    assert epochs(folder / "best.ckpt") == 6
    assert sorted(os.listdir(folder)) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize("filename", ["best", "{epoch}"])
def test_a_best_checkpoint_that_is_later_than_the_last_one_is_remembered(train, tmp_path, filename):
    """As after a kill between the two."""
    folder = tmp_path / "run"
    train(folder, [3, 2], filename=filename)
    last = (folder / "last.ckpt").read_bytes()
    train(folder, [3, 2, 1], filename=filename, resume=folder / "last.ckpt")
    (folder / "last.ckpt").write_bytes(last)
    saved = train(tmp_path / "new", [3, 2, 5, 5], filename=filename, resume=folder / "last.ckpt")
    assert float(saved.best_model_score) == 1
    assert epochs(saved.best_model_path) == 3


def test_several_best_checkpoints_are_remembered(train, tmp_path):
    train(tmp_path / "run", [3, 1, 2, 5], filename="{epoch}", save_top_k=3)
    saved = train(
        tmp_path / "new",
        [9] * 4 + [2.5, 8],
        filename="{epoch}",
        save_top_k=3,
        resume=tmp_path / "run" / "last.ckpt",
    )
    found = {Path(path).name: float(score) for path, score in saved.best_k_models.items()}
    assert found == {"epoch=1.ckpt": 1, "epoch=2.ckpt": 2, "epoch=4.ckpt": 2.5}
    assert sorted(os.listdir(tmp_path / "new")) == [*sorted(found), "last.ckpt"]
    saved = train(
        tmp_path / "one",
        [9] * 7,
        filename="{epoch}",
        save_top_k=1,
        resume=tmp_path / "new" / "last.ckpt",
    )
    assert sorted(os.listdir(tmp_path / "one")) == ["epoch=1.ckpt", "last.ckpt"]


@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_a_best_checkpoint_of_before_that_is_no_more_is_missed_aloud(train, tmp_path, damage):
    best = tmp_path / "run" / "best.ckpt"
    train(tmp_path / "run", [1, 2])
    best.write_bytes(best.read_bytes()[:1000]) if damage == "torn" else best.unlink()
    with pytest.warns(
        UserWarning, match="best checkpoint of the earlier training, is missing or cannot be read"
    ):
        saved = train(tmp_path / "run", [1, 2, 3], resume=tmp_path / "run" / "last.ckpt")
    assert float(saved.best_model_score) == 3
    assert epochs(saved.best_model_path) == 3


def test_a_last_checkpoint_of_old_that_is_a_link_to_the_best_one_is_replaced(train, tmp_path):
    folder = tmp_path / "run"
    train(folder, [3, 1], save_last=False)
    (folder / "last.ckpt").symlink_to("best.ckpt")
    best = (folder / "best.ckpt").read_bytes()
    train(folder, [3, 1, 2], resume=folder / "last.ckpt")
    assert (folder / "best.ckpt").read_bytes() == best
    assert not (folder / "last.ckpt").is_symlink()
    assert epochs(folder / "last.ckpt") == 3


def test_the_best_of_a_training_by_lightnings_own_callback_is_remembered(
    train, trainer, frame, tmp_path
):
    """As version 0.1 used it."""
    before = ModelCheckpoint(tmp_path / "run", "best", "score", save_last="link")
    trainer(2, callbacks=[before], enable_checkpointing=True).fit(
        Scored([1, 2], family="normal", hidden_sizes=[]),
        TabularDataModule(frame, target="y", batch_size=16),
    )
    with pytest.warns(UserWarning, match="callbacks used to create the checkpoint"):
        saved = train(tmp_path / "new", [1, 2, 3], resume=tmp_path / "run" / "last.ckpt")
    assert float(saved.best_model_score) == 1
    assert epochs(tmp_path / "new" / "best.ckpt") == 1


def test_files_of_others_in_the_folder_stay_unless_that_is_said(train, tmp_path):
    folder = tmp_path / "run"
    train(folder, [1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train(folder, [2, 3])
    assert sorted(os.listdir(folder)) == ["best-v1.ckpt", "best.ckpt", "last-v1.ckpt", "last.ckpt"]
    assert {name: (folder / name).read_bytes() for name in before} == before


# The command.


@pytest.fixture
def table(frame, tmp_path, monkeypatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    frame.to_csv("table.csv", index=False)
    return frame


def best_of(printed: str) -> tuple[float, str]:
    [line] = [line for line in printed.splitlines() if line.startswith("best val/nll")]
    return float(line.split()[2].rstrip(",:")), line.rpartition(": ")[2]


@pytest.mark.filterwarnings("ignore:the predicted scale")
def test_fit_tells_the_best_of_before_and_what_it_beats(table, capsys):
    assert main([*FIT, "--trainer.max_epochs=3"]) == 0
    score, path = best_of(printed := capsys.readouterr().out)
    baseline = float(printed.partition("without features ")[2].split()[0])
    assert baseline > score
    assert f"next: disthead test --ckpt {path}" in printed
    assert f": disthead recalibrate --ckpt {path}\n" in printed
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    before = Path(path).read_bytes()
    # steps of a size that spoils the model
    spoiled = [*FIT, f"--ckpt={last}", "--trainer.max_epochs=4", "--model.optimizer.init_args.lr=3"]
    contents = torch.load(last, weights_only=True)
    for group in contents["optimizer_states"][0]["param_groups"]:
        group["lr"] = group["initial_lr"] = 3.0
    for state in contents["lr_schedulers"]:
        state["base_lrs"] = [3.0]
    torch.save(contents, last)
    assert main(spoiled) == 0
    again, path = best_of(capsys.readouterr().out)
    assert again == score
    assert path == "./lightning_logs/version_1/checkpoints/best.ckpt"
    assert Path(path).read_bytes() == before


def test_fit_after_its_last_epoch_says_so(table, capsys):
    assert main([*FIT, "--trainer.max_epochs=3"]) == 0
    before = best_of(capsys.readouterr().out)
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    assert main([*FIT, "--trainer.max_epochs=3", "--ckpt", last]) == 0
    printed = capsys.readouterr().out
    assert (
        f"nothing was left to train: {last} has all of its 3 epochs (--trainer.max_epochs)."
        in printed
    )
    score, path = best_of(printed)
    assert (score, os.path.abspath(path)) == (before[0], os.path.abspath(before[1]))
    assert main([*FIT, "--trainer.max_epochs=2", "--ckpt", last]) == 2
    assert (
        f"--trainer.max_epochs must be at least 4 to go on from {last}, which has had 3 epochs, "
        "got 2." in (capsys.readouterr().err)
    )
    assert main([*FIT, "--trainer.max_epochs=0"]) == 2
    assert "--trainer.max_epochs must be 1 or more" in capsys.readouterr().err
    assert os.listdir("lightning_logs") == ["version_0"]


def test_fit_with_checkpoints_of_ones_own_beside(table, capsys):
    Path("own.yaml").write_text(
        yaml.safe_dump(
            {
                "trainer": {
                    "callbacks": [
                        {
                            "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                            "init_args": {"dirpath": "mine"},
                        },
                        {
                            "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                            "init_args": {"dirpath": "top", "monitor": "val/nll", "save_top_k": 2},
                        },
                    ]
                }
            }
        )
    )
    command = [*FIT, "--config=own.yaml"]
    assert main([*command, "--trainer.max_epochs=2"]) == 0
    score, path = best_of(capsys.readouterr().out)
    assert path == "./lightning_logs/version_0/checkpoints/best.ckpt"
    assert len(os.listdir("mine")) == 1
    assert len(os.listdir("top")) == 2
    for count, folder in enumerate(("lightning_logs/version_0/checkpoints", "mine"), start=3):
        resumed = str(
            next(path for path in Path(folder).glob("*.ckpt") if path.name != "best.ckpt")
        )
        assert main([*command, f"--trainer.max_epochs={count}", "--ckpt", resumed]) == 0
        assert best_of(capsys.readouterr().out)[0] <= score


def test_fit_takes_the_options_that_version_0_1_wrote(table):
    assert (
        main(
            [
                *FIT,
                "--trainer.max_epochs=1",
                "--checkpoint.save_last=link",
                "--checkpoint.dirpath=run",
            ]
        )
        == 0
    )
    assert not Path("run/last.ckpt").is_symlink()
    written = Path("lightning_logs/version_0/config.yaml")
    assert main(["fit", "--config", str(written), "--overwrite"]) == 0
    one, two = (
        yaml.safe_load(Path(f"lightning_logs/version_{k}/config.yaml").read_text())
        for k in range(2)
    )
    assert not {"overwrite"} & {*one, *two}  # which validate, test and predict would not understand
    assert two["checkpoint"].pop("enable_version_counter") is not one["checkpoint"].pop(
        "enable_version_counter"
    )
    assert one == two


def test_fit_refuses_places_that_cannot_be_written_before_training(table, capsys, monkeypatch):
    monkeypatch.setattr(
        lightning.Trainer, "_fit_impl", lambda *given, **options: pytest.fail("training has begun")
    )
    Path("file").touch()
    assert main([*FIT, "--checkpoint.dirpath=file"]) == 2
    assert (
        "file is a file, so the folder of the checkpoints cannot be written there"
        in capsys.readouterr().err
    )
    assert main([*FIT, "--trainer.default_root_dir=file/logs"]) == 2
    assert "--trainer.default_root_dir" in capsys.readouterr().err
    assert sorted(os.listdir(".")) == ["file", "table.csv"]


@pytest.mark.parametrize("share", [0, 0.001, 0.5])
def test_a_full_disk_ends_fit_with_one_line_and_spares_what_is_there(table, capsys, share):
    assert main([*FIT, "--trainer.max_epochs=2", "--checkpoint.dirpath=run"]) == 0
    size = Path("run/best.ckpt").stat().st_size
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    capsys.readouterr()
    command = [*FIT, "--trainer.max_epochs=5", "--ckpt=run/last.ckpt", "--checkpoint.dirpath=run"]
    with no_file_larger_than(int(share * size)):
        assert main(command) == 2
    [line] = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("disthead: ")
    ]
    assert "is too large for this disk or this user: folder " in line
    assert ("unchanged" if share == 0.5 else "nothing is left of it") in line
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before
    assert (
        sorted(os.listdir("lightning_logs")) == ["version_0", "version_1"]
        if share == 0.5
        else ["version_0"]
    )
    assert main(command) == 0


@pytest.mark.parametrize(
    "score, status, message",
    [
        (math.inf, 2, "the best val/nll of this training is inf"),
        (math.nan, 2, "the best val/nll of this training is inf"),  # Lightning's word for it
        (
            50.0,
            0,
            "the model is no better than the one without features: val/nll 50.0000, "
            "val/nll_marginal",
        ),
    ],
)
def test_a_score_that_is_not_finite_is_an_error_and_a_poor_one_a_warning(
    table, capsys, monkeypatch, score, status, message
):
    take = RowMeans.take

    def scored(self, trainer):
        means = take(self, trainer)
        return means | {"nll": torch.tensor(score)} if "nll_marginal" in means else means

    monkeypatch.setattr(RowMeans, "take", scored)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        assert main([*FIT, "--trainer.max_epochs=1"]) == status
    printed = capsys.readouterr()
    assert message in "".join([printed.err, *(str(each.message) for each in caught)])
    assert ("next: disthead test" in printed.out) == (status == 0)


# The log.


def test_lines_of_the_log_are_whole(tmp_path):
    log = MetricsLogger(tmp_path, name="run", version=0, flush_logs_every_n_steps=10_000)
    path = tmp_path / "run" / "version_0" / "metrics.csv"
    log.log_hyperparams({"family": "normal", "sizes": [1, 2]})
    assert yaml.safe_load((path.parent / "hparams.yaml").read_text()) == {
        "family": "normal",
        "sizes": [1, 2],
    }
    log.log_metrics({"b": 1.0}, step=0)
    log.save()
    log.log_metrics({"a": torch.tensor(2.0), "b": 3.0}, step=1)
    log.save()
    before = path.read_bytes()
    assert pd.read_csv(path).to_dict("list")["b"] == [1.0, 3.0]
    for k in range(1000):
        log.log_metrics({"b": float(k)}, step=k + 2)
    with (
        pytest.raises(DiskFull, match=r"metrics\.csv is too large .* unchanged"),
        no_file_larger_than(1000),
    ):
        log.save()
    assert path.read_bytes() == before
    with no_file_larger_than(1000):
        log.finalize("failed")  # does not hide what training has failed by
    log.save()
    assert len(pd.read_csv(path)) == 1002
    with pytest.raises(DiskFull, match=r"hparams\.yaml"), no_file_larger_than(5):
        log.log_hyperparams({"family": "laplace"})
    assert yaml.safe_load((path.parent / "hparams.yaml").read_text())["family"] == "normal"
