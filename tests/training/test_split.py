"""Which rows are held out together: those of a group, and those with equal features."""

import contextlib

import pandas as pd
import pytest
import torch

from disthead.data.split import (
    RepeatedRowsWarning,
    draw_folds,
    equal_rows,
    numbered,
    row_numbers,
    split_at_random,
    warn_of_copies,
)
from disthead.training import DataError, TabularDataModule


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestRowNumbers:
    def test_equal_rows_have_one_number_and_others_have_their_own(self):
        x = torch.randn(300, 4, generator=generator()).double()
        x = torch.cat([x, x[:100], -x[:100]])
        number = row_numbers(x)
        assert torch.equal(number[300:400], number[:100])
        assert len(number.unique()) == 400

    def test_zeros_have_one_sign_and_small_integers_do_not_meet(self):
        grid = torch.cartesian_prod(*[torch.arange(-6.0, 6.0)] * 4)
        assert len(row_numbers(grid).unique()) == 12**4
        assert row_numbers(torch.tensor([[0.0], [-0.0]])).tolist() == [0, 0]

    def test_numbers_do_not_depend_on_units(self):
        x = torch.randint(5, (50, 2), generator=generator()).double()
        assert torch.equal(row_numbers(x), row_numbers(1000 * x - 7))


class TestEqualRows:
    def groups(self, x, y, least=30):
        return equal_rows(
            row_numbers(x), row_numbers(torch.cat([x, y.reshape(len(y), -1)], 1)), least
        )

    def test_rows_without_copies_are_groups_of_their_own(self):
        x = torch.randn(40, 2, generator=generator())
        assert torch.equal(self.groups(x, x[:, 0]), torch.arange(40))

    def test_copies_are_together_however_many_there_are(self):
        x = torch.randn(40, 2, generator=generator()).repeat(50, 1)
        assert torch.equal(self.groups(x, x[:, 0]), torch.arange(40).repeat(50))

    def test_pairs_with_different_targets_are_together(self):
        x = torch.randn(40, 2, generator=generator()).repeat(2, 1)
        assert torch.equal(self.groups(x, torch.arange(80.0)), torch.arange(40).repeat(2))

    def test_features_of_a_few_categories_name_no_row(self):
        x = (torch.arange(1000) % 3).double().unsqueeze(1)
        assert len(self.groups(x, torch.arange(1000.0)).unique()) == 1000

    def test_fewer_rows_per_category_are_split_where_too_few_groups_would_be_left(self):
        x = (torch.arange(150) % 15).double().unsqueeze(1)
        assert len(self.groups(x, torch.arange(150.0)).unique()) == 150
        assert len(self.groups(x, torch.arange(150.0), least=10).unique()) == 15

    def test_a_warning_from_one_copy_in_a_hundred_on(self):
        for least, warns in ((197, True), (198, False)):
            row = numbered(torch.arange(200).clamp(max=least))
            context = (
                pytest.warns(RepeatedRowsWarning, match="2 of 200 rows repeat")
                if warns
                else contextlib.nullcontext()
            )
            with context:
                warn_of_copies(row, row, "give `groups`")

    def test_equal_features_with_different_targets_are_no_copies(self):
        warn_of_copies(torch.arange(100).repeat(2), torch.arange(200), "give `groups`")


class TestFolds:
    def test_single_rows_give_exactly_these_sizes(self):
        folds = draw_folds(torch.arange(100), [20, 10], generator())
        assert folds.bincount().tolist() == [20, 10, 70]

    @pytest.mark.parametrize("sizes", [[40], [25, 25, 25, 25], [67, 67, 66]])
    def test_groups_are_whole_and_folds_are_nearly_as_large(self, sizes):
        groups = numbered(torch.randint(40, (200,), generator=generator()))
        folds = draw_folds(groups, sizes, generator(1))
        assert all(len(folds[groups == group].unique()) == 1 for group in range(40))
        largest = int(groups.bincount().max())
        for fold, size in enumerate(sizes):
            assert abs(int((folds == fold).sum()) - size) <= largest

    def test_a_group_with_most_of_the_rows_is_held_out_from_nobody(self):
        groups = torch.cat([torch.zeros(150, dtype=torch.long), 1 + torch.arange(50)])
        folds = draw_folds(groups, [100, 100], generator())
        assert (folds[:150] == 2).all()
        assert (folds == 0).any() or (folds == 1).any()

    def test_of_two_groups_the_smaller_one_is_held_out(self):
        groups = torch.cat([torch.zeros(60, dtype=torch.long), torch.ones(40, dtype=torch.long)])
        assert torch.equal(draw_folds(groups, [20], generator()) == 0, groups == 1)

    def test_the_seed_decides(self):
        first, same, other = (
            draw_folds(torch.arange(50), [10], generator(seed)) for seed in (0, 0, 1)
        )
        assert torch.equal(first, same)
        assert not torch.equal(first, other)


class TestRandomSplit:
    def test_groups_that_leave_a_part_empty_are_refused(self):
        groups = torch.arange(100) % 2
        with pytest.raises(DataError, match="2 groups of rows are too few for this split"):
            split_at_random(100, "rows", {"val": 0.2, "test": 0.2}, 0, groups)

    def test_a_column_keeps_its_groups_in_one_part(self):
        frame = pd.DataFrame(
            {"x": range(200), "y": range(200), "person": [f"p{row % 40}" for row in range(200)]}
        )
        data = TabularDataModule(frame, target="y", groups="person")
        persons = [set(data.frame(part)["person"]) for part in ("train", "val", "test")]
        assert sum(map(len, persons)) == len(set.union(*persons)) == 40
        assert data.columns.used() == ["x", "y"]

    def test_a_group_that_is_missing_or_unknown_is_named(self):
        frame = pd.DataFrame(
            {
                "x": range(50),
                "y": range(50),
                "person": [None if row == 7 else "p" for row in range(50)],
            }
        )
        with pytest.raises(
            DataError,
            match="column of the groups 'person' must have no missing values, got one at row 7",
        ):
            TabularDataModule(frame, target="y", groups="person").part("train")
        with pytest.raises(ValueError, match="did you mean 'person'"):
            TabularDataModule(frame, target="y", groups="persn").part("train")

    def test_copies_of_a_row_are_in_one_part(self):
        frame = pd.DataFrame(
            {"x": [row % 100 for row in range(300)], "y": [row % 100 for row in range(300)]}
        )
        data = TabularDataModule(frame, target="y")
        with pytest.warns(
            RepeatedRowsWarning, match=r"200 of 300 rows .* give their column as `groups`"
        ):
            parts = [set(data.frame(part)["x"]) for part in ("train", "val", "test")]
        assert sum(map(len, parts)) == 100
