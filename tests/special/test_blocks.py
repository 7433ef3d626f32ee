"""The library in C: functions that take no likelihood."""

import shutil

import pytest
import torch

from disthead.special.blocks import AVAILABLE, choose, multiply_rows, negative_mean

needs_library = pytest.mark.skipif(not AVAILABLE, reason="needs the library in C")


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_library_was_built():
    assert AVAILABLE, "there is a C compiler: install disthead once more, and read what it says"


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, 2, 3, 15, 100])
def test_rows_times_their_factors(columns, dtype):
    factors = torch.randn(2 * 700, dtype=dtype)
    for factor in (factors[:700], factors[::2], factors[:1].expand(700)):
        for layout in (
            lambda x: x.clone(),
            lambda x: x.t().contiguous().t(),
            lambda x: x.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, ::3],
        ):
            table = layout(torch.randn(700, columns, dtype=dtype))
            expected = table * factor[:, None]
            assert multiply_rows(table, factor)
            torch.testing.assert_close(table, expected, rtol=0, atol=0)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_rows_times_one_quotient(dtype):
    factor = torch.tensor(1.7, dtype=dtype)
    for table in (torch.randn(700, 3, dtype=dtype), torch.randn(3, 700, dtype=dtype).t()):
        expected = table * (factor / -700)
        assert multiply_rows(table, factor, -700)
        torch.testing.assert_close(table, expected, rtol=0, atol=0)
    assert not multiply_rows(table, factor.expand(700), -700)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_less_the_mean_of_values(dtype):
    mean = torch.empty((), dtype=dtype)
    for values in (torch.randn(701, dtype=dtype), torch.randn(1402, dtype=dtype)[::2]):
        assert negative_mean(values, mean)
        torch.testing.assert_close(mean, -values.mean())
    assert not negative_mean(values, mean.half())
    assert not negative_mean(values, mean[None])
    assert not negative_mean(values[:, None], mean)


@needs_library
def test_rows_and_factors_that_do_not_fit():
    table = torch.ones(5, 2, dtype=torch.float64)
    factors = torch.full((5,), 2.0, dtype=torch.float64)
    for rows, others in (
        (table, factors.float()),
        (table, factors[:4]),
        (table, factors[0]),
        (table[:, 0], factors),
        (table.long(), factors.long()),
        (table.half(), factors.half()),
    ):
        assert not multiply_rows(rows, others)
        assert (rows == 1).all()


@needs_library
def test_tensors_that_do_not_fit_the_logits():
    logits, slopes, value = torch.zeros(5, 12), torch.ones(5, 12), torch.zeros(5)
    index = torch.zeros(5, dtype=torch.long)
    assert choose(0, 5, logits, index, value, slopes)
    assert choose(5, 5, logits, index, value)
    for tensors in (
        (logits[0], index, value),
        (logits, index[:4], value),
        (logits, index, value.double()),
        (logits, index.float(), value),
        (logits, index, value, slopes[:, :11].contiguous()),
        (index.reshape(5, 1), index, value),
    ):
        with pytest.raises(ValueError, match="of that shape"):
            choose(0, 1, *tensors)
    for start, stop in ((-1, 5), (0, 6)):
        with pytest.raises(ValueError, match="of that shape"):
            choose(start, stop, logits, index, value)
    with pytest.raises(TypeError, match="3 or 4 tensors"):
        choose(0, 5, logits, index)
    assert not choose(0, 5, torch.zeros(12, 5).t(), index, value)
    assert not choose(0, 5, logits.half(), index, value.half())
