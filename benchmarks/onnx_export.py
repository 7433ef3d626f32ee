"""Which 90 % intervals ONNX takes: each is exported for any number of rows and compared in
onnxruntime.

    pip install onnx onnxscript onnxruntime
    python -m benchmarks.onnx_export normal "mixture of normals" negative_binomial

Names are rows of tests/cases.py. Prints the largest difference from torch and the seconds that the
export took, or why it failed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from tests.cases import CASES, Case


class Interval(torch.nn.Module):
    """Features (N, 3) -> lower and upper ends, (2, N)."""

    def __init__(self, case: Case):
        super().__init__()
        self.head = case.head()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack(tuple(self.head(features).interval(0.9)))


@torch.no_grad()
def difference(case: Case) -> float:
    """The largest difference of the exported interval from torch's, in eight rows where it was
    exported with five.
    """
    import onnxruntime

    torch.manual_seed(0)
    model, features = Interval(case).eval(), torch.randn(8, 3)
    rows = {0: torch.export.Dim("rows")}
    program = torch.onnx.export(
        model, (torch.randn(5, 3),), dynamic_shapes=(rows,), dynamo=True, verbose=False
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "interval.onnx")
        program.save(path)
        session = onnxruntime.InferenceSession(path)
        [found] = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    return float((torch.from_numpy(found) - model(features)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    table = {case.name: case for case in CASES}
    for name in parser.parse_args().names:
        start = time.perf_counter()
        try:
            said = f"differs by {difference(table[name]):.1e}"
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            said = f"failed: {str(cause).splitlines()[0][:200]}"
        print(f"{name}: {said} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
