"""Inverses of monotone functions by a fixed amount of work, with implicit gradients.

The gradients follow from the implicit function theorem.
"""

import itertools
from collections.abc import Callable

import torch

from .eager import are_plain_numbers
from .elementwise import Elementwise

_MAX = torch.finfo(torch.float64).max
_SHORT_STEP = 1e-8  # relative to the number: the error after Newton's step is of its square
_STEPS_FROM_LEFT = 32  # twelve suffice unless the root is many times as large as the start
REACH = 700.0  # bound of the logarithm of a root


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
            "ones; those of gamma, beta, student_t and of closed forms are."
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
    """The root `value` of residual(v, parameters) = 0 with its gradient in the parameters attached.

    The numbers of `value` do not change. `residual` is the residual at the detached value as a
    function of the parameters, and `slope` its derivative in v, so that dv = -d residual / slope.
    The three tensors broadcast. There are no second derivatives, since `slope` is a constant:
    differentiating through the incoming gradient raises RuntimeError. `Root` has derivatives of
    every order. Source: the implicit function theorem, as in Figurnov, Mohamed and Mnih (2018).

    >>> q = torch.tensor(9.0, requires_grad=True)
    >>> root = torch.tensor(3.0)
    >>> implicit(root, root**2 - q, 2 * root).backward()
    >>> round(q.grad.item(), 6)
    0.166667
    """
    # where the slope underflowed the gradient becomes very large instead of 0 / 0
    steep = torch.where(slope == 0, torch.finfo(slope.dtype).tiny, slope).detach()
    residual = _Once.apply(residual)
    return value.detach() + (residual.detach() - residual) / steep


class Root(Elementwise):
    """The root v of equation(v, arguments) = 0, differentiable in the arguments to any order.

    Subclasses define `solve(*arguments)`, which returns the root without a gradient, and
    `equation(v, *arguments)`, which returns a differentiable residual and its derivative in v. The
    arguments are tensors of one shape. The gradient dv = -d equation / derivative is computed in
    the backward pass.
    """

    solve: Callable[..., torch.Tensor]
    equation: Callable[..., tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def forward(cls, *arguments):
        """The root."""
        return cls.solve(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the root and the arguments."""
        ctx.save_for_backward(output, *inputs)
        ctx.save_for_forward(output, *inputs)

    @classmethod
    def backward(cls, ctx, grad):
        """The gradient by the arguments, by the implicit function theorem."""
        root, *arguments = ctx.saved_tensors
        _, pull, slope = torch.func.vjp(  # type: ignore[misc]
            lambda *inputs: cls.equation(root, *inputs), *arguments, has_aux=True
        )
        # where the slope underflowed the gradient becomes very large instead of 0 / 0
        return pull(-grad / torch.where(slope == 0, torch.finfo(slope.dtype).tiny, slope))


def repeat(steps, body, state):
    """The state after `steps` times state = body(*state), where the state is a tuple of tensors.

    Under torch.compile and export this is one node of the graph instead of `steps` copies of body.
    """
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
    """An increasing function of x like the signed logarithm of |x|, for bisection by magnitude."""
    return torch.sign(x) * (torch.log2(torch.clamp(torch.abs(x), 2.0**-1000)) + 1001) * (x != 0)


def _unrank(rank):
    return torch.sign(rank) * torch.exp2(torch.abs(rank) - 1001) * (torch.abs(rank) >= 1)


def halfway(lower, upper):
    """The middle of two tensors, of their exponents while they differ by a factor above four."""
    low, high = _rank(lower), _rank(upper)
    middle = torch.where(high - low > 2, _unrank((low + high) / 2), lower / 2 + upper / 2)
    return torch.minimum(torch.maximum(middle, lower), upper)


@torch.no_grad()
def bracketed_inverse(function, target, lower, upper, steps=80):
    """The x in [lower, upper] where the increasing `function` reaches `target`, elementwise.

    The tensor `target` and the limits, tensors or numbers that may be infinite, broadcast to the
    shape of the result, which is in float64; `function` takes and returns float64 tensors of that
    shape. The first 24 steps bisect the exponent of x, the others x itself, so that roots of every
    magnitude are exact to rounding. Where the function jumps over the target, x is the upper side
    of the jump: function(x) >= target. There is no gradient (see `implicit`), and nothing is
    raised: where the target is out of reach the result is a limit.

    >>> target = torch.tensor([8.0, -27.0])
    >>> bracketed_inverse(lambda x: x**3, target, -torch.inf, torch.inf).tolist()
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
    """The root in [lower, upper] of an increasing function, by safeguarded Newton steps.

    The limits are finite float64 tensors, which broadcast to the result's shape; `function`
    takes a tensor of that shape and returns its value and its slope. Where a step of Newton's
    method leaves the bracket or is more than twice as long as the last step, the bracket is halved
    instead: the exponent of x while the limits differ by a factor above four, then x itself. The
    result is the x whose value is nearest to 0, or the upper side of a jump. There is no gradient
    (see `implicit`), and nothing is raised. Source: Press et al. (2007), section 9.4.

    >>> lower, upper = torch.tensor([0.0, 9.0], dtype=torch.float64)
    >>> bracketed_newton(lambda x: (x**3 - 8, 3 * x**2), lower, upper).item()
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
        is_accepted = (
            (newton != x)
            & (newton >= lower)
            & (newton <= upper)
            & (torch.abs(newton - x) <= 2 * torch.abs(step))
        )
        next_x = torch.where(is_accepted, newton, middle)
        return lower, upper, next_x, next_x - x, best, least

    start = lower / 2 + upper / 2
    state = (lower, upper, start, upper - lower, start.clone(), torch.full_like(start, torch.inf))
    _, upper, _, _, best, least = repeat(steps, body, state)
    return torch.where(least < 1e-3, best, upper)


@torch.no_grad()
def integer_inverse(function, target, lower=0, upper=2**53, steps=54):
    """The least integer k in [lower, upper] with function(k) >= target, elementwise.

    With a cdf as `function` this is the quantile of a discrete distribution. The tensor `target`
    and the limits, tensors or numbers, broadcast to the shape of the result, which is in float64;
    `function` is increasing and takes and returns float64 tensors of that shape. The integers are
    bisected, exactly if `steps` >= log2(upper - lower). There is no gradient, and nothing is
    raised: where no such k exists the result is `upper`.

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
    """The root of an increasing and concave function, by Newton's method from a start below it.

    `step` maps an iterate to the next one, elementwise; no step overshoots. For concrete numbers
    the iteration ends when all elements have converged, else after a fixed number of steps.

    >>> newton_from_left(lambda x: x - x * (x.log() - 2), torch.tensor(1.0).double()).log().item()
    2.0
    """
    if not are_plain_numbers(start):
        [root] = repeat(_STEPS_FROM_LEFT, lambda x: (step(x),), (start,))
        return root
    for _ in range(_STEPS_FROM_LEFT):
        start, before = step(start), start
        if not (start - before > _SHORT_STEP * torch.abs(start)).any():
            break
    return start


def log_concave_root(tail, log_target, start, accuracies):
    """The v where the logarithm of a log-concave distribution function is `log_target`.

    tail(v, accuracy) returns that logarithm, the logarithm of the density in v and the derivative
    of the latter, all of the shape of the tensors `log_target` and `start`. The logarithm is
    increasing and concave, so that Newton's method approaches the root from the left without
    overshooting; Halley's correction, bounded by a factor of two, lengthens the steps. There is one
    step for each of `accuracies`. A step reduces an error e to the order of e^3, so that all but
    the last may be coarse.
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
