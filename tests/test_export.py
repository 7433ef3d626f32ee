"""Intervals and moments in exported programs, for batches of any size, and of operators that other
runtimes have.
"""

import pytest
import torch

from tests.cases import NAMED, Case

QUESTIONS = {
    "mean": lambda dist: dist.mean,
    "interval": lambda dist: torch.stack(dist.interval(0.9)),
    "probabilities": lambda dist: torch.stack([dist.cdf(ONE), dist.log_cdf(ONE)]),
}
ONE = torch.tensor(1.0)
# Loops of graphs take a compiler long to read, most of all those of counts and mixtures.
CHEAP = ("normal", "gamma", "bernoulli", "independent normals", "multivariate_normal")
SEARCHED = (
    "poisson",
    "negative_binomial",
    "mixture of normals",
    "mixture of poissons",
    "independent poissons",
)


# What ONNX has no operator for, and its runtime neither softplus nor erf in double precision;
# nobody else has ours.
FOREIGN = {"special_ndtri", "special_ndtr", "special_log_ndtr", "special_erfcx", "erf", "erfc"}
FOREIGN |= {"ndtri", "lgamma", "digamma", "softplus", "disthead"}


class Answer(torch.nn.Module):
    def __init__(self, case: Case, question: str):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.ask = case.head(), QUESTIONS[question]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.ask(self.head(features))


def operators(program: torch.nn.Module) -> set[str]:
    """The names of the operators of a program and of its loops, `disthead` for one of ours."""
    nodes = [
        node
        for module in program.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
    ]
    assert nodes
    names = [node.target.name().split("::") for node in nodes]
    return {
        namespace if namespace == "disthead" else name.split(".")[0] for namespace, name in names
    }


def check(name: str, question: str) -> None:
    model = Answer(NAMED[name], question)
    exported = torch.export.export(
        model, (torch.randn(5, 3),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    )
    assert not operators(exported.graph_module) & FOREIGN
    for rows in (3, 8):
        features = torch.randn(rows, 3)
        torch.testing.assert_close(
            exported.module()(features), model(features), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("name", CHEAP)
def test_answers_are_exported_for_any_number_of_rows(name):
    check(name, "interval")


@pytest.mark.parametrize("name", SEARCHED)
def test_means_of_counts_and_mixtures_too(name):
    check(name, "mean")


@pytest.mark.parametrize(
    "name", ["normal", "log_normal", pytest.param("mixture of normals", marks=pytest.mark.slow)]
)
def test_probabilities_of_a_target_too(name):
    check(name, "probabilities")


# of torch's tracer
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHED)
def test_quantiles_that_are_searched_for_too(name):
    check(name, "interval")
