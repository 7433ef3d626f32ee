"""What one target is, `Distribution.kind`: of every case, through every wrapper, and asked by
nobody in another way.
"""

import ast
from pathlib import Path

import pytest
import torch

import disthead as dh
from disthead.calibration import (
    ConformalPredictive,
    QuantileRecalibration,
    ScaleCalibration,
    TemperatureScaling,
)
from disthead.distributions.base import CLASSES, KINDS
from disthead.distributions.independent import class_count, class_probs, each_output
from disthead.families.ensembles import ensemble
from disthead.families.mixture_family import mixture
from disthead.families.normal import NormalFamily
from disthead.metrics import default_metrics
from disthead.metrics.defaults import _METRICS
from disthead.targets import check_target_shape
from tests.cases import CASES, EVERYTHING, Case
from tests.cases import CLASSES as CLASS_CASES


def expected(case: Case) -> str:
    """The kind of the row's distribution; the row itself says that of one output."""
    return "vector" if case.outputs else case.kind


def rows(*names: str) -> list:
    return [pytest.param(case, id=case.name) for case in EVERYTHING if case.name in names]


def drawn(dist: dh.Distribution, generator: torch.Generator) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(1000, (), generator=generator)))
        return dist.sample()


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_every_case_has_its_kind(case):
    dist = case.dist(batch=(4,))
    assert dist.kind == expected(case)
    assert dist.kind in KINDS
    assert each_output(dist).kind == case.make_family().kind == case.kind


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_parts_of_a_batch_are_of_the_same_kind(case):
    dist = case.dist(batch=(4,))
    for other in (
        dist[:2],
        dist[1],
        dist.expand((3, 4)),
        dist.map(lambda parameter: parameter.detach()),
    ):
        assert other.kind == dist.kind


@pytest.mark.parametrize("case", CASES, ids=str)
def test_several_outputs_are_a_vector_and_each_keeps_its_kind(case):
    dist = case.dist(batch=(4,))
    if dist.event_shape:
        assert dist.to_event(0).kind == dist.kind
        return
    several = dist.to_event(1)
    assert several.kind == "vector"
    assert several.marginals.kind == each_output(several).kind == dist.kind
    assert dist.to_event(0).kind == dist.kind


