"""Kernels in C: printed formulas compute what torch does, on tensors however they lie in memory."""

import ctypes
import multiprocessing
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import disthead as dh
from benchmarks.formulas import c_function, formulas
from disthead.likelihood.tracing import NotTraced, trace, trace_function
from disthead.special import blocks
from disthead.special.fast import Positive
from tests.one_pass import FUSED, example

needs_library = pytest.mark.skipif(not blocks.AVAILABLE, reason="needs the library in C")
FOLDER = Path(blocks.__file__).parent
PRECISIONS = [torch.float32, torch.float64]

# What precision.h and elementary.h take from blocks.c, and a loop for each precision.
_SOURCE = """
#include <math.h>
#include <stdint.h>
#include <string.h>
#define INLINE static inline
#define INDEPENDENT
typedef long Py_ssize_t;
#define IS_SINGLE 0
#include "precision.h"
#include "elementary.h"
#if {is_single}
#undef IS_SINGLE
#define IS_SINGLE 1
#include "precision.h"
#include "elementary.h"
#endif
{function}
void loop(
    Py_ssize_t rows, const REAL *y, const REAL *a, const REAL *b, REAL *value, REAL *slopes) {{
    for (Py_ssize_t i = 0; i < rows; i++) {{
        UINT beyond = 0;
        value[i] = formula_{real}({arguments}, slopes + i, &beyond);
    }}
}}
"""


def random_formula(seed: int):
    """A function of y and two parameters, one of them positive, by 40 operations at random."""

    def formula(y, a, b):
        choice = np.random.default_rng(seed)
        values = [y, a, b.value, b.log, y - a, 2 - y]
        for _ in range(40):
            x, z = (values[choice.integers(len(values))] for _ in range(2))
            size = 1 + x * x
            values.append(
                [
                    lambda x=x, z=z: x + z,
                    lambda x=x, z=z: (x - z) - (z - 1),
                    lambda x=x, z=z: 0.5 * x * z,
                    lambda x=x, z=z: x / (1 + z * z) + 1 / (1 + z * z),
                    lambda x=x, z=z: torch.maximum(x, z) + torch.minimum(x, torch.sigmoid(z)),
                    lambda x=x, z=z: torch.where(x < z, -x, z * z),
                    lambda x=x, size=size: torch.log(size) - torch.log1p(size),
                    lambda x=x: torch.exp(-abs(x)) * torch.sign(x),
                    lambda x=x: torch.sin(x) - torch.cos(x) + torch.sqrt(1 + abs(x)),
                ][choice.integers(9)]()
            )
            values[-1] = values[-1] / (1 + abs(values[-1]))
        return sum(values[-8:]), values[-1]

    return formula


def compiled(function, kinds, dtype, folder):
    """The function, printed and compiled: of y and two parameters (rows,)."""
    text = c_function("formula", trace_function(function, kinds, dtype), dtype)
    real = "float" if dtype == torch.float32 else "double"
    head = text[: text.index("{")]
    places = {"y": "y[i]", "y_low": "0", "a": "a[i]", "b": "b[i]", "log_b": f"log__{real}(b[i])"}
    named = [part.split()[-1] for part in head.split("(")[1].split(",")][:-2]
    arguments = ", ".join(places[name] for name in named)
    source = _SOURCE.format(
        function=text, real=real, arguments=arguments, is_single=int(dtype == torch.float32)
    )
    (folder / "formula.c").write_text(source)
    library = folder / "formula.so"
    command = ["cc", "-shared", "-fPIC", "-O1", f"-I{FOLDER}", "-o", library, folder / "formula.c"]
    subprocess.run([*command, "-lm"], check=True)
    loop = ctypes.CDLL(str(library)).loop

    def run(*arguments):
        value, slope = (
            torch.empty_like(arguments[0]),
            torch.empty(len(arguments[0]) + 1, dtype=dtype),
        )
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (*arguments, value, slope)]
        loop(ctypes.c_long(len(value)), *pointers)
        return value

    return run


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("seed", range(4))
def test_formulas_at_random_are_printed_as_torch_computes_them(seed, dtype, tmp_path, generator):
    formula, kinds = random_formula(seed), {"a": torch.Tensor, "b": Positive}
    y, a = (2 * torch.randn(2, 500, generator=generator)).to(dtype)
    b = 0.1 + torch.rand(500, generator=generator).to(dtype)
    ours = compiled(formula, kinds, dtype, tmp_path)(y, a, b)
    exact = formula(y.double(), a.double(), Positive(b.double(), 0.0))[0]
    error = 2e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(ours.double(), exact, rtol=error, atol=error)


@pytest.mark.parametrize(
    "formula",
    [
        lambda y, a: (y.sum() + a, a),  # mixes rows
        lambda y, a: (torch.lgamma(y), a),
        lambda y, a: (y if (y > 0).all() else a, a),  # looks at numbers
        lambda y, a: ((y == 1) + (a == 1), a),  # arithmetic of truth values
        lambda y, a: (y + torch.ones(2), a),  # a tensor of its own
        lambda y, a: (y**5, a),
    ],
)
def test_what_cannot_be_traced_says_so(formula):
    with pytest.raises(NotTraced):
        trace_function(formula, {"a": torch.Tensor}, torch.float32)


