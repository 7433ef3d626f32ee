"""The head: which parameters are predicted, shared or fixed, its shapes, its start, its errors."""

import math

import numpy as np
import pytest
import torch

import disthead as dh


def test_normal_with_everything_predicted_is_a_linear_layer_and_links(generator):
    head = dh.DistributionHead("normal", 4)
    features = torch.randn(6, 4, generator=generator)
    loc, raw_scale = head.linear(features).unbind(-1)
    dist = head(features)
    torch.testing.assert_close(dist.loc, loc)
    torch.testing.assert_close(dist.scale, torch.nn.functional.softplus(raw_scale))
    torch.testing.assert_close(head.params(features)["scale"], dist.scale)
    assert list(head.params(features)) == ["loc", "scale"]


def test_links_are_exchangeable(generator):
    head = dh.DistributionHead("normal", 4, links={"scale": "exp"})
    features = torch.randn(6, 4, generator=generator)
    torch.testing.assert_close(head(features).scale, head.linear(features)[:, 1].exp())


def test_own_link():
    square = dh.Link(
        "square",
        "x^2",
        torch.distributions.constraints.positive,
        torch.square,
        torch.sqrt,
        log=lambda x: 2 * x.abs().log(),
    )
    head = dh.DistributionHead("poisson", 2, links={"rate": square}).initialize(
        torch.tensor([3.0, 5.0])
    )
    torch.testing.assert_close(head(torch.zeros(1, 2)).rate, torch.tensor([4.0]))


def test_shared_parameter_is_one_value_for_all_rows(generator):
    head = dh.DistributionHead("normal", 4, event_shape=(3,), shared=("scale",))
    dist = head(torch.randn(6, 4, generator=generator))
    assert head.linear.out_features == 3
    assert head.shared["scale"].shape == (3,)  # one scale for each output
    assert dist.batch_shape == (6,)
    assert dist.event_shape == (3,)
    assert bool((dist.scale == dist.scale[0]).all())
    assert not bool((dist.loc == dist.loc[0]).all())


def test_everything_shared_ignores_the_features(generator):
    head = dh.DistributionHead("gamma", 4, shared="all")
    assert head.linear is None
    dist = head(torch.randn(6, 4, generator=generator))
    assert dist.batch_shape == (6,)
    assert bool((dist.rate == dist.rate[0]).all())


def test_fixed_parameter_is_exact_in_any_precision():
    head = dh.DistributionHead("normal", 2, fixed={"scale": 0.1})
    assert float(head.double()(torch.zeros(1, 2, dtype=torch.float64)).scale) == 0.1
    assert [name for name, _ in head.named_parameters()] == ["linear.weight", "linear.bias"]


def test_fixed_tensor_travels_with_the_state():
    head = dh.DistributionHead(
        "normal", 2, event_shape=(2,), fixed={"scale": torch.tensor([1.0, 2.0])}
    )
    assert "fixed_scale" in head.state_dict()
    torch.testing.assert_close(head(torch.zeros(1, 2)).scale, torch.tensor([[1.0, 2.0]]))


def test_independent_outputs_add_up(generator):
    head = dh.DistributionHead("student_t", 4, event_shape=(2, 3))
    features, y = torch.randn(6, 4, generator=generator), torch.randn(6, 2, 3, generator=generator)
    dist = head(features)
    assert dist.event_shape == (2, 3)
    assert dist.log_prob(y).shape == (6,)
    torch.testing.assert_close(dist.log_prob(y), dist.base.log_prob(y).sum((-2, -1)))


def test_vector_family_takes_its_dimension_from_event_shape():
    head = dh.DistributionHead("multivariate_normal", 4, event_shape=(3,))
    assert head(torch.zeros(6, 4)).scale_tril.shape == (6, 3, 3)


def test_head_for_images_is_a_1x1_convolution(generator):
    images = torch.randn(2, 4, 5, 7, generator=generator)
    head = dh.DistributionHead("normal", 4, feature_dim=1)
    dist = head(images)
    assert dist.batch_shape == (2, 5, 7)
    convolved = torch.nn.functional.conv2d(
        images, head.linear.weight[:, :, None, None], head.linear.bias
    )
    torch.testing.assert_close(dist.loc, convolved[:, 0])


