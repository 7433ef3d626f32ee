"""Heads inside a Pyro model: observed where there are targets, sampled where there are none."""

import pyro
import torch

import disthead as dh


def main() -> torch.Tensor:
    torch.manual_seed(0)
    features = torch.randn(20, 4)
    head = dh.DistributionHead("poisson", in_features=4)

    def model(features: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        pyro.module("head", head)
        with pyro.plate("rows", len(features)):
            return pyro.sample("y", head(features), obs=y)

    counts = model(features)
    trace = pyro.poutine.trace(model).get_trace(features, counts)
    trace.compute_log_prob()
    log_prob = trace.nodes["y"]["log_prob"]
    print(
        f"counts {counts[:5].tolist()}, their log-probabilities "
        f"{[round(v, 2) for v in log_prob[:5].tolist()]}"
    )
    return log_prob


if __name__ == "__main__":
    main()
