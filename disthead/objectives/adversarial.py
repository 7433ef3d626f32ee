"""Losses of generative adversarial networks, with one part for each of the two players."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from disthead.arrays import as_number

__all__ = ["hinge_gan", "minimax", "non_saturating", "wasserstein_gan"]


class _TwoPlayers:
    """What all of them share: the discriminator's cross-entropy, which a call returns.

    `real` and `fake` are the discriminator's outputs for real and for generated rows. Subclasses
    replace the loss of either player.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises, -log D(real) - log(1 - D(fake)), for each row.

        Args:
            real: the discriminator's outputs (logits) of real rows, (...,).
            fake: those of generated rows, detached from the generator, of the same shape.

        Raises:
            ValueError: for different shapes, and for an empty batch.
        """
        _check(real, fake)
        return -logsigmoid(real) - logsigmoid(-fake)

    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises, -fake, for each row, (...,)."""
        _check(fake)
        return -fake

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """The loss of the discriminator."""
        return self.discriminator(real, fake)


@dataclass(frozen=True)
class minimax(_TwoPlayers):
    """The minimax loss of a GAN: log D(real) + log(1 - D(fake)), which D maximises.

    D is the sigmoid of the discriminator's logit. The generator minimises log(1 - D(fake)), whose
    gradient vanishes where the discriminator is sure; `non_saturating` mends that. For the best D
    the generator minimises twice the Jensen-Shannon divergence, less log 4. Source: Goodfellow and
    others 2014.

    >>> import torch
    >>> loss, logits = minimax(), torch.zeros(2)
    >>> loss.discriminator(logits, logits), loss.generator(logits)
    (tensor([1.3863, 1.3863]), tensor([-0.6931, -0.6931]))
    """

    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises, log(1 - D(fake)), for each row, (...,)."""
        _check(fake)
        return logsigmoid(-fake)


@dataclass(frozen=True)
class non_saturating(_TwoPlayers):
    """The non-saturating loss of a GAN, whose generator minimises -log D(fake).

    The discriminator has the loss of `minimax`, which is the binary cross-entropy. The generator's
    gradient is large where the discriminator is sure that its rows are generated. Source:
    Goodfellow and others 2014.

    >>> import torch
    >>> non_saturating().generator(torch.tensor([0.0, -20.0]))
    tensor([ 0.6931, 20.0000])
    """

    def generator(self, fake: Tensor) -> Tensor:
        """What the generator minimises, -log D(fake), for each row, (...,)."""
        _check(fake)
        return -logsigmoid(fake)


@dataclass(frozen=True)
class hinge_gan(_TwoPlayers):
    """The hinge loss of a GAN.

    The discriminator minimises max(0, 1 - real) + max(0, 1 + fake) of its outputs, the generator
    -fake. Sources: Lim and Ye 2017; Miyato and others 2018.

    >>> import torch
    >>> hinge_gan().discriminator(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([1.])
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises, for each row, (...,); arguments as for `minimax`."""
        _check(real, fake)
        return (1 - real).relu() + (1 + fake).relu()


@dataclass(frozen=True)
class wasserstein_gan(_TwoPlayers):
    """The Wasserstein loss of a GAN, with a penalty on the gradient of its critic.

    The critic minimises fake - real of its outputs, plus `gradient_penalty`, without which the
    difference has no bound; the generator minimises -fake. The mean of real - fake estimates the
    Wasserstein distance of the two distributions from below. Sources: Arjovsky, Chintala and Bottou
    2017; Gulrajani and others 2017.

    Args:
        penalty: the factor of the penalty, zero or more.

    Raises:
        ValueError: for another penalty.

    >>> import torch
    >>> loss, real, fake = wasserstein_gan(), torch.ones(2, 3), torch.zeros(2, 3)
    >>> critic = lambda inputs: inputs.sum(-1)
    >>> loss.discriminator(critic(real), critic(fake))
    tensor([-3., -3.])
    >>> loss.gradient_penalty(critic, real, fake)  # 10 (sqrt(3) - 1)^2
    tensor([5.3590, 5.3590])
    """

    penalty: float = 10.0

    def __post_init__(self) -> None:
        as_number(
            self.penalty, "penalty", "a finite number, zero or more", lambda p: 0 <= p < math.inf
        )

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises besides the penalty, fake - real, for each row, (...,)."""
        _check(real, fake)
        return fake - real

    def gradient_penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`penalty` * (||gradient of the critic|| - 1)^2 between each pair of rows, (N,).

        The gradient is that by the inputs, at a point drawn uniformly on the line from the
        generated to the real row. A critic with batch normalisation has no gradient of a single
        row; take layer normalisation there.

        Args:
            critic: inputs (N, ...) -> outputs, one for each row.
            real: the inputs of real rows, (N, ...).
            fake: those of generated rows, of the same shape.
            generator: where the points are drawn from; torch's global one unless given.

        Raises:
            ValueError: for different shapes, an empty batch, and a critic that does not give one
                number for each row.
        """
        _check(real, fake)
        rows = (len(real), *(1,) * (real.ndim - 1))
        share = torch.rand(rows, generator=generator, dtype=real.dtype, device=real.device)
        between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
        with torch.enable_grad():
            outputs = critic(between)
            if outputs.numel() != len(real):
                raise ValueError(
                    f"the critic must give one number for each row, {len(real)} in all, got "
                    f"outputs of shape {tuple(outputs.shape)}."
                )
            (gradient,) = torch.autograd.grad(outputs.sum(), between, create_graph=True)
        norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return self.penalty * (norm - 1).square()


def _check(*outputs: Tensor) -> None:
    """Refuse outputs of different shapes, and empty batches."""
    shapes = [tuple(values.shape) for values in outputs]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"real and fake must have the same shape, since their rows are added, got {shapes[0]} "
            f"and {shapes[1]}."
        )
    if not outputs[0].numel():
        raise ValueError("the loss of a GAN needs at least one row, got an empty batch.")
