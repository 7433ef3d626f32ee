"""The parts of the default recipe, and the recipe as a whole."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import disthead as dh
from disthead import recipe
from disthead.families.mixture import Mixture
from disthead.networks.averaging import WeightAverage
from disthead.networks.encoding import PiecewiseLinearEncoding
from disthead.networks.predictive_model import PredictiveModel
from disthead.networks.schedule import WarmupConstantDecay
from disthead.networks.tabular import (
    MemberHead,
    MemberLinear,
    TabularBackbone,
    start_near_unconditional_fit,
)
from disthead.recipe import fit_tabular, train


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def table(rows, noise=0.3):
    """A bent line whose standard deviation grows with the second column."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(rows, 2, generator=generator) * 4 - 2
    scale = noise * (0.2 + x[:, 1].abs())
    y = torch.sin(3 * x[:, 0]) + scale * torch.randn(rows, generator=generator)
    return x, y, scale


class TestEncoding:
    def test_is_the_share_of_each_bin_below_the_number(self):
        values = torch.randn(500).double()
        encoding = PiecewiseLinearEncoding(1, bins=8).fit(values.unsqueeze(1))
        lower, rate = encoding.lower[0].double(), encoding.rate[0].double()
        edges = torch.cat([lower, lower[-1:] + 1 / rate[-1:]])
        new = torch.linspace(-5, 5, 41)
        expected = [
            [float(np.interp(x, edges[[t, t + 1]].numpy(), [0.0, 1.0])) for t in range(8)]
            for x in new.tolist()
        ]
        assert torch.allclose(encoding(new.unsqueeze(1)), torch.tensor(expected), atol=1e-5)

    def test_bins_hold_as_many_rows_each(self):
        values = torch.randn(1600).exp()
        encoding = PiecewiseLinearEncoding(1, bins=16).fit(values.unsqueeze(1))
        inside = (encoding(values.unsqueeze(1)) > 0).sum(0).diff().neg()
        assert inside.min() >= 98
        assert inside.max() <= 102

    def test_few_values_keep_a_level_each_and_a_constant_gives_zeros(self):
        x = torch.tensor([[1.0, 7.0], [2.0, 7.0], [5.0, 7.0], [1.0, 7.0]])
        coordinates = PiecewiseLinearEncoding(2, bins=4).fit(x)(x)
        assert coordinates[:, :4].tolist() == [
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [1, 1, 0, 0],
            [0, 0, 0, 0],
        ]
        assert coordinates[:, 4:].eq(0).all()

    def test_checkpoints_keep_the_bins(self):
        encoding = PiecewiseLinearEncoding(3).fit(torch.randn(100, 3))
        again = PiecewiseLinearEncoding(3)
        again.load_state_dict(encoding.state_dict())
        x = torch.randn(20, 3)
        assert torch.equal(again(x), encoding(x))

    def test_values_that_meet_in_single_precision_make_no_bin_of_no_width(self):
        x = torch.tensor([[1.0], [1.0 + 1e-12], [2.0]], dtype=torch.float64)
        assert PiecewiseLinearEncoding(1).fit(x)(x.float()).isfinite().all()

    @pytest.mark.parametrize(
        "features, message",
        [
            (torch.zeros(5, 3), r"shape \(rows, 2\), got \(5, 3\)"),
            (torch.zeros(0, 2), "rows"),
            (torch.tensor([[0.0, math.nan]]), r"columns \[1\]"),
        ],
    )
    def test_refuses_what_has_no_bins(self, features, message):
        with pytest.raises(ValueError, match=message):
            PiecewiseLinearEncoding(2).fit(features)