def test_image_head_with_several_outputs_and_their_marginal_fit(generator):
    head = dh.DistributionHead("normal", 4, feature_dim=1, event_shape=(3,))
    y = torch.randn(2, 5, 7, 3, generator=generator) + torch.tensor([0.0, 10.0, -5.0])
    dist = head.initialize(y)(torch.zeros(2, 4, 5, 7))
    torch.testing.assert_close(dist.mean[0, 0, 0], y.mean((0, 1, 2)), atol=1e-4, rtol=1e-4)


def test_initialize_sets_biases_only_and_matches_the_closed_form(generator):
    y = 3 + 2 * torch.randn(500, generator=generator)
    head = dh.DistributionHead("normal", 4)
    weight = head.linear.weight.clone()
    dist = head.initialize(y)(torch.zeros(1, 4))
    torch.testing.assert_close(head.linear.weight, weight)
    torch.testing.assert_close(dist.loc, y.mean()[None])
    torch.testing.assert_close(dist.scale, y.std(correction=0)[None])


@pytest.mark.parametrize("link", ["sigmoid", "probit", "identity"])
def test_initialize_goes_through_the_link(link):
    head = dh.DistributionHead("bernoulli", 2, links={"logits": link}).initialize(
        torch.tensor([0.0, 1.0, 1.0, 1.0])
    )
    torch.testing.assert_close(head(torch.zeros(1, 2)).probs, torch.tensor([0.75]))


def test_initialize_with_a_fixed_parameter(generator):
    y = torch.randn(200, generator=generator)
    head = dh.DistributionHead("normal", 2, fixed={"scale": 5.0}).initialize(y)
    torch.testing.assert_close(head(torch.zeros(1, 2)).loc, y.mean()[None], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family, limit, y", [
    ("student_t", "normal", torch.linspace(-3, 5, 300)),
    ("negative_binomial", "poisson", 4 + torch.arange(300.0) % 4),
])  # fmt: skip
def test_a_maximum_at_infinity_is_approached(family, limit, y):
    """Tails are lighter than those of the whole family, whose limit fits best."""

    def nll(name):
        return float(
            dh.nll(dh.DistributionHead(name, 1).initialize(y)(torch.zeros(300, 1)), y).detach()
        )

    assert nll(family) == pytest.approx(nll(limit), abs=0.01)


def test_constant_targets_keep_the_start():
    dist = dh.DistributionHead("normal", 1).initialize(torch.full((50,), 7.0))(torch.zeros(1, 1))
    assert dist.loc == 7
    assert 1e-6 < dist.scale < 1


def test_exposure_is_known_per_row():
    y, months = torch.tensor([2.0, 4.0, 12.0]), torch.tensor([1.0, 2.0, 6.0])
    head = dh.DistributionHead("poisson", 1).initialize(y, exposure=months)
    dist = head(torch.zeros(3, 1), exposure=months)
    torch.testing.assert_close(dist.mean, y, atol=1e-5, rtol=1e-5)
    with pytest.raises(
        ValueError, match="poisson cannot take 'exposur' for each row: it takes exposure"
    ):
        head(torch.zeros(3, 1), exposur=months)
    with pytest.raises(
        ValueError, match=r"exposure of poisson must be positive, got 1 of 3 values: nan at row 1"
    ):
        head.initialize(y, exposure=torch.tensor([1.0, torch.nan, 6.0]))


@pytest.mark.parametrize(
    "family", ["normal", "laplace", "student_t", "gamma", "log_normal", "weibull", "normal_mixture"]
)
def test_constant_targets_leave_a_finite_head(family):
    head = dh.DistributionHead(family, 2).initialize(torch.full((20,), 3.0))
    assert all(parameter.isfinite().all() for parameter in head.parameters())


def test_low_precision_features_are_computed_in_single_precision():
    head = dh.DistributionHead("normal", 2).bfloat16()
    assert head(torch.zeros(3, 2, dtype=torch.bfloat16)).loc.dtype == torch.float32


