"""The objective that is meant where options are given in another form; no objective is here."""

import ast
import inspect
import json
from collections.abc import Mapping
from typing import Any

__all__: list[str] = []


def meant_by_mapping(given: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The mapping with a name that one without may mean, or an example.

    Args:
        given: such as {"focal": {"gamma": 2}}.
        known: objectives by name.

    >>> meant_by_mapping({"focal": {"gamma": 2}}, {"focal": None})
    '{"name": "focal", "gamma": 2}'
    """
    name, options = next(iter(given.items()), ("", None))
    if len(given) != 1 or name not in known:
        return _written("crps", {})
    return _written(name, options if isinstance(options, Mapping) else {})


def meant_by_text(text: str, known: Mapping[str, Any]) -> str:
    """The mapping with a name that a call in a text means; empty for other texts.

    Args:
        text: such as "focal(gamma=2)".
        known: objectives by name.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        name = ast.unparse(call.func).rpartition(".")[2] if isinstance(call, ast.Call) else ""
        if not isinstance(call, ast.Call) or name not in known:
            return ""
        values = dict(zip(inspect.signature(known[name]).parameters, call.args, strict=False))
        values |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        return _written(name, {key: ast.literal_eval(value) for key, value in values.items()})
    except (SyntaxError, ValueError):  # no Python, or no plain data
        return ""


def _written(name: str, options: Mapping[str, Any]) -> str:
    """A specification as Python, JSON and YAML have it."""
    return json.dumps({"name": name, **options}, default=str)
