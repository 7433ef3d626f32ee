"""What `disthead --help` and `disthead COMMAND --help` print: one page for each command."""

__all__ = ["OVERVIEW", "PAGES"]

OVERVIEW = """\
disthead: the last layer of a model becomes a probability distribution

  disthead families                           the families of distributions, as a table
  disthead losses                             the losses, as a table
  disthead explain NAME                       what a family or a loss assumes, when it breaks
  disthead init NAME                          write a configuration here, for editing
  disthead fit --data.path my.csv --data.target y
                                              train, and keep the best checkpoint
  disthead validate|test --ckpt FILE          the loss on rows held out
  disthead predict --ckpt FILE --data.path new.csv --out new_predictions.csv
                                              the predicted distributions of a table
  disthead evaluate --ckpt FILE --out report  verdicts, scores and pictures
  disthead recalibrate --ckpt FILE --out honest.ckpt
                                              a checkpoint with honest intervals

disthead COMMAND --help shows the options of a command; disthead --version the version."""

_FIT = """\
disthead fit --data.path TABLE --data.target COLUMN [options]

Train a network whose output is the distribution of the target, and keep the best checkpoint.

  disthead fit --data.path my.csv --data.target visits --model.family negative_binomial
  disthead fit --config my.yaml --ckpt lightning_logs/version_0/checkpoints/last.ckpt

Without --config, or with one that says nothing of the model, this is the recipe of
DistributionRegressor; `disthead recalibrate` adds its factor for the scale. Other configurations
are completed by the defaults of --help-all. Values below are examples, (defaults) in parentheses.

Data
  --data.path FILE             CSV or Parquet; a folder or pattern of Parquet files is streamed
  --data.target NAME           column to be predicted (target); '[first, second]' for several
  --data.features '[a, b]'     columns to predict from (all other columns)
  --data.weight NAME           column of the weights of the rows
  --data.groups NAME           column of groups, such as patients, each kept in one part
  --data.categorical '[a]'     columns of numbers that are categories
  --data.order '[low, high]'   classes of the target in their order, for ordinal (that of numbers)
  --data.unit degrees          unit of targets that are angles (radians)
  --data.known '{exposure: months}'      quantities of each row for the family, with their columns
  --data.val_size 0.1          share or number of rows that say when to stop (0.2)
  --data.test_size 0.1         share or number of rows for `disthead test` and `evaluate` (0.2)
  --data.split_column NAME     column that says train, val or test in each row (a random split)
  --data.val_path FILE, --data.test_path FILE      tables for validation and for the test
  --data.batch_size 64         rows of one step (a 64th of the training rows, from 32 to 256)

Model
  --model.family gamma         one of `disthead families` (student_t)
  --model.hidden_sizes '[64, 64]'        sizes of the network's layers ([128, 128])
  --model.ensemble 8           number of networks, whose exact mixture predicts (1)
  --model.objective crps       what training minimises (nll, the negative log-likelihood)
  --model.shared '[scale]'     parameters that are one number for all rows (none)
  --model.optimizer.init_args.lr 0.01    learning rate (0.005 for batches of 32 rows)

Training
  --config NAME                a YAML file, or one that comes with disthead: binary, classes,
                               counts, direction, magnitudes, multimodal, multivariate,
                               proportions, ranking, regression, robust
  --ckpt FILE                  go on from a checkpoint
  --trust NAME                 own package or class the checkpoint may use (docs/command_line.md)
  --checkpoint.dirpath FOLDER  folder of the checkpoints (lightning_logs/version_N/checkpoints)
  --overwrite                  write over the checkpoints in that folder
  --trainer.max_epochs 100     most passes over the training rows (2,400 steps, or 60 passes)
  --early_stopping.patience 20 validations without a better score (counted in steps, at least 800)
  --trainer.accelerator cpu    cpu or gpu (the best that there is)
  --seed_everything 1          seed of weights and dropout (0); --data.split_seed is the split's
  --print_config               print the configuration that would be used, to save and edit it

All options, with those of Lightning: disthead fit --help-all"""


def _measure(command: str, part: str) -> str:
    return f"""\
disthead {command} --ckpt FILE [--data.path TABLE] [options]

The mean loss of a trained model, in nats, beside that of the unconditional model (no features),
and its coverage or accuracy.

  disthead {command} --ckpt lightning_logs/version_0/checkpoints/best.ckpt
  disthead {command} --ckpt best.ckpt --data.path new.csv

Rows are those that training kept for {part}, or all rows of another table. Weights of the table
count, as in training.

  --ckpt FILE                  the checkpoint
  --data.path TABLE            another table, all of whose rows are used
  --trust NAME                 own package or class the checkpoint may use (docs/command_line.md)
  --trainer.accelerator cpu    cpu or gpu (the best that there is)

All options, with those of Lightning: disthead {command} --help-all"""


