"""The former name of `disthead.capabilities`, which goes with the next version."""

from disthead import capabilities
from disthead.errors import warn

_FORMER_NAMES = {
    "QUESTIONS": "METHODS",
    "matrix": "capabilities_table",
    "surface": "capabilities",
}


def __getattr__(name: str) -> object:
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn(
        f"disthead.surface.{name} is called disthead.capabilities.{_FORMER_NAMES[name]} now; the "
        "former name goes with the next version.",
        DeprecationWarning,
    )
    return getattr(capabilities, _FORMER_NAMES[name])
