"""Opaque operators: single nodes in a compiled graph for work that takes long to compile."""

import inspect

import torch


def _register(name, function, arguments, results):
    """An elementwise torch.library operator over tensors of one shape."""
    schema = f"({', '.join(f'Tensor {argument}' for argument in arguments)}) -> {results}"
    operator = torch.library.custom_op(
        f"disthead::{name}", function, mutates_args=(), schema=schema
    )

    def fake(*args):
        empty = [
            torch.empty_like(args[0], memory_format=torch.contiguous_format)
            for _ in range(results.count("Tensor"))
        ]
        return tuple(empty) if len(empty) > 1 else empty[0]

    def vmap(info, in_dims, *args):  # elementwise: the batch is one more dimension in front
        batched = [
            arg.unsqueeze(0).expand(info.batch_size, *arg.shape)
            if dim is None
            else arg.movedim(dim, 0)
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        outputs = operator(*batched)
        return outputs, (0,) * len(outputs) if isinstance(outputs, tuple) else 0

    operator.register_fake(fake)
    operator.register_vmap(vmap)
    return operator


def _tensors(count):
    return "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"


def elementwise_operator(name):
    """A decorator that makes an elementwise function an opaque operator without a gradient.

    The function takes tensors of one shape and returns one tensor of that shape; the arguments of
    the decorated function broadcast. Eagerly, and in an exported program, which other runtimes may
    read, the function's own operations are used.
    """

    def decorate(function):
        without_gradient = torch.no_grad()(function)
        operator = _register(
            name, without_gradient, inspect.signature(function).parameters, "Tensor"
        )

        def call(*args):
            # eagerly the function itself: the first call of an operator imports the compiler, which
            # takes two seconds
            is_traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
            opaque = is_traced and not torch.compiler.is_exporting()
            return (operator if opaque else without_gradient)(
                *(arg.detach() for arg in torch.broadcast_tensors(*args))
            )

        return call

    return decorate


def opaque_when_compiled(name, outputs=1):
    """A decorator that shows torch.compile an elementwise function as one operator with a gradient.

    The function takes tensors of one shape and returns one or two tensors of that shape, as many as
    `outputs` says; the arguments of the decorated function broadcast. Eagerly and in an exported
    program the function's own operations are used, with derivatives of every order.
    """

    def decorate(function):
        arguments = list(inspect.signature(function).parameters)

        def forward(*args):
            result = function(*args)
            return (
                result.contiguous() if outputs == 1 else tuple(part.contiguous() for part in result)
            )

        def pullback(*args):
            inputs, grads = args[: len(arguments)], args[len(arguments) :]
            result = torch.func.vjp(function, *inputs)[1](grads[0] if outputs == 1 else grads)
            return (
                result[0].contiguous()
                if len(result) == 1
                else tuple(part.contiguous() for part in result)
            )

        operator = _register(name, forward, arguments, _tensors(outputs))
        gradient = _register(
            f"{name}_gradient",
            pullback,
            [*arguments, *("first", "second")[:outputs]],
            _tensors(len(arguments)),
        )

        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        operator.register_autograd(
            lambda ctx, *grads: gradient(*ctx.saved_tensors, *grads), setup_context=setup_context
        )

        def call(*args):
            args = torch.broadcast_tensors(*args)
            opaque = torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()
            return operator(*(arg.contiguous() for arg in args)) if opaque else function(*args)

        return call

    return decorate
