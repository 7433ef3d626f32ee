"""A distribution head on a backbone of one's own, in a plain PyTorch loop: the spread of the data
is learned with their mean.
"""

import torch
from torch import nn

import disthead as dh


def main() -> float:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.rand(1000, 1, generator=generator) * 4 - 2
    y = torch.sin(2 * x[:, 0]) + 0.3 * x[:, 0].abs() * torch.randn(1000, generator=generator)

    backbone = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
    head = dh.DistributionHead("normal", in_features=32).initialize(y)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss = dh.nll(head(backbone(x)), y)
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        dist = head(backbone(torch.tensor([[0.2], [1.8]])))
    print(
        f"loss {loss.item():.3f} nats, marginal "
        f"{dh.nll(dh.marginal('normal', y).expand((1000,)), y).item():.3f}"
    )
    print(
        "spread near 0 and near 2:",
        [round(scale, 2) for scale in dist.stddev.tolist()],
        "(true: 0.06, 0.54)",
    )
    return loss.item()


if __name__ == "__main__":
    main()