def test_head_repeats_what_it_is():
    head = dh.DistributionHead("student_t", 2, fixed={"df": 4.0}, shared=("scale",))
    assert "student_t" in repr(head)
    assert "loc=identity" in repr(head)
    assert "scale shared" in repr(head)
    assert "df fixed" in repr(head)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("nromal", 2), {}, "unknown family 'nromal'; did you mean 'normal'"),
        (
            ("normal", 2),
            {"links": {"scale": "softpls"}},
            "unknown link 'softpls'; did you mean 'softplus'",
        ),
        (
            ("normal", 2),
            {"links": {"sale": "exp"}},
            "unknown parameter of normal 'sale'; did you mean 'scale'",
        ),
        (
            ("normal", 2),
            {"links": {"scale": "identity"}},
            "must be.*positive.*Try 'softplus' or 'exp'",
        ),
        (("gamma", 2), {"links": {"rate": "sigmoid"}}, "must be.*positive"),
        (
            ("normal", 2),
            {"fixed": {"scale": -1.0}},
            "fixed scale of normal must be positive, got -1",
        ),
        (
            ("student_t", 2),
            {"fixed": {"df": 1.0}},
            "fixed df of student_t must be greater than 2, got 1",
        ),
        (("normal", 2), {"fixed": {"scal": 1.0}}, "did you mean 'scale'"),
        (("normal", 2), {"shared": ("scael",)}, "did you mean 'scale'"),
        (("normal", 2), {"shared": ("scale",), "fixed": {"scale": 1.0}}, "both fixed and shared"),
        (("normal", 2), {"fixed": {"scale": 1.0, "loc": 0.0}}, "nothing is left to learn"),
        (
            ("normal", 2),
            {"fixed": {"scale": torch.ones(3)}},
            r"fixed scale of normal must have the shape \(\)",
        ),
        (("multivariate_normal", 2), {}, "event_shape"),
        (("plackett_luce", 2), {}, "event_shape"),
        (("categorical", 2), {}, "num_classes"),
        (("normal", 2), {"event_shape": (0,)}, "event_shape must be positive sizes"),
        (("normal", 2), {"num_clases": 3}, "unknown option of normal 'num_clases'"),
        (("gamma", 2), {"parametrization": "men"}, "did you mean 'mean'"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        dh.DistributionHead(*arguments, **options)


def test_wrong_features_are_named():
    head = dh.DistributionHead("normal", 2)
    with pytest.raises(
        ValueError, match=r"2 entries in dimension -1.*got a tensor of shape \(5, 3\)"
    ):
        head(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"floating-point, got torch.int64"):
        head(torch.zeros(5, 2, dtype=torch.long))


@pytest.mark.parametrize(
    "family, options, y, message",
    [
        (
            "gamma",
            {},
            [1.0, 2.0, -3.0],
            r"support of gamma.*-3 at row 2.*Families that take such targets: normal",
        ),
        ("poisson", {}, [1.0, 2.5], r"2.5 at row 1"),
        ("beta", {}, [0.5, 0.0, 1.0], r"0 at row 1, 1 at row 2.*squeeze"),
        ("bernoulli", {}, [0.0, 2.0], r"2 at row 1"),
        ("categorical", {"num_classes": 3}, [0, 1, 3], r"num_classes=3.*3 at row 2"),
        ("normal", {}, [0.0, math.nan], r"finite.*nan at row 1"),
        ("normal", {}, [0.0, math.inf], r"finite.*inf at row 1"),
        ("von_mises", {}, [0.0, 4.0], r"4 at row 1"),
    ],
)
def test_targets_outside_the_support_are_named(family, options, y, message):
    with pytest.raises(ValueError, match=message):
        dh.DistributionHead(family, 2, **options).initialize(torch.tensor(y))


def test_parameter_values_are_checked_where_people_give_them():
    with pytest.raises(
        ValueError, match="scale of normal must be positive, got 1 of 2 values: -1 at row 1"
    ):
        dh.get_family("normal").distribution(loc=0.0, scale=torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"normal needs the parameters loc, scale; missing: scale"):
        dh.get_family("normal").distribution(loc=0.0)
    with pytest.raises(ValueError, match="unknown parameter of gamma 'rte'; did you mean 'rate'"):
        dh.get_family("gamma").distribution(concentration=1.0, rte=1.0)


# Standardised targets.

REAL = {
    "normal": {},
    "laplace": {},
    "student_t": {},
    "normal_mixture": {"num_components": 2},
    "mixture": {"component": "laplace"},
    "multivariate_normal": {"event_shape": (3,)},
    "low rank": {"event_shape": (3,), "rank": 1},
    "normal by output": {"event_shape": (3,)},
}


def real_head(name, **options):
    family = {"low rank": "multivariate_normal", "normal by output": "normal"}.get(name, name)
    return dh.DistributionHead(family, 4, **REAL[name] | options)


def large_targets(name, generator):
    """300 of 1e5 +- 3e4, or of that and other units with a common part."""
    common, shape = torch.randn(300, generator=generator), REAL[name].get("event_shape", ())
    if not shape:
        return 1e5 + 3e4 * common
    noise = common[:, None] + torch.randn(300, *shape, generator=generator)
    return torch.tensor([1.0, 1e-3, 50.0]) * (1e5 + 2e4 * noise)


def in_units(base, loc, scale):
    """torch's own change of variable."""
    transform = torch.distributions.AffineTransform(loc, scale, event_dim=loc.ndim)
    return torch.distributions.TransformedDistribution(base, transform)


@pytest.mark.parametrize("name", REAL)
def test_a_standardised_head_is_the_affine_transform_of_what_its_layer_predicts(name, generator):
    y, features = (
        large_targets(name, generator),
        torch.randn(300, 4, generator=generator, dtype=torch.float64),
    )
    head = real_head(name).double().initialize(y, standardise=True)
    torch.testing.assert_close(head.target_loc, y.double().mean(0))
    torch.testing.assert_close(head.target_scale, y.double().std(0, correction=0))
    dist, y = head(features), y.double()
    inner = head._distribution(head._raw(features))
    expected = in_units(inner, head.target_loc, head.target_scale)
    torch.testing.assert_close(dist.log_prob(y), expected.log_prob(y), rtol=1e-9, atol=1e-9)
    own = {key.removeprefix("component_"): value for key, value in dist.parameters.items()}
    for key, value in head.params(features).items():
        torch.testing.assert_close(value, own[key], msg=key)


def test_the_example_of_a_normal_has_the_density_of_torch(generator):
    y, features = large_targets("normal", generator), torch.randn(300, 4, generator=generator)
    head = dh.DistributionHead("normal", 4).initialize(y, standardise=True)
    loc, raw = head.linear(features).unbind(-1)
    base = torch.distributions.Normal(loc, head.min_scale + torch.nn.functional.softplus(raw))
    expected = in_units(base, head.target_loc, head.target_scale).log_prob(y)
    torch.testing.assert_close(head(features).log_prob(y), expected, rtol=1e-5, atol=1e-5)
    at_start = dh.nll(head(torch.zeros(300, 4)), y)
    assert at_start.item() == pytest.approx(
        -torch.distributions.Normal(y.mean(), y.std(correction=0)).log_prob(y).mean().item(), 1e-5
    )


@pytest.mark.parametrize("name", REAL)
def test_units_do_not_matter_to_what_a_standardised_head_learns(name, generator):
    """Ten steps of Adam give the loss that they give in other units, up to the logarithm of the
    unit.
    """
    y, features = (
        large_targets(name, generator).double(),
        torch.randn(300, 4, generator=generator, dtype=torch.float64),
    )
    losses = []
    for loc, unit in ((0.0, 1.0), (-7.0, 1e-4), (1e3, 1e6)):
        torch.manual_seed(0)
        head = real_head(name).double()
        target = loc + unit * y
        head.initialize(target, standardise=True)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            loss = dh.nll(head(features), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item() - max(y[0].numel(), 1) * math.log(unit))
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-4)


