"""A base class of elementwise autograd functions for reverse and forward differentiation."""

import torch

__all__ = ["Elementwise"]


class Elementwise(torch.autograd.Function):
    """An elementwise function of tensors of one shape.

    Subclasses define `forward` and `backward`. Forward mode, and with it `torch.func.hessian`,
    multiplies the tangents by the derivatives that `backward` returns for a gradient of ones.
    """

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs for `backward` and for `jvp`."""
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def jvp(cls, ctx, *tangents):
        """The tangent of the output: the sum of tangents times derivatives."""
        ones = torch.ones_like(next(tangent for tangent in tangents if tangent is not None))
        slopes = cls.backward(ctx, ones)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        terms = [
            t * s for t, s in zip(tangents, slopes, strict=True) if t is not None and s is not None
        ]
        return sum(terms[1:], terms[0])
