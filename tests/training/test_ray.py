"""Ray Data runs a trained model on several workers: the same predictions as one process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from disthead.training import DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor

# A process of its own: Ray has warnings and settings that no other test should meet.
SCRIPT = '''
import os, sys, time
from pathlib import Path
import ray
from disthead.training.predictor import Predictor
checkpoint, rows, out = sys.argv[1:]

meeting = Path("meeting").absolute()
meeting.mkdir()

class Predict(Predictor):
    """Waits at its first batch until another worker has one.

    Otherwise the one that is ready first may take them all.
    """

    def __call__(self, batch):
        (meeting / str(os.getpid())).touch()
        until = time.monotonic() + 60
        while len(list(meeting.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        workers = [os.getpid()] * len(batch["row"])
        return {"row": batch["row"], "worker": workers, **super().__call__(batch)}

ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
ray.data.DataContext.get_current().wait_for_min_actors_s = 90
data = ray.data.read_parquet(rows).repartition(4)  # small files would be one block
data = data.map_batches(
    Predict, fn_constructor_args=[checkpoint], fn_constructor_kwargs={"quantiles": [0.5]},
    batch_size=25, compute=ray.data.ActorPoolStrategy(size=2, max_tasks_in_flight_per_actor=1),
)
data.to_pandas().to_parquet(out)
ray.shutdown()
'''


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is an optional extra")
def test_ray_workers_predict_what_one_process_predicts(frame, trainer, tmp_path):
    run = trainer(1)
    run.fit(DistributionModule("normal", hidden_sizes=[4]), TabularDataModule(frame, target="y"))
    checkpoint, rows = tmp_path / "model.ckpt", tmp_path / "rows"
    run.save_checkpoint(checkpoint)
    rows.mkdir()
    for k in range(4):
        piece = frame.assign(row=range(200)).iloc[50 * k : 50 * k + 50]
        parquet.write_table(
            arrow.Table.from_pandas(piece, preserve_index=False), rows / f"{k}.parquet"
        )
    root = str(Path(__file__).parents[2])
    environment = os.environ | {
        "PYTHONPATH": root,
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    script = tmp_path / "predict.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(script),
        str(checkpoint),
        str(rows),
        str(tmp_path / "out.parquet"),
    ]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_parquet(tmp_path / "out.parquet").sort_values("row", ignore_index=True)
    assert found["worker"].nunique() == 2
    expected = pd.DataFrame(Predictor(checkpoint, quantiles=[0.5])(frame))
    own = found.drop(columns=["row", "worker"]).astype("float32")  # Ray leaves pyarrow's types
    pd.testing.assert_frame_equal(own, expected, rtol=1e-5)
