"""Claims about the families of extremes that anybody can check with other formulas."""

import math

import pytest
import scipy.optimize
import scipy.stats as st
import torch

import disthead as dh


def test_generalized_pareto_without_concentration_is_exponential():
    y = torch.tensor([0.0, 0.3, 5.0, 40.0], dtype=torch.float64)
    pareto = dh.get_family("generalized_pareto")
    for c in (0.0, 1e-12, -1e-12):
        dist = pareto.distribution(scale=torch.tensor(2.0).double(), concentration=c)
        other = dh.get_family("exponential").distribution(rate=torch.tensor(0.5).double())
        for question in ("log_prob", "cdf", "log_survival", "crps"):
            torch.testing.assert_close(getattr(dist, question)(y), getattr(other, question)(y))


def test_the_maximum_of_exceedances_of_poisson_number_has_an_extreme_value_distribution():
    """exp(-n P(Y > y)) for n = 1 is the cdf of the maximum, above the threshold."""
    y = torch.tensor([0.0, 0.5, 4.0], dtype=torch.float64)
    c = torch.tensor([0.3, 0.0, -0.2], dtype=torch.float64).unsqueeze(-1)
    exceedance = dh.get_family("generalized_pareto").distribution(scale=2.0, concentration=c)
    maximum = dh.get_family("generalized_extreme_value").distribution(
        loc=0.0, scale=2.0, concentration=c
    )
    torch.testing.assert_close(maximum.log_cdf(y), -exceedance.log_survival(y).exp())


@pytest.mark.parametrize("name", ["generalized_extreme_value", "generalized_pareto"])
def test_a_gradient_leads_back_to_the_support(name):
    family = dh.get_family(name)
    raw = torch.tensor([0.0, 0.5, -0.8] if family.width() == 3 else [0.5, -0.8])
    y = torch.tensor(40.0)
    assert family.from_raw(raw).log_prob(y) == -torch.inf
    raw.requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-family.from_raw(raw).log_prob(y)).backward()
        assert raw.grad.isfinite().all()
        optimizer.step()
    assert family.from_raw(raw.detach()).log_prob(y).isfinite()


@pytest.mark.parametrize("c", [-0.2, 0.0, 0.3])
def test_a_linear_head_reaches_the_maximum_likelihood_of_extremes(c):
    """Location and log-scale depend on a feature, as in extRemes; the maximum is SciPy's."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(150, 1, generator=generator, dtype=torch.float64)
    noise = st.genextreme.rvs(-c, size=150, random_state=2)
    y = 10 + 2 * x[:, 0] + torch.exp(0.5 + 0.2 * x[:, 0]) * torch.from_numpy(noise)
    head = dh.DistributionHead(
        "generalized_extreme_value", 1, links={"scale": "exp"}, shared=("concentration",)
    ).double()
    head.initialize(y)
    for _ in range(3):
        optimizer = torch.optim.LBFGS(
            head.parameters(), max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-12
        )

        def closure(optimizer=optimizer):
            optimizer.zero_grad()
            loss = dh.nll(head(x), y, reduction="sum")
            loss.backward()
            return loss

        optimizer.step(closure)
    with torch.no_grad():
        reached = -float(dh.nll(head(x), y, reduction="sum"))

    def negative(p):
        loc, scale = p[0] + p[1] * x[:, 0].numpy(), math.e ** (p[2] + p[3] * x[:, 0].numpy())
        value = -st.genextreme.logpdf(y.numpy(), -p[4], loc, scale).sum()
        return min(value, 1e6)

    best = scipy.optimize.minimize(
        negative,
        [10, 2, 0.5, 0.2, c],
        method="Nelder-Mead",
        options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-7, "fatol": 1e-8},
    )
    assert reached >= -best.fun - 1e-4
