"""Fixed parameters: links that take no raw outputs, in the one pass and out of it."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, vmap

import disthead as dh
from tests.one_pass import gradient

VALUES = {"df": 4.0, "loc": 0.3, "scale": 0.7, "loc of von_mises": 2.0, "mean": 0.6, "ratio": 0.4}
VALUES |= {"asymmetry": 0.8, "concentration of wrapped_cauchy": 0.6}
CASES = [
    (name, parameter)
    for name in dh.families()
    for family in [dh.explanation.example(name)]
    if not family.event_dim
    and not family.shapes
    and family.distribution_class
    and sum(not link.is_constant for link in family.parameters.values()) > 1
    for parameter in family.parameters
    if parameter != "logits"
]
every_parameter = pytest.mark.parametrize("name, parameter", CASES)
pytestmark = pytest.mark.usefixtures("engine")


def given(name: str, parameter: str) -> float:
    return VALUES.get(f"{parameter} of {name}", VALUES.get(parameter, 1.5))


def example(
    name: str, fixed: dict, rows: int = 50, **options
) -> tuple[dh.DistributionHead, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = dh.DistributionHead(name, 3, fixed=fixed, **options)
    y = torch.rand(rows, *head.event_shape) * 0.8 + 0.1
    return head, torch.randn(rows, 3), (9 * y).floor() if head.family.is_discrete else y


def plainly(head: dh.DistributionHead, features: torch.Tensor) -> dh.Distribution:
    """By the parameters, in double precision."""
    return head.family.make(**copy.deepcopy(head).double().params(features.double()))


def test_there_are_cases():
    assert {name for name, _ in CASES} >= {
        "normal",
        "student_t",
        "gamma",
        "beta",
        "von_mises",
        "negative_binomial",
        "weibull",
    }


@every_parameter
def test_values_and_gradients_are_those_of_the_formula(name, parameter):
    value = given(name, parameter)
    head, features, y = example(name, {parameter: value})
    features.requires_grad_()
    dist = head(features)
    assert dist._is_lazy  # for somebody who asks for its parameters
    torch.testing.assert_close(dist.parameters[parameter], torch.full((50,), value), msg=parameter)
    expected = plainly(head, features).log_prob(y.double())
    found = head(features).log_prob(y)
    torch.testing.assert_close(found.double(), expected, rtol=3e-6, atol=3e-6)
    torch.testing.assert_close(
        gradient(found, features), gradient(expected, features), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        head(features.double()).log_prob(y.double()), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("value", [1e-9, 1e-3, 20.0, 1e7])
@pytest.mark.parametrize(
    "name, parameter", [("student_t", "df"), ("gamma", "concentration"), ("normal", "scale")]
)
def test_values_far_from_ordinary_are_scored_in_double_precision(name, parameter, value):
    options = {"min_df": 0.0} if parameter == "df" else {}
    head, features, y = example(name, {parameter: value}, **options)
    features.requires_grad_()
    found, expected = head(features).log_prob(y), plainly(head, features).log_prob(y.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    slopes = gradient(found, features), gradient(expected, features)
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4 * float(slopes[1].abs().max()))


@pytest.mark.parametrize(
    "options",
    [{"event_shape": (2,)}, {"event_shape": (2, 3)}, {"shared": ("scale",)}, {"shared": "all"}],
)
def test_several_outputs_and_shared_parameters(options):
    head, features, y = example("student_t", {"df": 4.0}, **options)
    dist = head(features)
    expected = torch.distributions.StudentT(
        4.0, *(head.params(features)[name] for name in ("loc", "scale"))
    ).log_prob(y)
    torch.testing.assert_close(
        dist.log_prob(y), expected.flatten(1).sum(1) if head.event_shape else expected
    )


def test_a_fixed_tensor_may_change():
    """As the one that training puts into standardised units."""
    head, features, y = example("normal", {"scale": torch.tensor(2.0)})
    for value in (2.0, 0.5):
        head.fixed_scale.fill_(value)
        expected = torch.distributions.Normal(head.linear(features)[:, 0], value).log_prob(y)
        assert head(features)._is_lazy
        torch.testing.assert_close(head(features).log_prob(y), expected)


def test_copies_and_functional_transforms():
    head, features, y = example("student_t", {"df": 4.0})
    expected = head(features).log_prob(y)
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        torch.testing.assert_close(other(features).log_prob(y), expected)

    def loss(weights, x, y):
        return -functional_call(head, weights, (x,)).log_prob(y)

    weights = dict(head.named_parameters())
    slopes = vmap(grad(loss), in_dims=(None, 0, 0))(weights, features, y)["linear.weight"]
    head.zero_grad()
    (-head(features).log_prob(y)).sum().backward()
    torch.testing.assert_close(slopes.sum(0), head.linear.weight.grad)


@pytest.mark.parametrize("fixed", [{"df": 4.0}, {"df": torch.tensor(4.0)}])
def test_graphs(fixed):
    head, features, y = example("student_t", fixed)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # dynamo's own
        compiled = torch.compile(
            lambda x, y: head(x).log_prob(y), fullgraph=True, backend="aot_eager"
        )
        torch.testing.assert_close(compiled(features, y), head(features).log_prob(y))


def test_a_constant_probability_has_its_logit():
    link = dh.get_link("sigmoid").constant(0.25)
    nothing = torch.zeros(5, 0)
    torch.testing.assert_close(link.forward(nothing), torch.full((5,), 0.25))
    torch.testing.assert_close(link.logits(nothing), torch.full((5,), math.log(1 / 3)))
    torch.testing.assert_close(link.value_and_slope(nothing.T), torch.full((5,), math.log(1 / 3)))
    assert link.inverse(torch.zeros(5)).shape == (5, 0)


COUNTS = [("poisson", {}), ("negative_binomial", {"parametrization": "mean"})]
every_family_with_exposure = pytest.mark.parametrize("name, options", COUNTS)


@every_family_with_exposure
@pytest.mark.parametrize("spread", [1.0, 30.0])  # within single precision, and beyond
def test_known_quantities_are_scored_beside_the_raw_outputs(name, options, spread):
    head, features, y = example(name, {}, **options)
    features.mul_(spread).requires_grad_()
    exposure = (0.1 + torch.rand(50)).requires_grad_()
    dist = head(features, exposure=exposure)
    assert dist._is_lazy
    found = dist.log_prob(y)
    exact = head.family.make(
        **copy.deepcopy(head).double().params(features.double()), exposure=exposure.double()
    ).log_prob(y.double())
    torch.testing.assert_close(found.double(), exact, rtol=3e-6, atol=3e-6)
    for given in (features, exposure):
        torch.testing.assert_close(
            gradient(found, given, retain_graph=True),
            gradient(exact, given, retain_graph=True),
            rtol=1e-4,
            atol=1e-4,
        )


@every_family_with_exposure
def test_known_quantities_in_other_precisions_and_shapes(name, options):
    head, features, y = example(name, {}, event_shape=(2,), **options)
    exposure = torch.arange(1, 51)
    # which stay in double precision
    expected = head(features, exposure=exposure.double()).log_prob(y)
    assert expected.dtype == torch.float64
    for given in (exposure, exposure.float()):
        torch.testing.assert_close(
            head(features, exposure=given).log_prob(y).double(), expected, rtol=1e-5, atol=1e-5
        )
    one = head(features, exposure=torch.tensor([3.0])).log_prob(y)
    torch.testing.assert_close(one, head(features, exposure=torch.full((50,), 3.0)).log_prob(y))


def test_a_mixture_takes_known_quantities_by_its_parameters():
    head, features, y = example("mixture", {}, component="poisson", num_components=3)
    exposure = 0.5 + torch.rand(50)
    dist = head(features, exposure=exposure)
    weights = head.params(features)["logits"].log_softmax(-1)
    rates = head.params(features)["rate"] * exposure[:, None]
    values = torch.distributions.Poisson(rates).log_prob(y[:, None])
    torch.testing.assert_close(
        dist.log_prob(y), (weights + values).logsumexp(-1), rtol=1e-5, atol=1e-5
    )


def test_copies_know_a_fixed_probability():
    head, features, y = example("beta", {"mean": 0.3}, parametrization="mean")
    expected = head(features)
    for dist in (
        copy.deepcopy(head)(features),
        pickle.loads(pickle.dumps(head))(features),
        pickle.loads(pickle.dumps(expected.map(torch.detach))),
    ):
        torch.testing.assert_close(dist.mean, torch.full((50,), 0.3))
        torch.testing.assert_close(dist.log_prob(y), expected.log_prob(y))


def test_a_probability_may_be_fixed_at_its_end():
    head, features, _ = example("beta", {"mean": 0.0}, parametrization="mean")
    assert head(features).mean.eq(0).all()


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
@pytest.mark.parametrize(
    "name, parameter",
    [("normal", "scale"), ("normal", "loc"), ("student_t", "df"), ("gamma", "rate")],
)
def test_a_fixed_tensor_has_a_gradient_of_its_own(name, parameter, shape):
    value = torch.full(shape, 2.5, requires_grad=True)
    head, features, y = example(name, {parameter: value}, event_shape=(2,))
    found = gradient(head(features).log_prob(y), value)
    parameters = {key: part.double() for key, part in head.params(features).items()} | {
        parameter: value.double()
    }
    expected = gradient(head.family.make(**parameters).log_prob(y.double()), value)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fixed", [{}, {"scale": 1.0}, {"scale": torch.tensor(1.0)}])
def test_indexing_stays_within_the_batch(fixed):
    head, _, _ = example("normal", fixed)
    dist = head(torch.randn(6, 4, 3))
    for index in (
        (..., 0),
        (..., slice(2)),
        (0, ...),
        (..., -1, slice(1)),
        (slice(2), ...),
        (None, ..., 1),
        ...,
    ):
        torch.testing.assert_close(dist[index].loc, dist.loc[index])
    kept = torch.rand(6, 4) > 0.5
    torch.testing.assert_close(dist[kept].loc, dist.loc[kept])
    for index in ((0, 0, 0), (..., 0, 0, 0), (kept, 0)):
        with pytest.raises(IndexError, match="too many indices for the batch_shape"):
            dist[index]


@every_family_with_exposure
@pytest.mark.parametrize("length", [1e-2, 1e-6])
def test_short_exposures_keep_their_digits(name, options, length):
    head, features, _ = example(name, {}, **options)
    features.requires_grad_()
    y, exposure = torch.zeros(50), length * (0.5 + torch.rand(50))
    found = head(features, exposure=exposure).log_prob(y)
    parameters = copy.deepcopy(head).double().params(features.double())
    exact = head.family.make(**parameters, exposure=exposure.double()).log_prob(y.double())
    torch.testing.assert_close(found.double(), exact, rtol=2e-6, atol=0)
    slopes = gradient(found, features), gradient(exact, features)
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6 * float(slopes[1].abs().max()))


def test_known_quantities_of_numpy():
    head, features, y = example("poisson", {})
    expected = head(features, exposure=torch.full((50,), 2.0)).log_prob(y)
    for exposure in (np.full(50, 2), 2.0):
        torch.testing.assert_close(head(features, exposure=exposure).log_prob(y), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"event_shape": (2,)},
        {"shared": ("scale",)},
        {"fixed": {"scale": 1.0}},
        {"fixed": {"scale": torch.tensor(1.0)}},
    ],
)
def test_any_number_of_rows_in_a_graph(options):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = dh.DistributionHead("normal", 3, **options)

        def forward(self, x):
            return self.head(x).mean

    model, features = Mean(), torch.randn(6, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exported = torch.export.export(
            model, (features,), dynamic_shapes=({0: torch.export.Dim("rows")},)
        ).module()
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
        for rows in (6, 9):
            features = torch.randn(rows, 3)
            for graph in (exported, compiled):
                torch.testing.assert_close(graph(features), model(features))
