"""The families, one file each.

Every file of this folder is imported, so that a new family needs no line here. The classes are
those in the files' `__all__`; `__init__.pyi` lists them for type checkers (`make tables`). The
package can be called: `disthead.families()` lists the names of the families.

>>> from disthead import families
>>> families.Gamma(2.0, 1.0).mean
tensor(2.)
>>> "gamma" in families()
True
"""

import importlib
import pkgutil
import sys
from types import ModuleType

from disthead.distributions import Affine, Arc, Distribution, Independent, Interval
from disthead.families.ensembles import ensemble
from disthead.families.family import Family, families, get_family

__all__ = [
    "Affine",
    "Arc",
    "Distribution",
    "Independent",
    "Interval",
    "ensemble",
    "families",
    "get_family",
]

for _file in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_file.name}")
    for _name, _value in vars(_module).items():
        _is_own = (
            getattr(_value, "__module__", None) == _module.__name__ and _name in _module.__all__
        )
        if _is_own and isinstance(_value, type) and issubclass(_value, Distribution | Family):
            globals()[_name] = _value
            __all__.append(_name)


class _Package(ModuleType):
    """This package, which is at the same time the function `disthead.families()`."""

    def __call__(self) -> list[str]:
        return families()


sys.modules[__name__].__class__ = _Package
