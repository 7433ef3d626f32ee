"""The digamma function and its distance from the logarithm, which it approaches."""

import torch

from .eager import are_plain_numbers
from .precision import horner, in_float64

_SERIES = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160]
_LARGE = 10.0


@in_float64
def digamma_error(x):
    """The difference log(x) - digamma(x), elementwise on x > 0, without cancellation.

    It is about 1 / (2 x) for large x. Together with `stirling_error` it expresses the entropies and
    divergences of gamma and beta distributions. Computed by the asymptotic series (DLMF 5.11.2) for
    x >= 10, below by the recurrence from x to x + 1 (DLMF 5.5.2), or by `torch.digamma` for
    concrete numbers. Raises TypeError if x is not a tensor.

    >>> round(digamma_error(torch.tensor(1.0, dtype=torch.float64)).item(), 13)  # Euler's constant
    0.5772156649015
    """
    large = x >= _LARGE
    inverse = 1 / torch.where(large, x, _LARGE)
    small = torch.where(large, 1.0, x)
    if are_plain_numbers(x):  # torch's digamma is exact, but not its gradient
        return torch.where(large, _series(inverse), torch.log(small) - torch.digamma(small))
    shifted = _series(1 / (small + _LARGE)) - torch.log1p(_LARGE / small)
    for step in range(int(_LARGE)):
        shifted = shifted + 1 / (small + step)
    return torch.where(large, _series(inverse), shifted)


def digamma(x):
    """The digamma function of a tensor x > 0, elementwise, in the dtype of x.

    It is `torch.digamma`; in an exported program, whose runtime may lack that, it is
    log(x) - digamma_error(x).

    >>> round(digamma(torch.tensor(1.0, dtype=torch.float64)).item(), 13)
    -0.5772156649015
    """
    return torch.log(x) - digamma_error(x) if torch.compiler.is_exporting() else torch.digamma(x)


def _series(inverse):
    return inverse * (0.5 + inverse * horner(inverse * inverse, _SERIES))
