"""Targets with repeated values are reported, those that were rounded are not."""

import pytest
import torch

import disthead as dh
from disthead.diagnostics.targets import check_continuous_target


def test_grades_are_few_values(generator):
    grades = 3 + torch.multinomial(
        torch.tensor([0.01, 0.03, 0.43, 0.4, 0.12, 0.01]), 1600, True, generator=generator
    )
    [message] = check_continuous_target(grades.float()).messages
    assert "only 6 different values (3, 4, 5, 6, 7, 8) in 1600 rows" in message
    for name in ("categorical", "poisson", "negative_binomial"):
        assert name in message
    assert "poisson" not in check_continuous_target(grades.float() - 20.5).messages[0]  # no counts


@pytest.mark.parametrize("place", ["edge", "inside"])
def test_an_atom_is_found_with_its_count(place, generator):
    """House prices in thousands, rounded to one digit, and cut off at 50 or heaped at 25."""
    y = (22 + 8 * torch.randn(500, generator=generator)).mul(10).round().div(10)
    y = y.clamp(max=49.9)
    value = 50.0 if place == "edge" else 25.04
    y[:16] = value
    check = check_continuous_target(y)
    [(atom, count)] = check.atoms
    assert atom == pytest.approx(value)
    assert count == 16
    assert ("the largest value" in check.messages[0]) == (place == "edge")
    assert "16 of 500 rows" in check.messages[0]


def test_zeros_of_rain_are_an_atom(generator):
    y = torch.randn(300, generator=generator).clamp(min=0)
    check = check_continuous_target(y)
    assert check.atoms == ((0.0, int((y == 0).sum())),)
    assert "the smallest value" in check.messages[0]


@pytest.mark.parametrize("rows", [40, 200, 1000, 10_000])
@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_rounding_is_no_reason_to_warn(rows, digits, generator):
    """None of 20 targets with many values from three usual distributions is reported."""
    for _ in range(20):
        for y in (
            50 + 20 * torch.randn(rows, generator=generator),
            100 * torch.rand(rows, generator=generator),
            -40 * torch.rand(rows, generator=generator).log(),
        ):
            assert check_continuous_target((y * 10**digits).round() / 10**digits).messages == ()


def test_copied_rows_are_found_where_rounding_does_not_explain_them(generator):
    y = torch.randn(200, generator=generator)
    assert "each occurs 5.0 times" in check_continuous_target(y.repeat(5)).messages[0]
    assert check_continuous_target(y.repeat(2)).messages == ()
    assert check_continuous_target((y * 100).round().repeat(5)).messages == ()  # could be chance


def test_messages_are_read_after_what_the_target_has(generator):
    rain = torch.randn(300, generator=generator).clamp(min=0)
    copies = torch.randn(200, generator=generator).repeat(5)
    grades = torch.arange(600) % 6
    messages = [check_continuous_target(y).messages[0] for y in (rain, copies, grades)]
    for message, words in zip(
        messages,
        ("0, the smallest value, in ", "only 200 different values in 1000 rows", "only 6 "),
        strict=True,
    ):
        assert message.startswith(words)


def test_few_rows_say_nothing():
    check = check_continuous_target(torch.tensor([1.0, 2.0] * 10))
    assert (check.rows, check.distinct, check.messages) == (20, 2, ())


def test_only_families_that_exist_are_named(generator):
    words = set(
        " ".join(check_continuous_target(torch.arange(600) % 6).messages).replace(".", "").split()
    )
    assert {"ordinal", "categorical"} & words <= set(dh.families())


def test_one_target_at_a_time():
    with pytest.raises(ValueError, match="one target after the other"):
        check_continuous_target(torch.zeros(40, 2))


def test_a_constant_target_is_one_value():
    [message] = check_continuous_target(torch.full((200,), 5.0)).messages
    assert message.startswith("only one value, 5, in all 200 rows")