@pytest.mark.parametrize("name", REAL)
def test_units_travel_with_the_state(name, generator):
    y, features = large_targets(name, generator), torch.randn(5, 4, generator=generator)
    head = real_head(name).initialize(y, standardise=True)
    assert {"target_loc", "target_scale"} <= set(head.state_dict())
    again = real_head(name)
    again.load_state_dict(head.state_dict())
    torch.testing.assert_close(
        again(features).log_prob(y[:5]), head(features).log_prob(y[:5]), rtol=0, atol=0
    )
    plain = real_head(name)
    again.load_state_dict(plain.state_dict())  # of a head in no units
    assert not again.is_standardised
    torch.testing.assert_close(
        again(features).log_prob(y[:5] / 1e5), plain(features).log_prob(y[:5] / 1e5), rtol=0, atol=0
    )
    nested = torch.nn.Sequential(torch.nn.Linear(4, 4), real_head(name))
    nested.load_state_dict(torch.nn.Sequential(nested[0], head).state_dict())
    assert nested[1].is_standardised


def test_without_standardise_the_units_are_left_again(generator):
    y = large_targets("normal", generator)
    head = dh.DistributionHead("normal", 4, fixed={"scale": 2e4}).initialize(y, standardise=True)
    head.initialize(y)
    assert list(head.state_dict()) == ["linear.weight", "linear.bias"]
    torch.testing.assert_close(head(torch.zeros(1, 4)).loc, y.mean()[None], rtol=1e-4, atol=0)
    head.initialize(y / 1e5, standardise=True).initialize(y, standardise=True)
    torch.testing.assert_close(head.target_loc, y.mean())


