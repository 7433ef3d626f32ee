"""Inverses of monotone functions by a fixed amount of work, and their gradient by the implicit function theorem."""

import itertools
from collections.abc import Callable

import torch

from .eager import are_plain_numbers
from .elementwise import Elementwise

_MAX = torch.finfo(torch.float64).max
_SHORT = 1e-8  # of a number: a step of Newton's leaves its square
_STEPS_FROM_LEFT = 32  # twelve will do unless the root is many times as far away as the start
REACH = 700.0  # e^-700 is the smallest root that is looked for


class _Refused(torch.autograd.Function):
    """The identity, without a derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad):
        return grad.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(
            "second derivatives through this quantile or sample are not available, only first "
            "ones; "
            "those of gamma, beta, student_t and of closed forms are."
        )

    jvp = backward


class _Once(torch.autograd.Function):
    """The identity, differentiable once."""

    generate_vmap_rule = True

    @staticmethod
    def forward(residual):
        return residual.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return _Refused.apply(grad)

    jvp = backward


def implicit(value, residual, slope):
    """Attach to `value`, the root v of residual(v, parameters) = 0, its gradient in the parameters.

    The value does not change. `residual` is evaluated at the detached value with the parameters
    attached, and `slope` is its derivative in v: dv = -d residual / slope. All broadcast. A second
    derivative, which `slope` as a constant cannot give, raises RuntimeError; `Root` has derivatives
    of every order.

    >>> q = torch.tensor(9.0, requires_grad=True)
    >>> root = torch.tensor(3.0)
    >>> implicit(root, root**2 - q, 2 * root).backward()
    >>> round(q.grad.item(), 6)
    0.166667
    """
    # A slope that underflowed makes the gradient as large as it can be; the value stays what it is,
    # not 0 / 0.
    steep = torch.where(slope == 0, torch.finfo(slope.dtype).tiny, slope).detach()
    residual = _Once.apply(residual)
    return value.detach() + (residual.detach() - residual) / steep


class Root(Elementwise):
    """The root v of equation(v, arguments) = 0, differentiable in the arguments to any order.

    Subclasses give `solve(*arguments)`, without gradient, and `equation(v, *arguments)`,
    differentiable, with its derivative in v. The work of the gradient, dv = -d equation /
    derivative, is done when the gradient is asked for.
    """

    solve: Callable[..., torch.Tensor]
    equation: Callable[..., tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def forward(cls, *arguments):
        return cls.solve(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output, *inputs)
        ctx.save_for_forward(output, *inputs)

    @classmethod
    def backward(cls, ctx, grad):
        root, *arguments = ctx.saved_tensors
        _, pull, slope = torch.func.vjp(  # type: ignore[misc]
            lambda *given: cls.equation(root, *given), *arguments, has_aux=True
        )
        # a slope that underflowed makes the gradient as large as it can be, not 0 / 0
        return pull(-grad / torch.where(slope == 0, torch.finfo(slope.dtype).tiny, slope))


def repeat(steps, body, state):
    """state = body(*state), `steps` times: under torch.compile and export one loop node, not `steps` copies."""
    if steps == 1 or not torch.compiler.is_compiling():
        for _ in range(steps):
            state = body(*state)
        return state
    from torch._higher_order_ops.while_loop import while_loop

    counter = torch.zeros((), dtype=torch.int64)
    result = while_loop(
        lambda count, *_: count < steps,
        lambda count, *state: (count + 1, *body(*state)),
        (counter, *state),
    )
    return result[1:]


def _rank(x):
    """A position that grows with x like the logarithm of |x|: halving it finds any magnitude."""
    return torch.sign(x) * (torch.log2(torch.clamp(torch.abs(x), 2.0**-1000)) + 1001) * (x != 0)


def _unrank(rank):
    return torch.sign(rank) * torch.exp2(torch.abs(rank) - 1001) * (torch.abs(rank) >= 1)


def halfway(lower, upper):
    """Between the two: in their exponent while they differ by more than a factor of four, then in themselves."""
    low, high = _rank(lower), _rank(upper)
    middle = torch.where(high - low > 2, _unrank((low + high) / 2), lower / 2 + upper / 2)
    return torch.minimum(torch.maximum(middle, lower), upper)


@torch.no_grad()
def bracketed_inverse(function, target, lower, upper, steps=80):
    """The x in [lower, upper] where the increasing `function` reaches `target`, element by element, in float64.

    `function` takes and returns a float64 tensor of the broadcast shape of target, lower and upper;
    the limits may be infinite. The first 24 steps bisect the exponent of x, the rest x itself, so
    roots of every magnitude are found to rounding. At a jump it is the upper side: function(x) >=
    target. No gradient (see `implicit`).

    >>> bracketed_inverse(lambda x: x**3, torch.tensor([8.0, -27.0]), -torch.inf, torch.inf).tolist()
    [2.0, -3.0]
    """
    target = target.to(torch.float64)
    lower, upper = (
        torch.as_tensor(limit, dtype=torch.float64, device=target.device)
        for limit in (lower, upper)
    )
    target, lower, upper = (
        part.contiguous() for part in torch.broadcast_tensors(target, lower, upper)
    )
    lower, upper = lower.clamp(min=-_MAX), upper.clamp(max=_MAX)

    def split(lower, upper, middle):
        below = function(middle) < target
        return torch.where(below, middle, lower), torch.where(below, upper, middle)

    def by_magnitude(lower, upper):
        return split(
            lower,
            upper,
            torch.minimum(torch.maximum(_unrank((_rank(lower) + _rank(upper)) / 2), lower), upper),
        )

    def by_half(lower, upper):
        return split(lower, upper, lower / 2 + upper / 2)

    lower, upper = repeat(24, by_magnitude, (lower, upper))
    return repeat(steps - 24, by_half, (lower, upper))[1]


@torch.no_grad()
def bracketed_newton(function, lower, upper, steps=32):
    """The root in [lower, upper] of an increasing function, by Newton's steps where they stay inside.

    `function` gives its value and its slope, in float64 and of the shape of the limits. Where a
    step of Newton leaves the bracket or is more than twice as long as the last one, the bracket is
    halved instead: the exponent of x while the limits differ by more than a factor of four, then x
    itself. The best x met is returned; at a jump it is the upper side. No gradient (see
    `implicit`).

    >>> bracketed_newton(lambda x: (x**3 - 8, 3 * x**2), torch.tensor(0.0).double(), torch.tensor(9.0).double()).item()
    2.0
    """
    lower, upper = (part.contiguous() for part in torch.broadcast_tensors(lower, upper))

    def body(lower, upper, x, step, best, least):
        value, slope = function(x)
        lower, upper = torch.where(value < 0, x, lower), torch.where(value > 0, x, upper)
        better = torch.abs(value) < least
        best, least = torch.where(better, x, best), torch.where(better, torch.abs(value), least)
        middle = halfway(lower, upper)
        newton = x - value / slope
        follow = (
            (newton != x)
            & (newton >= lower)
            & (newton <= upper)
            & (torch.abs(newton - x) <= 2 * torch.abs(step))
        )
        following = torch.where(follow, newton, middle)
        return lower, upper, following, following - x, best, least

    start = lower / 2 + upper / 2
    state = (lower, upper, start, upper - lower, start.clone(), torch.full_like(start, torch.inf))
    _, upper, _, _, best, least = repeat(steps, body, state)
    return torch.where(least < 1e-3, best, upper)


@torch.no_grad()
def integer_inverse(function, target, lower=0, upper=2**53, steps=54):
    """The smallest integer k in [lower, upper] with function(k) >= target: the quantile of a discrete distribution.

    `function` is increasing and takes and returns float64 tensors. Bisection of the integers, exact
    for `steps` >= log2 of the width.

    >>> integer_inverse(lambda k: 1 - 0.5 ** (k + 1), torch.tensor([0.5, 0.51, 0.99])).tolist()
    [0.0, 1.0, 6.0]
    """
    target = target.to(torch.float64)
    lower, upper = (
        torch.as_tensor(limit, dtype=torch.float64, device=target.device)
        for limit in (lower, upper)
    )
    target, lower, upper = torch.broadcast_tensors(target, lower, upper)

    def body(below, upper):
        middle = below + torch.floor((upper - below) / 2)
        short = function(torch.maximum(middle, below + 1)) < target
        middle = torch.maximum(middle, below + 1)
        return torch.where(short, middle, below), torch.where(
            short, upper, torch.minimum(middle, upper)
        )

    return repeat(steps, body, (lower - 1, upper.contiguous()))[1]


def newton_from_left(step, start):
    """The root that `step`, one of Newton's for an increasing and concave function, leads to from a start below it.

    No step goes too far. Where numbers may be looked at, there are no more of them than the rows at
    hand need.

    >>> newton_from_left(lambda x: x - x * (x.log() - 2), torch.tensor(1.0).double()).log().item()
    2.0
    """
    if not are_plain_numbers(start):
        [root] = repeat(_STEPS_FROM_LEFT, lambda x: (step(x),), (start,))
        return root
    for _ in range(_STEPS_FROM_LEFT):
        start, before = step(start), start
        if not (start - before > _SHORT * torch.abs(start)).any():
            break
    return start


def log_concave_root(tail, log_target, start, accuracies):
    """The v where the logarithm of a log-concave distribution function is `log_target`, by Halley's method.

    tail(v, accuracy) gives that logarithm, the logarithm of the density in v and the derivative of
    the latter. The logarithm is increasing and concave, so that Newton's steps come from the left
    without overshooting; Halley's correction, bounded by a factor of two, lengthens them. One step
    for each of `accuracies`: an error e shrinks to the order of e^3, so all but the last may be
    coarse.
    """

    def halley(v, accuracy):
        value, log_density, tilt = tail(v, accuracy)
        slope = torch.exp(log_density - value)
        newton = (log_target - value) / slope
        curvature = newton * (tilt - slope) / 2
        return torch.clamp(v + newton / torch.clamp(1 + curvature, 0.5, 2), -REACH, REACH)

    v = torch.clamp(start, -REACH, REACH)
    for accuracy, steps in itertools.groupby(accuracies):
        [v] = repeat(len(list(steps)), lambda v, accuracy=accuracy: (halley(v, accuracy),), (v,))
    return v