@pytest.mark.parametrize(
    "name, kind",
    [
        ("normal", "continuous"),
        ("gamma", "continuous"),
        ("mixture of normals", "continuous"),
        ("poisson", "count"),
        ("multivariate_normal", "vector"),
        ("independent gammas", "vector"),
        # 0 and 1 have become other numbers, which are no event and its absence
        ("bernoulli", "count"),
    ],
)
def test_other_units_keep_what_is_a_number_in_them(name, kind):
    (case,) = (case for case in CASES if case.name == name)
    dist = case.dist(batch=(4,))
    moved = dist.affine(
        torch.tensor(2.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    )
    assert moved.kind == kind


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_ensemble_is_of_the_kind_of_its_members(case):
    members = case.dist(batch=(3, 4))
    assert ensemble(members).kind == members.kind


@pytest.mark.parametrize(
    "case", rows("normal", "gamma", "poisson", "von_mises", "negative_binomial")
)
def test_a_mixture_is_of_the_kind_of_its_components(case):
    components = case.dist(batch=(4, 2))
    assert mixture(torch.zeros(4, 2, dtype=torch.float64), components).kind == components.kind


def test_a_mixture_of_events_counts_them(generator):
    components = dh.get_family("bernoulli").distribution(probs=torch.tensor([[0.2, 0.7]]))
    assert mixture(torch.zeros(1, 2), components).kind == "count"


@pytest.mark.parametrize(
    "name, recalibration",
    [
        ("normal", ScaleCalibration),
        ("normal", QuantileRecalibration),
        ("gamma", ConformalPredictive),
        ("poisson", ScaleCalibration),
        ("poisson", QuantileRecalibration),
        ("poisson", ConformalPredictive),
        ("affine gamma", QuantileRecalibration),
        ("von_mises", ScaleCalibration),
        ("mixture of von_mises", ScaleCalibration),
        ("independent gammas", QuantileRecalibration),
        ("multivariate_normal", ScaleCalibration),
        ("bernoulli", TemperatureScaling),
        ("categorical", TemperatureScaling),
        ("independent classes", TemperatureScaling),
        ("plackett_luce", TemperatureScaling),
    ],
)
def test_recalibration_keeps_the_kind(name, recalibration, generator):
    (case,) = (case for case in EVERYTHING if case.name == name)
    dist = case.dist(batch=(60,))
    recalibrated = recalibration().fit(dist, drawn(dist, generator))(dist)
    assert recalibrated.kind == dist.kind
    assert each_output(recalibrated).kind == each_output(dist).kind


class WithoutOnePass(NormalFamily):
    """A family that somebody has begun: no class whose log-likelihood is fused."""

    distribution_class = None


def test_a_family_without_a_class_of_distributions_asks_one_that_it_makes():
    family = WithoutOnePass()
    assert family.kind == "continuous"
    assert default_metrics(family).keys() == default_metrics("normal").keys()


def test_every_kind_has_its_metrics():
    assert set(_METRICS) == set(KINDS)


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_only_classes_are_counted_and_their_probabilities_are_those_of_the_distribution(case):
    dist = case.dist(batch=(4,))
    count = class_count(dist)
    assert bool(count) == (each_output(dist).kind in CLASSES)
    if count:
        probs = class_probs(dist)
        assert probs.shape == (4, *dist.event_shape, count)
        for k in range(count):
            each = each_output(dist)
            y = torch.full(each.batch_shape, k, dtype=each.dtype)
            torch.testing.assert_close(probs[..., k], each.log_prob(y).exp())


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_one_function_says_which_shapes_targets_have(case, generator):
    dist = case.dist(batch=(4,))
    y = drawn(dist, generator)
    assert not check_target_shape(dist, y, soft_labels=True)
    for wrong in (y.unsqueeze(-1), y[:3], y.new_empty((*y.shape, 0))):
        with pytest.raises(ValueError, match="must have the shape"):
            check_target_shape(dist, wrong, soft_labels=True)
        with pytest.raises(ValueError, match="must have the shape"):
            dh.nll(dist, wrong)


@pytest.mark.parametrize("case", CLASS_CASES, ids=str)
def test_class_probabilities_are_targets_only_where_they_are_asked_for(case):
    dist = case.dist(batch=(4,))
    probs = class_probs(dist)
    assert check_target_shape(dist, probs, soft_labels=True)
    with pytest.raises(ValueError, match=r"Try y.argmax\(-1\)"):
        check_target_shape(dist, probs)


def test_partial_rankings_are_targets_of_losses_as_of_metrics():
    dist = dh.get_family("plackett_luce", event_shape=(4,)).distribution(logits=torch.zeros(5, 4))
    first = torch.tensor([2, 0]).expand(5, 2)
    assert not check_target_shape(dist, first)
    # All items alike: the first place is one of four, the second one of the three that are left.
    torch.testing.assert_close(dh.nll(dist, first), torch.tensor(12.0).log())


# What looks at more than the kind: (file, expression) -> why it may.
ALLOWED = {
    (
        "calibration/scale.py",
        "isinstance(dist, (Vector, Discrete, CircularMixture))",
    ): "which have no start in closed form",
    ("calibration/scale.py", "isinstance(dist, Circular)"): "its scale is a matter of its "
    "concentration",
    ("calibration/scale.py", "isinstance(dist, CircularMixture)"): "its components are scaled one "
    "by one",
    ("losses.py", "isinstance(dist, Categorical)"): "`cross_entropy` is its loss, by its "
    "`log_prob_and_sum`",
    ("objectives/margins.py", "isinstance(output, Bernoulli)"): "whose logits are margins",
    ("objectives/margins.py", "isinstance(output, Categorical)"): "whose logits are margins",
    (
        "divergences.py",
        "getattr(dist, 'num_classes', None)",
    ): "whether both have the same number of classes",
    ("recipe.py", "isinstance(output, Circular)"): "which scaling leaves in its family",
    ("standardisation.py", "hasattr(family.support, 'lower_bound')"): "whether one target can be "
    "very large",
    ("standardisation.py", "hasattr(family.support, 'upper_bound')"): "whether one target can be "
    "very large",
    (
        "diagnostics/directions.py",
        "getattr(dist, 'components', None)",
    ): "how a circular cdf is summed, not what it is of",
    (
        "report/findings.py",
        "getattr(dist, 'logits', None)",
    ): "whether the weights of a mixture are those of an ensemble",
}
# Attributes that some kinds have and others lack, and the classes of one kind.
TELLING = {
    *(
        "num_classes",
        "num_items",
        "expected_cost",
        "pairwise",
        "top1",
        "brier",
        "marginals",
        "is_circular",
    ),
    *("components", "logits", "probs", "count"),
}
OF_ONE_KIND = {
    "Bernoulli",
    "Categorical",
    "OrderedCategorical",
    "Ordinal",
    "PlackettLuce",
    "Circular",
    "VonMises",
    "CircularMixture",
    "Vector",
    "MultivariateNormal",
}
INSIDE = ("distributions", "families", "likelihood")  # how a kind is computed is their business


def guesses(tree: ast.AST, *, inside: bool = False) -> set[str]:
    """The expressions that tell the kind of a target by an attribute, a class or the name of a
    family.
    """
    expressions = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) >= 2:
            name, what = node.func.id, node.args[1]
            if name == "hasattr" or (name == "getattr" and len(node.args) == 3):
                by_attribute = isinstance(what, ast.Constant) and what.value in TELLING
                owner = ast.unparse(node.args[0]).split(".")[-1]
                of_a_distribution = name == "hasattr" and owner in ("dist", "support")
                if by_attribute or of_a_distribution:
                    expressions.add(ast.unparse(node))
            elif name == "isinstance" and not inside:
                names = {part.id for part in ast.walk(what) if isinstance(part, ast.Name)}
                if names & OF_ONE_KIND:
                    expressions.add(ast.unparse(node))
        elif (
            isinstance(node, ast.Compare)
            and not inside
            and ast.unparse(node.left).endswith("family.name")
        ):
            expressions.add(ast.unparse(node))
    return expressions


@pytest.mark.parametrize(
    "line",
    [
        "hasattr(dist, 'anything')",
        "hasattr(dist.base, 'num_classes')",
        "getattr(dist.support, 'is_circular', False)",
        "isinstance(dist, (Bernoulli, Categorical))",
        "family.name in ('bernoulli', 'categorical')",
        "made.family.name == 'plackett_luce'",
    ],
)
def test_guesses_are_found(line):
    assert guesses(ast.parse(line)) == {line}


def test_nobody_guesses_the_kind_of_a_target():
    package = Path(dh.__file__).parent
    lines = set()
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        lines |= {
            (place.as_posix(), line) for line in guesses(tree, inside=place.parts[0] in INSIDE)
        }
    assert sorted(lines - set(ALLOWED)) == [], (
        "ask dist.kind, family.kind, class_count or class_probs"
    )
    assert sorted(set(ALLOWED) - lines) == [], "allowed, and no longer there"
