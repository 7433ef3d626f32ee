"""What tests ask of every log-likelihood in one pass, however it is computed."""

import torch
from torch.distributions import constraints

import disthead as dh
from tests.cases import CASES, NAMED, Case


def _fused() -> list[Case]:
    """One row of the table for each family of single numbers, with its options, whose
    log-likelihood comes in one pass.
    """
    found: dict[str, Case] = {}
    for case in CASES:
        if case.make_family().distribution_class and not case.event_shape:
            found.setdefault(f"{case.family} {case.options}", case)
    return list(found.values())


FUSED = _fused()


def example(name: str, rows: int = 7) -> tuple[dh.Family, torch.Tensor, torch.Tensor]:
    """The family of a row of the table, raw outputs that are drawn for it, and targets."""
    family, generator = NAMED[name].make_family(), torch.Generator().manual_seed(0)
    raw = torch.randn(rows, family.width(), generator=generator)
    return family, raw, target(family, torch.rand(rows, generator=generator))


def target(family: dh.Family, share: torch.Tensor) -> torch.Tensor:
    """Targets within the support, from numbers between 0 and 1."""
    if not family.is_discrete:
        return getattr(family.support, "lower_bound", 0.0) + 0.1 + 0.8 * share
    if family.support is constraints.boolean:
        return share.round()
    return (share * (getattr(family.support, "upper_bound", 9) + 1)).floor()


def gradient(value: torch.Tensor, raw: torch.Tensor, **options) -> torch.Tensor:
    return torch.autograd.grad(value.sum(), raw, **options)[0]


def check_backward_twice(family: dh.Family, raw: torch.Tensor, y: torch.Tensor) -> None:
    """Backward a second time, and through the gradient once more."""
    value = family.from_raw(raw).log_prob(y)
    first = gradient(value, raw, retain_graph=True)
    torch.testing.assert_close(gradient(value, raw, retain_graph=True), first)
    slope = gradient(value, raw, create_graph=True)
    exact = gradient(family.from_raw(raw.double()).log_prob(y.double()), raw, create_graph=True)
    torch.testing.assert_close(slope, exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gradient(slope.square(), raw), gradient(exact.square(), raw), rtol=1e-3, atol=1e-3
    )


def check_target_gradients_transforms_and_units(
    family: dh.Family, raw: torch.Tensor, y: torch.Tensor
) -> None:
    """Autograd by targets, functional transforms and changes of units, of vectors of three."""
    dist, leaf = family.from_raw(raw), y.clone().requires_grad_()
    by_target = gradient(dist.log_prob(leaf), leaf)
    expected = -torch.linalg.solve(dist.covariance.double(), (y - dist.mean).double())
    torch.testing.assert_close(by_target.double(), expected, rtol=1e-3, atol=1e-3)
    rows = torch.func.vmap(torch.func.grad(lambda raw, y: family.from_raw(raw).log_prob(y)))(
        raw.detach(), y
    )
    value = family.from_raw(raw).log_prob(y)
    torch.testing.assert_close(rows, gradient(value, raw), rtol=1e-4, atol=1e-4)
    loc, scale = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.5, 4.0])
    moved = family.from_raw(raw).affine(loc, scale).log_prob(loc + scale * y)
    torch.testing.assert_close(moved, value - scale.log().sum(), rtol=1e-4, atol=1e-4)


def check_shapes(family: dh.Family, raw: torch.Tensor, y: torch.Tensor) -> None:
    """Batches of two dimensions, and what broadcasts, of six vectors."""
    dist = family.from_raw(raw.reshape(2, 3, -1))
    value = dist.log_prob(y.reshape(2, 3, -1))
    torch.testing.assert_close(value.flatten(), family.from_raw(raw).log_prob(y))
    torch.testing.assert_close(dist.log_prob(y[0]), dist.log_prob(y[:1].expand(2, 3, -1)))
    torch.testing.assert_close(dist[1].log_prob(y[3:]), value[1])
    torch.testing.assert_close(dist[1, 2].log_prob(y[5]), value[1, 2])
    many = family.from_raw(raw[:1]).log_prob(y)  # one distribution, many targets
    torch.testing.assert_close(many, family.from_raw(raw[:1].expand(6, -1)).log_prob(y))
