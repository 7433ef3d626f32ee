"""`Elementwise`: an autograd function whose derivatives by its arguments serve both modes of differentiation."""

import torch

__all__ = ["Elementwise"]


class Elementwise(torch.autograd.Function):
    """A function of tensors of one shape, element by element; subclasses give `forward` and `backward`.

    Forward mode, and with it `torch.func.hessian`, multiplies the tangents by what `backward` makes
    of ones.
    """

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def jvp(cls, ctx, *tangents):
        ones = torch.ones_like(next(tangent for tangent in tangents if tangent is not None))
        slopes = cls.backward(ctx, ones)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        terms = [
            t * s for t, s in zip(tangents, slopes, strict=True) if t is not None and s is not None
        ]
        return sum(terms[1:], terms[0])
