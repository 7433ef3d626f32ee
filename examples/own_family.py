"""A family of one's own, from SciPy's formula (`scipy.stats.gompertz`) to a trained head: ages at
death, whose hazard grows exponentially.
"""

import torch
from torch.distributions import constraints

import disthead as dh
from disthead.distributions import Continuous


class Gompertz(Continuous):
    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, scale, concentration):
        self._set_parameters(scale=scale, concentration=concentration)

    def log_prob(self, y):
        growth = y / self.scale
        value = (self.concentration / self.scale).log() + growth + self.log_survival(y)
        return torch.where(y < 0, -torch.inf, value)

    def log_survival(self, y):
        return -self.concentration * torch.expm1(y.clamp(min=0) / self.scale)

    def log_cdf(self, y):
        return torch.log(-torch.expm1(self.log_survival(y)))

    def _inverse(self, below, above):  # the quantile: `below` of the probability, `above` of it
        return self.scale * torch.log1p(-above.log() / self.concentration)

    @property
    def mode(self):
        return -self.scale * self.concentration.log().clamp(max=0)


class GompertzFamily(dh.Family):
    name = "gompertz"
    parameters = {"scale": dh.LINKS["softplus"], "concentration": dh.LINKS["softplus"]}
    support = constraints.nonnegative
    data_type, domain, use = "univariate, continuous, bounded below", "y >= 0", "lifetimes"
    loss = "cumulative hazard - log hazard"
    noise = "Lifetimes whose hazard grows exponentially with age."
    density = "p(y) = (concentration / scale) exp(y / scale - concentration (exp(y / scale) - 1))"
    breaks, remedy = "Hazards that fall with age.", "weibull or gamma."

    def make(self, scale, concentration, **logarithms):
        return Gompertz(scale, concentration)

    def initial_estimate(self, y):
        return {"scale": y.mean(0), "concentration": torch.ones_like(y[0])}


def main() -> float:
    generator = torch.Generator().manual_seed(0)
    smokes = torch.randint(0, 2, (2000, 1), generator=generator).float()
    uniform = torch.rand(2000, generator=generator)
    ages = Gompertz(10.0, torch.exp(-7 + smokes[:, 0])).icdf(uniform)

    head = dh.DistributionHead("gompertz", 1, links={"concentration": "exp"}, shared=("scale",))
    head.initialize(ages)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = dh.nll(head(smokes), ages)
        value.backward()
        return value

    optimizer.step(loss)
    factor = head.linear.weight.exp().item()
    print(f"smoking multiplies the hazard by {factor:.2f} (true: {torch.e:.2f})")
    median = head(torch.tensor([[0.0], [1.0]])).median
    print("median ages at death:", [round(age, 1) for age in median.tolist()])
    return factor


if __name__ == "__main__":
    main()