def test_a_mixture_is_no_formula_of_single_numbers():
    with pytest.raises(NotTraced, match="several numbers"):
        trace(dh.get_family("normal_mixture").formula(), torch.float32)


@needs_library
def test_every_printed_formula_is_compiled():
    assert list(blocks.FORMULAS) == list(formulas())


def ran(family, raw, y, value=None, slopes=None, loc=None, scale=None):
    rows = len(raw)
    value = (
        torch.zeros(rows, dtype=torch.float64 if raw.dtype == torch.float64 else None)
        if value is None
        else value
    )
    slopes = torch.zeros_like(raw) if slopes is None else slopes
    assert blocks.log_prob(
        family.formula().made["kernel"], 0, rows, raw, y, loc, scale, value, slopes
    )
    return value, slopes


def misaligned(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers, one byte behind where numbers of their size begin."""
    numbers = tensor.contiguous().numpy()
    bytes_ = np.zeros(numbers.nbytes + 1, np.uint8)[1:]
    return torch.from_numpy(bytes_.view(numbers.dtype)).reshape(tensor.shape).copy_(tensor)


@needs_library
@pytest.mark.parametrize("name", [case.name for case in FUSED])
def test_tensors_that_lie_elsewhere(name):
    """In several pieces, misaligned, in other precisions and orders: the same numbers."""
    family, raw, y = example(name, 600)
    width = family.width()
    value, slopes = ran(family, raw, y)
    table = torch.zeros(600, 2 * width + 1)
    table[:, 1::2] = raw
    targets = [y.double(), torch.stack([y, y], 1)[:, 0], y]
    if family.is_discrete:
        targets.append(y.long())
    for outputs in (table[:, 1::2], raw.double(), raw.t().contiguous().t(), misaligned(raw)):
        for target in targets:
            places = torch.zeros(1200, dtype=torch.float64)[::2], torch.zeros(width, 600).t()
            other_value, other_slopes = ran(family, outputs, target, *places)
            torch.testing.assert_close(other_value.float(), value, rtol=2e-5, atol=2e-5)
            torch.testing.assert_close(other_slopes, slopes, rtol=2e-5, atol=2e-5)


@needs_library
@pytest.mark.parametrize("name", ["normal", "gamma", "von_mises", "normal_mixture", "poisson"])
@pytest.mark.parametrize("rows", [0, 1, 15, 255, 256, 257, 5000])
def test_any_number_of_rows_beside_one_far_from_ordinary(name, rows):
    """A row far from ordinary takes its block to double precision, and changes no other digits."""
    family, raw, y = example(name, rows)
    value, slopes = ran(family, raw, y)
    for place in range(0, rows, 300):
        raw[place], y[place] = 200.0, y[place]
    other_value, other_slopes = ran(family, raw, y)
    kept = torch.arange(rows) % 300 != 0
    torch.testing.assert_close(other_value[kept], value[kept], rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(other_slopes[kept], slopes[kept], rtol=2e-5, atol=2e-5)
    exact, _ = ran(family, raw.double(), y)
    torch.testing.assert_close(other_value.double(), exact, rtol=2e-6, atol=2e-6)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", ["normal", "student_t", "gamma", "beta"])
def test_links_and_units_add(name):
    """Any link of a positive parameter, a shift, and targets in a unit of their own."""
    family, raw, y = example(name, 300)
    positive = [key for key, link in family.parameters.items() if link.is_positive]
    for change in ("exp", "softplus", 0.5):
        links = dict(family.parameters)
        for key in positive:
            own = dh.get_link(change if isinstance(change, str) else "softplus")
            links[key] = own if isinstance(change, str) else own.shifted(change)
        dist = family.from_raw(raw, links).affine(torch.tensor(2.0), torch.tensor(3.0))
        exact = family.from_raw(raw.double(), links).affine(
            torch.tensor(2.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
        )
        targets = (2 + 3 * y.double()).float()
        torch.testing.assert_close(
            dist.log_prob(targets).double(), exact.log_prob(targets.double()), rtol=2e-6, atol=2e-6
        )


@needs_library
def test_tensors_that_do_not_fit():
    family, raw, y = example("normal", 5)
    kernel = family.formula().made["kernel"]
    value, slopes, one = torch.zeros(5), torch.zeros(5, 2), torch.tensor(1.0)
    for tensors in (
        (raw[:, :1], y, None, None, value, slopes),
        (raw, y[:4], None, None, value, slopes),
        (raw, one, None, None, value, slopes),
        (raw, y, one, None, value, slopes),
        (raw, y, one, y[:3], value, slopes),
        (raw, y, None, None, value[:4], slopes),
        (raw, y, None, None, value.long(), slopes),
        (raw, y, None, None, value, slopes[:, :1]),
        (raw.long(), y, None, None, value, slopes),
        (raw, y, None, None, None, slopes),
    ):
        with pytest.raises(ValueError, match="rows or columns"):
            blocks.log_prob(kernel, 0, 5, *tensors)
    for start, stop in ((-1, 5), (0, 6)):
        with pytest.raises(ValueError, match="rows or columns"):
            blocks.log_prob(kernel, start, stop, raw, y, None, None, value, slopes)
    with pytest.raises(ValueError, match="rows or columns"):
        blocks.log_prob(kernel[:-1], 0, 5, raw, y, None, None, value, slopes)
    with pytest.raises(TypeError, match="10 arguments"):
        blocks.log_prob(kernel, 0, 5, raw, y)
    for other in (raw.half(), raw.to("meta"), raw.to_sparse(), torch.ones(1, 5, 2)):
        assert not blocks.log_prob(kernel, 0, 1, other, y, None, None, value, slopes)


@needs_library
def test_rankings_that_do_not_fit():
    scores, orders, value = torch.zeros(5, 3), torch.arange(3).repeat(5, 1), torch.zeros(5)
    assert blocks.rank(0, 5, scores, orders, value, torch.zeros(5, 3))
    torch.testing.assert_close(value, torch.full((5,), -np.log(6.0), dtype=torch.float32))
    assert not blocks.rank(0, 5, 1e4 * torch.rand(5, 3), orders, value, None)
    assert not blocks.rank(0, 5, scores, orders - 1, value, None)
    for tensors in (
        (scores, orders[:4], value, None),
        (scores, orders.float(), value, None),
        (scores, orders, value[:4], None),
        (scores, orders, value, torch.zeros(5, 2)),
    ):
        with pytest.raises(ValueError, match="rows or columns"):
            blocks.rank(0, 5, *tensors)


@needs_library
def test_rankings_and_classes_that_lie_elsewhere(generator):
    scores, factors = torch.randn(70, 5, generator=generator), torch.rand(70, generator=generator)
    orders = torch.rand(70, 5, generator=generator).argsort(1)
    table = torch.zeros(70, 11)
    table[:, 1::2] = scores
    value, slopes = torch.zeros(70), torch.zeros(70, 5)
    assert blocks.rank(0, 70, scores, orders, value, slopes)
    for others in (
        table[:, 1::2],
        scores.double(),
        scores.t().contiguous().t(),
        misaligned(scores),
    ):
        for other_orders in (orders, misaligned(orders), torch.stack([orders, orders], 2)[..., 0]):
            places = torch.zeros(140, dtype=torch.float64)[::2], torch.zeros(5, 70).t()
            assert blocks.rank(0, 70, others, other_orders, *places)
            torch.testing.assert_close(places[0].float(), value)
            torch.testing.assert_close(places[1], slopes)
    product = misaligned(scores)
    assert blocks.multiply_rows(product, misaligned(factors))
    torch.testing.assert_close(product, scores * factors[:, None], rtol=0, atol=0)
    assert blocks.choose(0, 70, scores, orders[:, 0], value, slopes) is False  # a stride
    index = orders[:, 0].contiguous()
    assert blocks.choose(0, 70, scores, index, value, slopes)
    places = misaligned(torch.zeros(70)), misaligned(torch.zeros(70, 5))
    assert blocks.choose(0, 70, misaligned(scores), misaligned(index), *places)
    torch.testing.assert_close(places, (value, slopes))


def freed(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


@needs_library
def test_memory_that_was_freed_is_refused():
    family, raw, y = example("normal", 5)
    orders, one, classes = torch.arange(3).repeat(5, 1), torch.ones(5), torch.zeros(5, 12)
    for function, before, tensors in (
        (blocks.log_prob, (family.formula().made["kernel"], 0, 5), (raw, y, one, one, one, raw)),
        (blocks.rank, (0, 5), (orders.float(), orders, one, orders.float())),
        (blocks.multiply_rows, (), (raw, one)),
        (blocks.choose, (0, 5), (classes, one.long(), one, classes)),
        (blocks.answer, (blocks.ANSWERS["normal_cdf"],), (one, one, one, one)),
    ):
        assert function(*before, *(part.clone() for part in tensors))
        for place in range(len(tensors)):
            given = [(freed if at == place else torch.clone)(x) for at, x in enumerate(tensors)]
            assert not function(*before, *given)


@needs_library
def test_threads():
    family, raw, y = example("normal", 20_000)
    expected = ran(family, raw, y)[0]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: ran(family, raw, y)[0], range(8)))
    assert all(torch.equal(result, expected) for result in results)


def total(rows: int = 200_000) -> float:
    """The log-likelihood of so many rows that chunks are shared among threads."""
    family, raw, y = example("normal", rows)
    return float(family.from_raw(raw).log_prob(y).sum())


@needs_library
def test_a_fork_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    expected = total()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(total()))
    child.start()
    result = queue.get(timeout=60)
    child.join()
    assert result == pytest.approx(expected)
