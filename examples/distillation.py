"""Distillation: one small network learns the distributions that an ensemble predicts.

    python -m examples.distillation

Eight networks learn handwritten digits (1,797 pictures of 8 x 8 pixels, inside scikit-learn) from
200 labelled pictures. Their mixture is the teacher, which also says something of 1,000 pictures
without labels. A student with one hidden layer learns from the teacher's distributions of all
1,200 pictures, by `dh.divergence("kl", teacher, student)`. Another one of the same size learns
from the 200 labels, by the likelihood. Scores are those of the 597 pictures that nobody has seen.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import disthead as dh
from disthead.families import ensemble

LABELLED, SEEN, STEPS = 200, 1200, 200
FAMILY = dh.get_family("categorical", num_classes=10)


def train(loss, features: Tensor, seed: int = 0) -> nn.Module:
    """A network with one hidden layer, trained by the loss of its distributions of all rows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = dh.DistributionHead(FAMILY, 64)
        network = nn.Sequential(nn.Linear(features.shape[1], 64), nn.SiLU(), head)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(network(features)).backward()
        optimizer.step()
    return network


@torch.no_grad()
def mixture(networks: list[nn.Module], features: Tensor) -> dh.Distribution:
    """The mixture of what the networks predict."""
    logits = torch.stack([network(features).logits for network in networks])
    return ensemble(FAMILY.distribution(logits=logits))


def main() -> dict[str, float]:
    pixels, digits = (torch.tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    pixels, digits = pixels.float()[order] / 16, digits[order]
    labelled, y = pixels[:LABELLED], digits[:LABELLED]

    networks = [train(lambda dist: dh.nll(dist, y), labelled, seed) for seed in range(8)]
    teacher = mixture(networks, pixels[:SEEN])
    student = train(lambda dist: dh.divergence("kl", teacher, dist).mean(), pixels[:SEEN])

    unseen, truth = pixels[SEEN:], digits[SEEN:]
    predicted = {
        "teacher, eight networks": mixture(networks, unseen),
        "student of the teacher": student(unseen),
        "student of the labels": networks[0](unseen),
    }
    losses = {}
    print(f"{'':<24}{'NLL (nats)':>12}{'accuracy':>12}{'KL (nats)':>12}")
    for name, dist in predicted.items():
        losses[name] = -dist.log_prob(truth)
        right = (dist.mode == truth).float().mean()
        apart = dh.divergence("kl", predicted["teacher, eight networks"], dist).mean()
        print(f"{name:<24}{losses[name].mean():12.3f}{right:12.1%}{apart:12.3f}")
    for other in ("teacher, eight networks", "student of the labels"):
        difference = losses["student of the teacher"] - losses[other]
        error = difference.std() / len(truth) ** 0.5
        print(f"NLL less that of the {other}: {difference.mean():.3f} ± {error:.3f}")
    return {name: values.mean().item() for name, values in losses.items()}


if __name__ == "__main__":
    main()
