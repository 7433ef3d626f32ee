"""scikit-learn's base class, error and warning, or stand-ins where scikit-learn is not installed."""

import inspect
from typing import Any, Self

from disthead.errors import warn

__all__ = ["BaseEstimator", "DataConversionWarning", "NotFittedError", "warn"]


try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import DataConversionWarning, NotFittedError
except ImportError:

    class NotFittedError(ValueError, AttributeError):  # type: ignore[no-redef]
        """An estimator that is asked before `fit`."""

    class DataConversionWarning(UserWarning):  # type: ignore[no-redef]
        """A column where an array of one dimension was expected."""

    class BaseEstimator:  # type: ignore[no-redef]
        """Parameters are the arguments of `__init__`."""

        @classmethod
        def _get_param_names(cls) -> list[str]:
            return sorted(name for name in inspect.signature(cls).parameters)

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            return {name: getattr(self, name) for name in self._get_param_names()}

        def set_params(self, **params: Any) -> Self:
            for name, value in params.items():
                if name not in self._get_param_names():
                    raise ValueError(f"Invalid parameter {name!r} for {self!r}: {', '.join(self._get_param_names())}.")
                setattr(self, name, value)
            return self

        def __repr__(self) -> str:
            defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
            changed = {name: value for name, value in self.get_params().items() if value != defaults[name]}
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"
