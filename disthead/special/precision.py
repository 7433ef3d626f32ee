"""The precision of special functions: float64 inside, the caller's dtype outside."""

import functools

import torch


def in_float64(function):
    """Make `function` compute in float64 and return the promoted dtype of its tensor arguments.

    The returned dtype is at least float32. Numbers may stand in for tensors, and become scalar
    tensors; None is passed on. The result is a tensor or a tuple of tensors. On a device without
    float64 (mps) the work is done in float32. The decorated function raises TypeError if none of
    its arguments is a tensor.
    """

    @functools.wraps(function)
    def wrapped(*args):
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if not tensors:
            raise TypeError(f"{function.__name__} must be given at least one tensor, got {args}")
        device = next((tensor for tensor in tensors if tensor.dim() > 0), tensors[0]).device
        inside = torch.float32 if device.type == "mps" else torch.float64
        outside = torch.float32
        for tensor in tensors:
            outside = torch.promote_types(outside, tensor.dtype)

        def convert(arg):
            if arg is None:
                return None
            return (
                arg.to(inside)
                if isinstance(arg, torch.Tensor)
                else torch.full((), arg, dtype=inside, device=device)
            )

        result = function(*map(convert, args))
        return (
            tuple(part.to(outside) for part in result)
            if isinstance(result, tuple)
            else result.to(outside)
        )

    # torch.compile counts recompilations by code object: each function has its own
    code = wrapped.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    wrapped.__code__ = code  # type: ignore[attr-defined]
    return wrapped


def horner(x, coefficients):
    """The polynomial with these coefficients, from the constant term up, at each element of x."""
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result