def test_fixed_values_stay_in_the_units_of_the_target(generator):
    y = large_targets("normal", generator)
    for fixed in ({"scale": 2e4}, {"loc": 9e4}, {"scale": torch.tensor(2e4)}):
        head = dh.DistributionHead("normal", 4, fixed=fixed).initialize(y, standardise=True)
        again = dh.DistributionHead("normal", 4, fixed=fixed)
        again.load_state_dict(head.state_dict())
        for one in (head, again):
            for name, value in fixed.items():
                torch.testing.assert_close(
                    one(torch.zeros(2, 4)).parameters[name], torch.full((2,), float(value))
                )
    heavy = dh.DistributionHead("student_t", 4, fixed={"df": 5.0}).initialize(y, standardise=True)
    assert heavy(torch.zeros(1, 4)).df == 5


def test_shared_parameters_and_images_are_standardised_too(generator):
    y = 1e5 + 3e4 * torch.randn(2, 5, 7, generator=generator)
    head = dh.DistributionHead("normal", 4, feature_dim=1, shared=("scale",)).initialize(
        y, standardise=True
    )
    dist = head(torch.zeros(2, 4, 5, 7))
    torch.testing.assert_close(dist.loc[0, 0, 0], y.mean(), rtol=1e-4, atol=0)
    torch.testing.assert_close(dist.scale[0, 0, 0], y.std(correction=0), rtol=1e-3, atol=0)


def test_weights_count_rows_of_the_statistics(generator):
    y = large_targets("normal", generator)
    weight = torch.arange(300) % 3
    spoiled = torch.where(weight > 0, y, math.nan)
    head = dh.DistributionHead("normal", 4).initialize(spoiled, weight=weight, standardise=True)
    repeated = y.repeat_interleave(weight)
    torch.testing.assert_close(head.target_loc, repeated.mean())
    torch.testing.assert_close(head.target_scale, repeated.std(correction=0))
    torch.testing.assert_close(
        head(torch.zeros(1, 4)).scale, repeated.std(correction=0)[None], rtol=1e-4, atol=0
    )


def test_the_scale_has_a_minimum_in_units_of_the_target():
    y = torch.linspace(0, 2e5, 200)
    head = dh.DistributionHead("normal", 1).initialize(y, standardise=True)
    with torch.no_grad():
        head.linear.bias[1] = -100.0
        head.linear.weight.zero_()
    least = 1e-4 * y.std(correction=0)
    torch.testing.assert_close(head(torch.zeros(1, 1)).scale, least[None], rtol=1e-4, atol=0)
    own = dh.DistributionHead("normal", 1, links={"scale": dh.get_link("softplus").shifted(0.01)})
    own.initialize(y, standardise=True)
    assert own.links["scale"].lower == 0.01
    none = dh.DistributionHead("normal", 1)
    none.min_scale = 0.0
    assert none.initialize(y, standardise=True).links["scale"].name == "softplus"
    assert none.links["scale"].lower == 0


@pytest.mark.parametrize("family, options", [
    ("gamma", {}), ("poisson", {}), ("von_mises", {}), ("beta", {}),
    ("categorical", {"num_classes": 3}), ("plackett_luce", {"event_shape": (3,)}),
    ("mixture", {"component": "gamma"}),
])  # fmt: skip
def test_targets_with_a_unit_of_their_own_are_not_standardised(family, options):
    with pytest.raises(
        ValueError, match=r"cannot standardise: .* an origin or a unit of their own.* initialize"
    ):
        dh.DistributionHead(family, 2, **options).initialize(
            torch.tensor([1.0, 2.0]), standardise=True
        )


def test_what_cannot_be_put_into_other_units_is_refused():
    head = dh.DistributionHead("mixture", 2, component="normal", fixed={"scale": 1.0})
    with pytest.raises(ValueError, match="fixed scale of mixture cannot be put into other units"):
        head.initialize(torch.tensor([1.0, 2.0]), standardise=True)
    with pytest.raises(
        ValueError, match=r"varies by .* about 1e[+]09, too little for torch\.float32"
    ):
        dh.DistributionHead("normal", 2).initialize(
            1e9 + torch.arange(5.0, dtype=torch.float64), standardise=True
        )
    with pytest.raises(ValueError, match="inf at row 1"):
        dh.DistributionHead("normal", 2).initialize([1.0, math.inf, 3.0], standardise=True)


