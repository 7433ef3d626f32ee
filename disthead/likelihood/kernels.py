"""Likelihoods as the kernels in C take them: formula, links, and ranges of single precision.

The formulas are those of the package's families (`special/formulas.h`), through any links that C
knows; `kernel` is None for all others, which `eager.py` computes. The kernels themselves are in
`special/likelihood.h`.
"""

import functools
import math
import struct
from collections.abc import Sequence
from typing import Any

import torch

from disthead.likelihood.formula import Formula
from disthead.likelihood.ranges import (
    Range,
    example,
    fast_ranges,
    fast_targets,
    harmless,
    is_unbounded,
    support_limits,
)
from disthead.links import LINKS, Link
from disthead.special import fast
from disthead.special.blocks import FORMULAS
from disthead.special.fast import Direction, Positive

__all__ = ["as_text", "formula_name", "from_text", "kernel", "prepare"]

_SCALAR, _CLASSES, _VECTOR = range(3)
_IDENTITY, _CONSTANT, _GIVEN, _EXPONENTIAL, _SOFTPLUS, _DIRECTION = range(6)
_OF_LOGITS = {"Categorical": _CLASSES, "MultivariateNormal": _VECTOR}  # and of triangles
_KINDS = {
    LINKS["identity"].value_and_slope: _IDENTITY,
    fast.given: _GIVEN,
    fast.exponential: _EXPONENTIAL,
    fast.softplus: _SOFTPLUS,
    fast.direction: _DIRECTION,
}
# as blocks.c has them: Likelihood and Link
_LIKELIHOOD, _LINK = struct.Struct("8i5d"), struct.Struct("2i5d")
_MOST_PARAMETERS = 4


def formula_name(formula: Formula) -> str | None:
    """What C calls the formula of a family of this package; None for somebody else's."""
    if formula.distribution_class is None:  # a family without one
        return None
    function = getattr(formula.log_prob_and_grad, "__func__", formula.log_prob_and_grad)
    home, _, _ = getattr(function, "__module__", "").rpartition(".")
    name, _, method = getattr(function, "__qualname__", "").rpartition(".")
    if home != "disthead.families" or method != "log_prob_and_grad" or "." in name:
        return None
    return name + "_with_constants" * formula.has_row_constants


def kernel(formula: Formula) -> bytes | None:
    """The likelihood for `blocks.log_prob`; None where there is no kernel for it."""
    limits, name = support_limits(formula.loss_support), formula_name(formula)
    if limits is None or not formula.has_fused_loss:
        return None
    links = list(formula.links.values())
    if name in _OF_LOGITS and all(map(_is_identity, links)):
        size = formula.event_shape[0] if formula.event_shape else formula.width
        return _packed(formula, limits, _OF_LOGITS[name], size)
    component = formula.component or formula
    number = FORMULAS.get(formula_name(component) or "")
    if (
        number is None
        or not component.has_fused_loss
        or formula.event_shape
        or len(component.links) > _MOST_PARAMETERS
    ):
        return None
    described = [
        _link(link, *fast_ranges(component)[name]) for name, link in component.links.items()
    ]
    if None in described or (formula.component and not _is_identity(links[0])):
        return None
    components = formula.shapes["logits"][0] if formula.component else 0
    return _packed(formula, limits, _SCALAR, components, number, described)


def prepare(formula: Formula) -> Formula:
    """The formula, with its kernel; where nobody can make one, in a graph, without."""
    if not torch.compiler.is_compiling():
        formula.made["kernel"] = kernel(formula)
        formula.made["text"] = as_text(formula)
    return formula


def as_text(formula: Formula) -> str:
    """The likelihood as a compiled graph keeps it, with the name of the formula.

    Another process and another version of the library, which numbers its formulas in another way,
    can read it.
    """
    known = formula.made.get("kernel")
    if known is None or formula.event_shape:
        return ""
    name = formula_name(formula.component or formula)
    return f"{name if name in FORMULAS else ''} {known.hex()}"


@functools.cache
def from_text(text: str) -> bytes:
    """The likelihood for this process's library.

    Raises:
        RuntimeError: where the library does not have the formula.
    """
    name, _, digits = text.partition(" ")
    known = bytes.fromhex(digits)
    if name and name not in FORMULAS:
        raise RuntimeError(
            f"the compiled graph needs the formula {name!r}, which this installation of disthead "
            "has not compiled: compile the model anew (torch.compiler.reset)."
        )
    head = list(_LIKELIHOOD.unpack_from(known))
    head[1] = FORMULAS.get(name, 0)
    return _LIKELIHOOD.pack(*head) + known[_LIKELIHOOD.size :]


def _packed(
    formula: Formula,
    limits: Range,
    kind: int,
    components: int,
    number: int = 0,
    links: Sequence = (),
) -> bytes:
    """Structure Likelihood of `blocks.c`."""
    head = _LIKELIHOOD.pack(
        kind,
        number,
        len(links),
        components,
        formula.loss_support.is_discrete,
        kind == _SCALAR
        and any(isinstance(example(link), Direction) for link in formula.links.values()),
        not is_unbounded(formula.loss_support),
        _needs_double(formula, links),
        *limits,
        harmless(formula),
        *fast_targets(formula, limits),
    )
    nothing = bytes(_LINK.size * (_MOST_PARAMETERS - len(links)))
    return head + b"".join(_LINK.pack(*link) for link in links) + nothing


def _needs_double(formula: Formula, links: Sequence[tuple]) -> bool:
    """Whether no row may be computed in single precision.

    That is so where a constant is outside its range, and where short exposures may magnify the
    rounding of a mean.
    """
    constants = [link for link in links if link[0] == _CONSTANT]
    return formula.has_row_constants or any(not link[5] <= link[3] <= link[6] for link in constants)


def _link(link: Link, least: float, greatest: float) -> tuple | None:
    """Structure Link of `blocks.c`; None where C does not know the link.

    Its fields are kind, columns, lower, number, other, least and greatest.
    """
    function: Any = link.value_and_slope
    if link.is_constant:
        # numbers, not tensors: a family whose own link is constant may be asked for in a trace
        number, kind = function.value, type(example(link))
        if kind is Direction:
            return _CONSTANT, 0, 0.0, math.cos(number), math.sin(number), -1.0, 1.0
        numbers = number, math.log(number) if kind is Positive else 0.0
        return _CONSTANT, 0, 0.0, *numbers, least, greatest
    lower, inner = getattr(function, "lower", 0.0), getattr(function, "value_and_slope", function)
    if inner not in _KINDS:
        return None
    return _KINDS[inner], 2 if inner is fast.direction else 1, lower, 0.0, 0.0, least, greatest


def _is_identity(link: Link) -> bool:
    return link.value_and_slope is LINKS["identity"].value_and_slope