class TestMembers:
    def test_each_layer_is_a_linear_layer_of_its_own(self):
        layer = MemberLinear(3, 4, 2)
        for x in (torch.randn(5, 4), torch.randn(3, 5, 4)):
            out = layer(x)
            for member in range(3):
                alone = nn.functional.linear(
                    x if x.ndim == 2 else x[member], layer.weight[member].T, layer.bias[member, 0]
                )
                assert torch.allclose(out[member], alone, atol=1e-6)

    def test_members_do_not_touch_each_other(self):
        backbone = TabularBackbone(3, (8,), members=2).fit(torch.randn(50, 3))
        members = PredictiveModel(backbone, MemberHead("normal", 8, members=2))
        members.by_member(torch.randn(6, 3)).loc[0].sum().backward()
        for parameter in members.parameters():
            assert parameter.grad[1].eq(0).all()

    def test_one_member_alone_says_what_it_said_among_others(self):
        backbone = TabularBackbone(3, (8,), members=4).fit(torch.randn(50, 3))
        members = PredictiveModel(backbone, MemberHead("student_t", 8, members=4))
        x, y = torch.randn(6, 3), torch.randn(6)
        assert torch.allclose(
            members.only(-1)(x).log_prob(y),
            members.by_member(x).log_prob(y.expand(4, 6))[3],
            atol=1e-6,
        )

    @pytest.mark.parametrize(
        "family, options, y",
        [
            ("normal", {}, torch.randn(40)),
            ("normal", {"shared": ("scale",)}, torch.randn(40)),
            ("normal", {"fixed": {"scale": 1.0}}, torch.randn(40)),
            ("student_t", {"fixed": {"df": 4.0}, "shared": ("scale",)}, torch.randn(40)),
            ("normal", {"shared": "all"}, torch.randn(40)),
            ("normal", {"event_shape": (2,)}, torch.randn(40, 2)),
            ("mixture", {"num_components": 3}, torch.randn(40)),
            ("poisson", {}, torch.arange(40.0)),
            ("categorical", {"num_classes": 3}, torch.arange(40) % 3),
            ("multivariate_normal", {"event_shape": (2,)}, torch.randn(40, 2)),
        ],
    )
    def test_a_head_of_members_is_that_many_heads(self, family, options, y):
        heads = MemberHead(family, 5, members=3, **options).initialize(y)
        alone = dh.DistributionHead(family, 5, **options).initialize(y)
        features = torch.randn(3, 40, 5)
        dist = heads(features)
        assert dist.batch_shape == (3, 40)
        for member in range(3):
            if alone.linear is not None:
                with torch.no_grad():
                    alone.linear.weight.copy_(heads.linear.weight[member].T)
            expected = alone(features[member]).log_prob(y)
            assert torch.allclose(dist.log_prob(y.expand(3, *y.shape))[member], expected, atol=1e-4)

    def test_members_must_agree(self):
        with pytest.raises(ValueError, match="2 members and head has 3"):
            PredictiveModel(TabularBackbone(3, members=2), MemberHead("normal", 128, members=3))

    def test_the_encoding_is_standardised_and_rare_values_stay_small(self):
        rare = torch.zeros(5000)
        rare[0] = 1.0
        x = torch.stack([torch.rand(5000), rare], 1)
        backbone = TabularBackbone(2, bins=8).fit(x)
        encoded = backbone.encode(x)
        assert torch.equal(encoded[:, :2], x)
        assert torch.allclose(encoded[:, 2:].mean(0), torch.zeros(16), atol=1e-4)
        assert torch.allclose(encoded[:, 2:10].std(0), torch.ones(8), atol=1e-3)
        assert encoded[:, 10:].abs().max() <= 8

    def test_columns_that_do_not_exist_are_refused(self):
        with pytest.raises(ValueError, match="between 0 and 2"):
            TabularBackbone(3, encoded=[3])