_PREDICT = """\
disthead predict --ckpt FILE --data.path TABLE --out FILE [options]

Write the predicted distribution of each row: parameters (after recalibration), mean, median, mode,
stddev, quantiles and an interval; of classes, their probabilities.

  disthead predict --ckpt best.ckpt --data.path new.csv --out new_predictions.csv
  disthead predict --ckpt best.ckpt --data.path new.csv --quantiles 0.1,0.9 --id-columns name,date
  disthead predict --ckpt best.ckpt --data.path rows/ --out predictions/

  --ckpt FILE                  the checkpoint
  --data.path TABLE            a table, which needs no target (the table of training)
  --trust NAME                 own package or class the checkpoint may use (docs/command_line.md)
  --out FILE                   a .csv or .parquet file (predictions.csv), or a folder: one
                               Parquet file for each row group, in memory that does not grow,
                               and after a crash the same call goes on
  --overwrite                  write over a file that is there, but never over a table that the
                               model was trained on
  --quantiles 0.1,0.5,0.9      levels of the quantiles (0.1,0.25,0.75,0.9)
  --level 0.8                  probability of the interval (0.9)
  --samples 100                number of draws for each row (0)
  --seed 1                     seed of the draws (0)
  --id-columns a,b             columns of the table that are copied into the predictions
  --top_k 5                    how many of the most probable classes are written, with the mode
                               and its probability (all of up to 100 classes, else 10)
  --escape_formulas            put an apostrophe before texts of a CSV file that spreadsheets
                               take for formulas
  --trainer.accelerator cpu    cpu or gpu (the best that there is)
  --trainer.devices 4          processes that share the rows (1); the file has all, in their order

All options, with those of Lightning: disthead predict --help-all"""

_EVALUATE = """\
disthead evaluate --ckpt FILE [--data.path TABLE] [options]

Is the model honest? Verdicts, scores with standard errors, and a page of pictures, from rows held
out.

  disthead evaluate --ckpt lightning_logs/version_0/checkpoints/best.ckpt --out report
  disthead evaluate --ckpt best.ckpt --data.path new.csv --group region --groups patient

  --ckpt FILE                  the checkpoint
  --data.path TABLE            a table of rows held out, all of which are used
  --trust NAME                 own package or class the checkpoint may use (docs/command_line.md)
  --part val                   part of the training table, without --data.path: test, val, or
                               train, whose rows the model has learned from (test)
  --out FOLDER                 folder of report.html, metrics.json and the pictures (report)
  --group COLUMN               look at calibration within each value of this column
  --groups COLUMN              rows with the same value belong together, as those of one patient:
                               standard errors are those of patients (the groups of training)
  --no-groups                  all rows are independent
  --weight COLUMN              column of the weights of the rows (that of training)
  --no-weight                  every row counts once
  --unit TEXT                  unit of the target, for labels
  --level 0.8                  probability of the intervals that verdicts are about (0.9)"""

_RECALIBRATE = """\
disthead recalibrate --ckpt FILE --out FILE [options]

Correct a trained model's uncertainty on rows that its weights were not trained on, and write a
checkpoint that has it.

  disthead recalibrate --ckpt lightning_logs/version_0/checkpoints/best.ckpt --out honest.ckpt
  disthead recalibrate --ckpt best.ckpt --data.path new.csv --method QuantileRecalibration

  --ckpt FILE                  the checkpoint
  --data.path TABLE            a table of rows held out, all of which are used
  --trust NAME                 own package or class the checkpoint may use (docs/command_line.md)
  --part test                  part of the training table, without --data.path: val or test (val)
  --out FILE                   the new checkpoint (recalibrated.ckpt)
  --overwrite                  write over a file that is there
  --method NAME                ScaleCalibration, QuantileRecalibration, ConformalQuantiles or
                               ConformalPredictive (ScaleCalibration); for classes
                               TemperatureScaling, VectorScaling, BetaCalibration or
                               IsotonicCalibration (TemperatureScaling)
  --groups COLUMN              for conformal methods: rows with the same value belong together,
                               as those of one patient (the groups of training)
  --no-groups                  all rows are independent
  --weight COLUMN              column of the weights of the rows (that of training)
  --no-weight                  every row counts once"""

_FAMILIES = """\
disthead families [--capabilities]

The families of distributions, with data type, domain, use, parameters and loss.

  disthead families
  disthead families --capabilities      which of them supports which method"""

_LOSSES = """\
disthead losses [NAME]

The losses, with what each assumes and estimates, and PyTorch's call of the same; or the page of
one loss.

  disthead losses
  disthead losses crps"""

_EXPLAIN = """\
disthead explain NAME

What a family or a loss assumes, what it amounts to, when it breaks, and what to try then. A name
of both shows both, and synonyms will do.

  disthead explain student_t
  disthead explain "log score\""""

_INIT = """\
disthead init NAME [--out FILE] [--overwrite]

Write a configuration that comes with disthead into a file, to be edited and used as
`disthead fit --config FILE`.

  disthead init regression         regression.yaml: what `disthead fit` does without a configuration
  disthead init counts --out my.yaml

Names: binary, classes, counts, direction, magnitudes, multimodal, multivariate, proportions,
ranking, regression, robust."""

PAGES = {
    "families": _FAMILIES,
    "losses": _LOSSES,
    "explain": _EXPLAIN,
    "init": _INIT,
    "fit": _FIT,
    "validate": _measure("validate", "validation"),
    "test": _measure("test", "test"),
    "predict": _PREDICT,
    "evaluate": _EVALUATE,
    "recalibrate": _RECALIBRATE,
}
