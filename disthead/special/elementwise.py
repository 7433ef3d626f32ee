"""A base class of elementwise autograd functions for reverse and forward differentiation."""

from collections.abc import Callable

import torch
from torch._C._functorch import TransformType
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters as interpreters

__all__ = ["Elementwise"]


class Elementwise(torch.autograd.Function):
    """An elementwise function of tensors of one shape.

    Subclasses define `forward` and `backward`. Forward mode, and with it `torch.func.hessian`,
    multiplies the tangents by the derivatives that `backward` returns for a gradient of ones.
    """

    generate_vmap_rule = True
    evaluate: Callable[..., torch.Tensor]  # the value at tensors of one shape

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "jvp" in cls.__dict__:
            return
        # torch.compile refuses functions with a `jvp` of their own
        own = {"jvp": staticmethod(torch.autograd.Function.jvp)}
        compiled: type[torch.autograd.Function] = type(cls.__name__, (cls,), own)

        def evaluate(*arguments):
            return (compiled if torch.compiler.is_compiling() else cls).apply(*arguments)

        cls.evaluate = staticmethod(evaluate)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs for `backward` and for `jvp`."""
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def jvp(cls, ctx, *tangents):
        """The tangent of the output: the sum of tangents times derivatives.

        Raises:
            RuntimeError: in forward mode within forward mode, for which torch leaves the inner
                derivatives without tangents.
        """
        if sum(level.key() == TransformType.Jvp for level in interpreters()) > 1:
            raise RuntimeError(
                "second derivatives by forward mode within forward mode are not available: take "
                "torch.func.hessian, forward mode of reverse mode."
            )
        ones = torch.ones_like(next(tangent for tangent in tangents if tangent is not None))
        slopes = cls.backward(ctx, ones)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        terms = [
            t * s for t, s in zip(tangents, slopes, strict=True) if t is not None and s is not None
        ]
        return sum(terms[1:], terms[0])