class TestAverageAndSchedule:
    def test_the_average_is_the_recursion(self):
        weight = nn.Parameter(torch.zeros(3))
        average, expected = WeightAverage([weight], decay=0.5), torch.zeros(3)
        for step in range(1, 20):
            with torch.no_grad():
                weight.copy_(torch.randn(3))
            average.update()
            decay = min(0.5, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weight.detach()
        assert torch.allclose(average.values[0], expected, atol=1e-6)

    def test_the_weights_come_back_even_after_an_error(self):
        weight = nn.Parameter(torch.ones(2))
        average = WeightAverage([weight])
        with torch.no_grad():
            weight.fill_(5.0)
        with average.applied():
            assert weight.tolist() == [1.0, 1.0]
        assert weight.tolist() == [5.0, 5.0]
        with pytest.raises(ZeroDivisionError), average.applied():
            1 / 0  # noqa: B018
        assert weight.tolist() == [5.0, 5.0]

    def test_the_schedule_continues_from_a_checkpoint(self):
        def rates(steps, state=None):
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = WarmupConstantDecay(optimizer, steps=20, warmup=5)
            if state:
                optimizer.load_state_dict(state[0])
                schedule.load_state_dict(state[1])
            values = []
            for _ in range(steps):
                values += schedule.get_last_lr()
                optimizer.step()
                schedule.step()
            return values, (optimizer.state_dict(), schedule.state_dict())

        whole, _ = rates(25)
        first, state = rates(15)
        rest, _ = rates(10, state)
        assert whole == first + rest
        assert whole[20:] == [0.0] * 5


class TestStart:
    def test_degrees_of_freedom_start_where_they_can_be_learned(self):
        """They are those of the unconditional model where its tails are heavy, and 8 where they are
        light.
        """
        heavy, light = torch.distributions.StudentT(3.0).sample((2000,)), torch.rand(2000)
        for y in (heavy, light):
            head, marginal = MemberHead("student_t", 4, members=2), dh.marginal("student_t", y)
            start_near_unconditional_fit(head.initialize(y))
            dist = head(torch.zeros(2, 1, 4))
            assert torch.allclose(dist.df, marginal.df.clamp(max=8.0).expand(2, 1), rtol=1e-3)
            assert torch.allclose(dist.loc, marginal.loc.expand(2, 1), atol=1e-4)
        assert marginal.df > 8

    def test_weights_are_small(self):
        torch.manual_seed(0)
        head = MemberHead("normal", 4, members=2)
        before = head.linear.weight.detach().clone()
        start_near_unconditional_fit(head.initialize(torch.randn(50)))
        assert torch.allclose(head.linear.weight, 0.3 * before)

    def test_a_head_without_predicted_parameters_starts_at_the_marginal_fit(self):
        y = torch.randn(50)
        head = MemberHead("normal", 4, members=2, shared="all")
        start_near_unconditional_fit(head.initialize(y))
        assert torch.allclose(head(torch.zeros(2, 1, 4)).loc, y.mean().expand(2, 1), atol=1e-4)


class TestTraining:
    def test_what_is_held_out_from_a_member_does_not_reach_it(self):
        """Absurd targets in the rows held out from the first member change the second alone."""
        x, y, _ = table(64)
        held_out = torch.zeros(2, 64, dtype=torch.bool)
        held_out[0, :16] = True

        def weights(y):
            torch.manual_seed(0)
            members = PredictiveModel(
                TabularBackbone(2, (8,), members=2).fit(x), MemberHead("normal", 8, members=2)
            )
            # one evaluation at the end, so that the two stop at the same step
            options = {"max_steps": 30, "check_every": 30}
            train(members, x, y, held_out, generator=torch.Generator().manual_seed(0), **options)
            return members.head.linear.weight.detach()

        absurd = y.clone()
        absurd[:16] += 100
        assert torch.equal(weights(y)[0], weights(absurd)[0])
        assert not torch.equal(weights(y)[1], weights(absurd)[1])

    def test_a_row_without_weight_teaches_nothing(self):
        x, y, _ = table(64)
        weight = torch.ones(64)
        weight[:10] = 0
        absurd = y.clone()
        absurd[:10] = 50

        def trained(y):
            torch.manual_seed(0)
            members = PredictiveModel(
                TabularBackbone(2, (8,), members=2).fit(x), MemberHead("normal", 8, members=2)
            )
            held_out = torch.zeros(2, 64, dtype=torch.bool)
            held_out[0, 5:20] = True
            train(
                members,
                x,
                y,
                held_out,
                weight=weight,
                max_steps=40,
                generator=torch.Generator().manual_seed(0),
            )
            return members.head.linear.weight.detach()

        assert torch.equal(trained(y), trained(absurd))

    def test_kept_weights_have_the_reported_score(self):
        x, y, _ = table(200)
        held_out = torch.zeros(3, 200, dtype=torch.bool)
        for member in range(3):
            held_out[member, member * 20 : member * 20 + 15 + member] = True  # of different sizes
        members = PredictiveModel(
            TabularBackbone(2, (16,), members=3).fit(x), MemberHead("normal", 16, members=3)
        )
        course = train(members, x, y, held_out, max_steps=200)
        with torch.no_grad():
            losses = -members.by_member(x).log_prob(y.expand(3, 200))
        for member in range(3):
            assert losses[member][held_out[member]].mean().item() == pytest.approx(
                course.loss[member].item(), abs=1e-4
            )

    @pytest.mark.parametrize("rows, size, rate", [(40, 32, 5e-3), (4096, 64, 5e-3 * 2**0.5)])
    def test_batches_and_learning_rates_grow_with_the_table(self, rows, size, rate, monkeypatch):
        """The rate in proportion to the square root of the batch; reached after the first fifth of
        the steps.
        """
        seen, step = [], torch.optim.AdamW.step

        def noted(optimizer, closure=None):
            seen.append(optimizer.param_groups[0]["lr"])
            return step(optimizer, closure)

        monkeypatch.setattr(torch.optim.AdamW, "step", noted)
        sizes, forward = set(), recipe.from_encoded

        def counted(members, encoded, **known):
            sizes.add(encoded.shape[-2])
            return forward(members, encoded, **known)

        monkeypatch.setattr(recipe, "from_encoded", counted)
        x, y, _ = table(rows)
        fit_tabular(x, y, family="normal", hidden_sizes=(4,), max_steps=10)
        assert max(seen) == pytest.approx(rate)
        assert sizes == {size, rows // 5}

    def test_training_stops_when_nothing_gets_better(self):
        """Targets are pure noise: no model is better than the unconditional one."""
        x, y = torch.randn(100, 3), torch.randn(100)
        _, course = fit_tabular(x, y, family="normal", max_steps=2000)
        assert course.stopped < 2000


class TestFit:
    def test_one_model_finds_the_line_and_the_spread(self):
        x, y, _ = table(600)
        model, course = fit_tabular(x, y, family="normal", max_steps=600)
        new_x, new_y, scale = table(900)
        new_x, new_y, scale = new_x[600:], new_y[600:], scale[600:]
        with torch.no_grad():
            dist = model(new_x)
        truth = dh.get_family("normal").distribution(loc=torch.sin(3 * new_x[:, 0]), scale=scale)
        baseline = dh.marginal("normal", y)
        gap = dh.nll(dist, new_y) - dh.nll(truth, new_y)
        assert gap < 0.35 * (-baseline.log_prob(new_y).mean() - dh.nll(truth, new_y))
        assert torch.corrcoef(torch.stack([dist.stddev, scale]))[0, 1] > 0.7
        assert course.stopped <= 600

    def test_units_of_features_and_target_do_not_matter(self):
        x, y, _ = table(120)
        options = {"max_steps": 50, "family": "normal"}
        plain, _ = fit_tabular(x.double(), y.double(), **options)
        other, _ = fit_tabular(x.double() * 1000 + 5, y.double() * 1e-3 - 7, **options)
        with torch.no_grad():
            moved = (other(x.double() * 1000 + 5).mean + 7) * 1e3
            assert torch.allclose(plain(x.double()).mean, moved, atol=2e-2)

    def test_an_ensemble_is_the_mixture_of_its_members(self):
        x, y, _ = table(120)
        model, course = fit_tabular(x, y, family="normal", ensemble=3, max_steps=50)
        with torch.no_grad():
            dist, members = model(x), model.by_member(x, standardised=True)
            loc = members.loc * model.target_scale + model.target_loc
            scale = members.scale * model.target_scale
            density = torch.distributions.Normal(loc, scale).log_prob(y).exp().mean(0)
        assert isinstance(dist, Mixture)
        assert dist.batch_shape == (120,)
        assert torch.allclose(dist.log_prob(y).exp(), density.float(), rtol=1e-3)
        assert len(course.steps) == 3

    def test_counts_and_classes_stay_as_they_are(self):
        x, _, _ = table(120)
        counts = torch.poisson(torch.exp(x[:, 0]))
        model, _ = fit_tabular(x, counts, family="poisson", max_steps=50)
        assert torch.isfinite(model(x).log_prob(counts)).all()
        ensemble, _ = fit_tabular(x, counts, family="poisson", ensemble=2, max_steps=50)
        assert torch.isfinite(ensemble(x).log_prob(counts)).all()

    def test_the_same_seed_gives_the_same_model(self):
        x, y, _ = table(60)
        first, second, other = (
            fit_tabular(x, y, max_steps=50, seed=seed)[0](x).loc for seed in (1, 1, 2)
        )
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_few_rows_are_all_learned_from_and_a_warning_says_so(self):
        x, y, _ = table(12)
        with pytest.warns(UserWarning, match="12 rows are too few"):
            model, course = fit_tabular(x, y, family="normal")
        assert model.recalibration is None
        assert course.loss.isnan().all()

    def test_targets_outside_the_support_are_refused(self):
        x, y, _ = table(60)
        with pytest.raises(dh.errors.TargetError, match="support of gamma"):
            fit_tabular(x, y, family="gamma")


@pytest.mark.parametrize("family", ["normal", "laplace", "student_t"])
@pytest.mark.parametrize("min_scale", [0.2, 0.9])
def test_training_starts_above_the_minimum_scale(family, min_scale):
    x = torch.linspace(-1, 1, 60).unsqueeze(1)
    y = 100 * x[:, 0].sin()
    model, _ = fit_tabular(x, y, family=family, min_scale=min_scale, max_steps=30)
    assert bool((model(x).scale > min_scale * model.target_scale).all())
