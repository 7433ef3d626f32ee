"""What does a training step's loss cost, in numbers that do not depend on the machine's mood?

    python -m benchmarks.cost    compare with the table of bounds, benchmarks/cost.json
    make tables                  renew the table: what is counted now, and a tenth more

For each case of `tests/cases.py` at 1024 rows, forward and backward of the mean negative
log-likelihood through a head of two features: torch's operations and the calls of kernels in C, the
bytes of the tensors that they make (views make none), and the kernels that an accelerator would
have to launch (counted on tensors without numbers, of the meta device). All are the same on every
run; seconds are not. `tests/test_cost.py` holds the library to the table, so that
a loss that grows slower or hungrier is noticed at once; one that is meant to gets a new table in
the same commit.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import disthead as dh
from disthead.special import blocks
from tests.cases import CASES, Case

TABLE = Path(__file__).with_name("cost.json")
ROWS = 1024
SLACK = 1.1


class Counter(TorchDispatchMode):
    """Counts operations and calls of kernels in C, those that are no views, and bytes of storages
    that were not there before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.launches = self.bytes = 0

    def __enter__(self) -> "Counter":
        self._patch = mock.patch.object(blocks, "log_prob", self._counted(blocks.log_prob))
        self._patch.start()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patch.stop()

    def _counted(self, log_prob: Callable[..., bool]) -> Callable[..., bool]:
        def counted(*arguments: Any) -> bool:
            self.operations += 1
            return log_prob(*arguments)

        return counted

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {
            _memory(tensor)
            for tensor in tree_leaves((args, kwargs))
            if isinstance(tensor, torch.Tensor)
        }
        made = {
            _memory(tensor): tensor
            for tensor in tree_leaves(result)
            if isinstance(tensor, torch.Tensor)
        }
        self.operations += 1
        self.launches += not function.is_view
        self.bytes += sum(made[at].untyped_storage().nbytes() for at in made.keys() - given)
        return result


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def count(case: Case) -> dict[str, int]:
    """Operations, bytes and launches of one step of this case, after a first one that warms up."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.tensor(case.raw) + 0.1 * torch.randn(ROWS, len(case.raw), generator=generator)
    torch.manual_seed(0)
    y = case.from_raw(raw).sample()
    head = case.head(in_features=2)
    features = torch.randn(ROWS, 2, generator=generator)
    for _ in range(2):
        with Counter() as counter:
            dh.nll(head(features), y).backward()
    head, features, y = head.to("meta"), features.to("meta"), y.to("meta")
    with Counter() as elsewhere:
        dh.nll(head(features), y).backward()
    return {
        "operations": counter.operations,
        "bytes": counter.bytes,
        "launches": elsewhere.launches,
    }


def bounds() -> dict[str, dict[str, int]]:
    """The table: name of the case -> the most operations, bytes and launches allowed."""
    return json.loads(TABLE.read_text())


def text() -> str:
    """What the table should hold."""
    rows = {
        case.name: {what: int(SLACK * number) + 1 for what, number in count(case).items()}
        for case in CASES
    }
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in rows.items()
    )
    return f"{{\n{lines}\n}}\n"


def main() -> None:
    counted = {case.name: count(case) for case in CASES}
    allowed = bounds()
    print("| case | operations | at most | KiB | at most | launches | at most |\n|" + "---|" * 7)
    for name, numbers in counted.items():
        most = allowed.get(name, dict.fromkeys(numbers, 0))
        print(f"| {name} | {numbers['operations']} | {most['operations']} ", end="")
        print(f"| {numbers['bytes'] / 1024:.0f} | {most['bytes'] / 1024:.0f} ", end="")
        print(f"| {numbers['launches']} | {most['launches']} |")


if __name__ == "__main__":
    main()
