"""A distribution for each pixel: feature_dim=1 makes the head a 1x1 convolution."""

import torch
from torch import nn

import disthead as dh


def main() -> torch.Size:
    torch.manual_seed(0)
    images = torch.rand(8, 3, 16, 16)
    depth = 1 + images.mean(1) + 0.05 * torch.randn(8, 16, 16)  # a depth in metres for each pixel

    backbone = nn.Conv2d(3, 16, kernel_size=3, padding=1)
    head = dh.DistributionHead("laplace", in_features=16, feature_dim=1).initialize(depth)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss = dh.nll(head(backbone(images)), depth)
        loss.backward()
        optimizer.step()

    dist = head(backbone(images))
    lower, upper = dist.interval(0.9)
    print(f"{tuple(dist.batch_shape)} distributions, loss {loss.item():.3f} nats per pixel")
    print(f"mean width of the 90 % interval: {(upper - lower).mean().item():.3f} m")
    return dist.batch_shape


if __name__ == "__main__":
    main()