def test_constant_targets_have_the_scale_one():
    head = dh.DistributionHead("normal", 2).initialize([7e4] * 5, standardise=True)
    assert head.target_scale == 1
    assert head(torch.zeros(1, 2)).loc == 7e4


def test_units_do_not_round_in_half_precision(generator):
    y = 1e5 + 300 * torch.randn(200, generator=generator)
    head = dh.DistributionHead("normal", 2).initialize(y, standardise=True).bfloat16()
    torch.testing.assert_close(head(torch.zeros(1, 2)).loc, y.mean()[None], rtol=1e-5, atol=0)
    assert head.double().target_loc.dtype == torch.float64
    late = dh.DistributionHead("normal", 2).bfloat16().initialize(y, standardise=True)
    torch.testing.assert_close(late.target_loc, y.mean())


def test_members_are_standardised_together(generator):
    from disthead.networks.tabular import MemberHead

    y = 1e5 + 3e4 * torch.randn(200, generator=generator)
    head = MemberHead("normal", 4, members=3).initialize(y, standardise=True)
    dist = head(torch.zeros(3, 5, 4))
    torch.testing.assert_close(dist.loc, y.mean().expand(3, 5), rtol=1e-5, atol=0)


def test_a_standardised_head_is_exported(generator):
    y = 1e5 + 3e4 * torch.randn(200, generator=generator)
    head = dh.DistributionHead("normal", 4).initialize(y, standardise=True)

    class Parameters(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, features):
            return self.head.params(features)

    features = torch.randn(3, 4, generator=generator)
    exported = torch.export.export(Parameters(), (features,)).module()(features)
    for name, value in head(features).parameters.items():
        torch.testing.assert_close(exported[name], value)


# What counts as a number, and as a column of them.


def test_whole_numbers_of_numpy_and_torch_are_whole_numbers():
    labels = np.array([0, 2, 1])
    for classes in (labels.max() + 1, torch.from_numpy(labels).max() + 1):
        head = dh.DistributionHead("categorical", np.int64(3), num_classes=classes)
        assert head(torch.zeros(2, 3)).num_classes == 3
        assert type(head.in_features) is int
    head = dh.DistributionHead("normal", np.int32(3), event_shape=(np.int64(2),))
    assert head.event_shape == (2,)
    assert type(head.event_shape[0]) is int
    assert dh.DistributionHead(
        "multivariate_normal", 3, event_shape=torch.Size([2])
    ).event_shape == (2,)
    with pytest.raises(ValueError, match=r"in_features must be an integer of at least 1, got 2\.5"):
        dh.DistributionHead("normal", 2.5)
    with pytest.raises(ValueError, match="event_shape must be positive sizes"):
        dh.DistributionHead("normal", 2, event_shape=(2.0,))


@pytest.mark.parametrize("standardise", [False, True])
def test_initialize_takes_arrays_columns_and_lists(standardise):
    pandas = pytest.importorskip("pandas")
    values = [1.0, 2.0, 6.0, 11.0]
    weight = [1, 2, 0, 1]
    starts = []
    for kind in (torch.tensor, np.array, pandas.Series, list):
        head = dh.DistributionHead("normal", 2).initialize(
            kind(values), weight=kind(weight), standardise=standardise
        )
        starts.append(head(torch.zeros(1, 2)).loc)
    for start in starts:
        torch.testing.assert_close(start, torch.tensor([4.0]))
    counts = dh.DistributionHead("poisson", 1).initialize(
        [2, 4, 12], exposure=pandas.Series([1, 2, 6])
    )
    torch.testing.assert_close(
        counts(torch.zeros(1, 1), exposure=[3.0]).mean, torch.tensor([6.0]), rtol=1e-4, atol=0
    )


def test_errors_count_rows_as_they_came():
    y, weight = [1.0, math.nan, 3.0, -1.0], [1, 0, 1, 1]
    with pytest.raises(ValueError, match=r"1 of 4 values: -1 at row 3"):
        dh.DistributionHead("gamma", 1).initialize(y, weight=weight)
